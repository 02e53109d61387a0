"""spiece.model read without its library: the same tokens as a tokenizer.json of the same pieces."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.worlds.wan.tiny_encoders import WORDS, text_network, tokenizer_pieces, write_tokenizer
from worldstream.worlds.errors import WeightsError
from worldstream.worlds.wan.offload import Offload
from worldstream.worlds.wan.prompts import clean_prompt
from worldstream.worlds.wan.sentencepiece_model import CONTROL, UNKNOWN
from worldstream.worlds.wan.text import TextEncoder, load_tokenizer

NORMAL, BYTE = 1, 6
UNIGRAM, BPE = 1, 2


def varint(value: int) -> bytes:
    head, rest = value & 0x7F, value >> 7
    return bytes([head | 0x80]) + varint(rest) if rest else bytes([head])


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def flag(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def spiece(pieces: list[tuple[str, float, int]], kind: int = UNIGRAM, byte_fallback: bool = False) -> bytes:
    """What sentencepiece writes, with a field that nobody needs in front."""
    data = b"".join(
        message(1, message(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + flag(3, of))
        for piece, score, of in pieces
    )
    trainer = message(1, b"corpus.txt") + flag(3, kind) + flag(35, int(byte_fallback))
    return data + message(2, trainer) + message(3, message(1, b"identity"))


def typed() -> list[tuple[str, float, int]]:
    kinds = {"<pad>": CONTROL, "</s>": CONTROL, "<unk>": UNKNOWN}
    return [(piece, score, kinds.get(piece, NORMAL)) for piece, score in tokenizer_pieces()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spiece") / "spiece.model"
    path.write_bytes(spiece(typed()))
    return path


@given(prompt=st.one_of(st.text(max_size=60), st.lists(st.sampled_from(" ".join(WORDS).split())).map(" ".join)))
@example(prompt="walk along the sea, Brücke 走过 zzz")
def test_tokens_are_those_of_tokenizer_json(model: Path, prompt: str) -> None:
    beside = model.with_name("tokenizer.json")
    if not beside.is_file():
        write_tokenizer(beside)
    prompt = clean_prompt(prompt)
    assert load_tokenizer(model).encode(prompt).ids == load_tokenizer(beside).encode(prompt).ids


def test_unknown_characters_become_bytes_where_the_model_says_so(tmp_path: Path) -> None:
    path = tmp_path / "spiece.model"
    pieces = [*typed(), *((f"<0x{byte:02X}>", -20.0, BYTE) for byte in range(256))]
    path.write_bytes(spiece(pieces, byte_fallback=True))
    tokens = load_tokenizer(path).encode("é").tokens
    assert tokens == ["\u2581", "<0xC3>", "<0xA9>", "</s>"]


def test_the_text_encoder_takes_it(model: Path) -> None:
    text = TextEncoder(text_network(), tokenizer=model, text_len=8)
    assert text.encode("walk along the sea").shape == (8, 16)
    text.offload(Offload.KEEP)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "no Unigram model"),
        (spiece(typed(), kind=BPE), "no Unigram model"),
        (spiece(typed())[:40], "ends within"),
        (b"{not a protocol buffer}", "unknown wire type"),
        (b"\xff" * 20, "more than 64 bits"),
        (spiece([p for p in typed() if p[0] != "</s>"]), "does not end a prompt with </s>"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, match: str) -> None:
    path = tmp_path / "spiece.model"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=match) as caught:
        load_tokenizer(path)
    assert str(path) in str(caught.value)


@given(data=st.data())
def test_damage_never_ends_in_another_error(model: Path, data: st.DataObject) -> None:
    whole = model.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    path = model.with_name("damaged.model")
    path.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])
    try:
        tokenizer = load_tokenizer(path)
    except WeightsError:
        return
    assert tokenizer.encode("walk along the sea").ids[-1] == tokenizer.token_to_id("</s>")
