"""A tokenizer from `spiece.model`, for folders without `tokenizer.json`.

The file is a protocol buffer. The five fields that a Unigram tokenizer needs are read here, so that neither
sentencepiece nor protobuf has to be installed. Source: google/sentencepiece, src/sentencepiece_model.proto.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from .transformers_library import tokenizers_class

SPACE = "\u2581"  # how SentencePiece writes a space
UNIGRAM = 1  # of TrainerSpec.ModelType
UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4  # of SentencePiece.Type

Field = tuple[int, int | float | bytes]


def read_spiece(path: Path, end: str) -> Any:
    """A `tokenizers.Tokenizer` that puts `end` behind every text. Raises WeightsError on anything but Unigram."""
    try:
        pieces, charsmap, byte_fallback = _model(path.read_bytes())
        unknown = next(index for index, (_, _, kind) in enumerate(pieces) if kind == UNKNOWN)
        vocabulary = [(piece, score) for piece, score, _ in pieces]
        made = tokenizers_class("Tokenizer")(
            tokenizers_class("models").Unigram(vocabulary, unk_id=unknown, byte_fallback=byte_fallback)
        )
        made.normalizer = _normalizer(charsmap)
    except WeightsError:
        raise
    except Exception as error:  # tokenizers raises bare Exception
        raise WeightsError(f"the tokenizer {path} cannot be read ({error}); copy it again") from error
    added = tokenizers_class("AddedToken")
    special = [piece for piece, _, kind in pieces if kind in (UNKNOWN, CONTROL)]
    made.add_special_tokens([added(piece, normalized=False, special=True) for piece in special])
    made.add_tokens([added(piece, normalized=False) for piece, _, kind in pieces if kind == USER_DEFINED])
    made.pre_tokenizer = tokenizers_class("pre_tokenizers").Metaspace(SPACE, "always")
    if made.token_to_id(end) is not None:
        made.post_processor = tokenizers_class("processors").TemplateProcessing(
            single=f"$A {end}", special_tokens=[(end, made.token_to_id(end))]
        )
    return made


def _normalizer(charsmap: bytes) -> Any:
    normalizers = tokenizers_class("normalizers")
    one_space = normalizers.Replace(tokenizers_class("Regex")(" {2,}"), " ")
    return normalizers.Sequence([normalizers.Precompiled(charsmap), one_space]) if charsmap else one_space


def _model(data: bytes) -> tuple[list[tuple[str, float, int]], bytes, bool]:
    """Pieces with scores and types, the precompiled normalization, whether unknown characters become bytes."""
    pieces: list[tuple[str, float, int]] = []
    charsmap, byte_fallback, kind = b"", False, UNIGRAM
    for number, value in _fields(data):
        if number not in (1, 2, 3):
            continue
        if not isinstance(value, bytes):
            raise ValueError(f"field {number} is no message")
        inner = dict(_fields(value))
        if number == 1:
            piece, score = inner[1], inner.get(2, 0.0)
            if not isinstance(piece, bytes) or not isinstance(score, float) or not math.isfinite(score):
                raise ValueError("a piece without text or a finite score")
            pieces.append((piece.decode(), score, int(inner.get(3, 1))))
        elif number == 2:
            kind, byte_fallback = int(inner.get(3, UNIGRAM)), bool(inner.get(35, 0))
        else:
            found = inner.get(2, b"")
            charsmap = found if isinstance(found, bytes) else b""
    if not pieces or kind != UNIGRAM:
        raise ValueError("it is no Unigram model")
    return pieces, charsmap, byte_fallback


def _fields(data: bytes) -> Iterator[Field]:
    """The fields of one message: numbers as int, 32 bits as float, everything with a length as bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"unknown wire type {wire} at byte {at}")
        if at + size > len(data):
            raise ValueError(f"it ends within field {number}")
        content, at = data[at : at + size], at + size
        yield number, struct.unpack("<f", content)[0] if wire == 5 else content


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it ends within a number")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
    raise ValueError(f"a number of more than 64 bits at byte {at}")
