"""Prompt embeddings on disk: found without an encoder, made once, never wrong, never too many."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from worldstream.worlds.errors import WeightsError
from worldstream.worlds.wan.embeddings import UNFINISHED, UNFINISHED_AFTER_S, EmbeddingStore
from worldstream.worlds.wan.offload import Offload

MODEL = "ab" * 32
WIDTH, TEXT_LEN = 8, 12


class CountingEncoder:
    """Rows that follow from the prompt; remembers what was asked of it."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.policies: list[Offload] = []
        self.busy = threading.Lock()

    def rows(self, prompt: str) -> Tensor:
        assert self.busy.acquire(blocking=False), "two prompts at once"
        self.prompts.append(prompt)
        generator = torch.Generator().manual_seed(len(prompt))
        rows = torch.randn(len(prompt) % TEXT_LEN + 1, WIDTH, generator=generator).bfloat16()
        self.busy.release()
        return rows

    def offload(self, policy: Offload) -> None:
        self.policies.append(policy)


@pytest.fixture
def encoder() -> CountingEncoder:
    return CountingEncoder()


def store(folder: Path, encoder: CountingEncoder | None, max_bytes: int = 10**6) -> EmbeddingStore:
    return EmbeddingStore(folder, MODEL, encoder, text_len=TEXT_LEN, max_bytes=max_bytes)


def grow_older(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_a_prompt_is_encoded_once(tmp_path: Path, encoder: CountingEncoder) -> None:
    made = store(tmp_path, encoder).embedding("a lake")
    assert made.shape == (TEXT_LEN, WIDTH)
    assert made.dtype == torch.bfloat16
    assert bool((made[7:] == 0).all())
    again = store(tmp_path, None).embedding("  a   lake ")  # another process, no encoder, cleans to the same text
    assert torch.equal(again, made)
    assert store(tmp_path, None).rows("a lake").shape == (7, WIDTH)
    assert encoder.prompts == ["a lake"]
    assert encoder.policies == [Offload.FREE]
    assert "lake" not in "".join(path.name for path in tmp_path.iterdir())


def test_an_unknown_prompt_needs_an_encoder(tmp_path: Path) -> None:
    assert store(tmp_path / "none", None).find("a lake") is None
    with pytest.raises(WeightsError, match="there is no text encoder to make it"):
        store(tmp_path, None).embedding("a lake")


def test_another_encoder_or_length_has_its_own_entries(tmp_path: Path, encoder: CountingEncoder) -> None:
    store(tmp_path, encoder).rows("a lake")
    assert EmbeddingStore(tmp_path, "cd" * 32, encoder, text_len=TEXT_LEN).find("a lake") is None
    assert EmbeddingStore(tmp_path, MODEL, encoder, text_len=TEXT_LEN + 1).find("a lake") is None


@pytest.mark.parametrize("policy", Offload)
def test_the_encoder_is_put_aside_even_when_it_fails(tmp_path: Path, policy: Offload) -> None:
    class Failing(CountingEncoder):
        def rows(self, prompt: str) -> Tensor:
            raise RuntimeError("out of memory")

    failing = Failing()
    with pytest.raises(RuntimeError, match="out of memory"):
        EmbeddingStore(tmp_path, MODEL, failing, after_use=policy).rows("a lake")
    assert failing.policies == [policy]
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_not_finite_are_not_kept(tmp_path: Path) -> None:
    class Broken(CountingEncoder):
        def rows(self, prompt: str) -> Tensor:
            return torch.full((2, WIDTH), float("nan"))

    with pytest.raises(WeightsError, match="not finite"):
        store(tmp_path, Broken()).rows("a lake")
    assert list(tmp_path.iterdir()) == []


@given(data=st.data())
@settings(max_examples=40)
def test_a_damaged_entry_is_made_again(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("store")
    encoder = CountingEncoder()
    expected = store(folder, encoder).rows("a lake")
    path = store(folder, encoder).path("a lake")
    whole = path.read_bytes()
    kind = data.draw(st.sampled_from(["cut", "flip", "replace"]))
    if kind == "cut":
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    elif kind == "flip":
        at = data.draw(st.integers(0, len(whole) - 1))
        damaged = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    else:
        damaged = data.draw(st.binary(max_size=300))
    path.write_bytes(damaged)
    assert torch.equal(store(folder, encoder).rows("a lake"), expected)
    assert torch.equal(store(folder, None).rows("a lake"), expected)


def test_a_damaged_entry_is_dropped_and_told(
    tmp_path: Path, encoder: CountingEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    store(tmp_path, encoder).rows("a lake")
    path = store(tmp_path, encoder).path("a lake")
    path.write_bytes(b"not safetensors")
    with caplog.at_level(logging.WARNING):
        assert store(tmp_path, None).find("a lake") is None
    assert not path.exists()
    assert path.name in caplog.text


def test_the_oldest_go_first(tmp_path: Path, encoder: CountingEncoder) -> None:
    prompts = ["one", "two", "six"]  # of the same length, so of the same size
    for age, prompt in zip((300, 200, 100), prompts, strict=True):
        store(tmp_path, encoder).rows(prompt)
        grow_older(store(tmp_path, encoder).path(prompt), age)
    size = store(tmp_path, encoder).path("one").stat().st_size
    store(tmp_path, encoder).rows("one")  # used again: now the youngest
    bounded = store(tmp_path, encoder, max_bytes=3 * size)
    bounded.rows("ten")
    assert [p for p in (*prompts, "ten") if bounded.find(p) is not None] == ["one", "six", "ten"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * size


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path, encoder: CountingEncoder) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(5000))
    store(tmp_path, encoder, max_bytes=1000).rows("a lake")
    store(tmp_path, encoder, max_bytes=500).rows("a hill")
    assert weights.stat().st_size == 5000


def test_an_entry_above_the_bound_is_not_stored(tmp_path: Path, encoder: CountingEncoder) -> None:
    tight = store(tmp_path, encoder, max_bytes=10)
    assert tight.rows("a lake").shape == (7, WIDTH)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="max_bytes must be 0 or more, got -1"):
        store(tmp_path, encoder, max_bytes=-1)


def test_what_a_dead_writer_left_is_removed(tmp_path: Path, encoder: CountingEncoder) -> None:
    old, new = tmp_path / f"embedding-old{UNFINISHED}", tmp_path / f"embedding-new{UNFINISHED}"
    foreign = tmp_path / f"download{UNFINISHED}"
    for part in (old, new, foreign):
        part.write_bytes(b"half")
        grow_older(part, 0 if part is new else 2 * UNFINISHED_AFTER_S)
    store(tmp_path, encoder).rows("a lake")
    assert not old.exists()
    assert new.exists()
    assert foreign.exists()


def test_a_folder_that_cannot_be_written_ends_nothing(
    tmp_path: Path, encoder: CountingEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert store(tmp_path / "file", encoder).rows("a lake").shape == (7, WIDTH)
    assert "could not be stored" in caplog.text


def test_threads_that_miss_together_encode_once(tmp_path: Path, encoder: CountingEncoder) -> None:
    shared = store(tmp_path, encoder)
    found: list[Tensor] = []
    threads = [threading.Thread(target=lambda: found.append(shared.rows("a lake"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert encoder.prompts == ["a lake"]
