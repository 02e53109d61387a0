"""A recorded decoder gives the frames of the plain one, over streams that begin again and jump back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.worlds.wan.test_waits import META, Waits
from tests.worlds.wan.tiny_engines import seeded, taehv, vae
from worldstream.worlds.wan import recorded_decoder
from worldstream.worlds.wan.recorded_decoder import RecordedDecoder
from worldstream.worlds.wan.streaming import CodecStream
from worldstream.worlds.wan.taehv import TAEHV, TAEHVConfig


def latents(count: int, seed: int = 1) -> Tensor:
    return torch.randn(1, 16, count, 4, 6, generator=seeded(seed))


@pytest.mark.parametrize("codec", [taehv(), vae()], ids=["taehv", "vae"])
def test_the_same_frames(codec: Any) -> None:
    ours = RecordedDecoder(codec)
    plain, recorded = CodecStream(codec), CodecStream(ours)

    def both(given: Tensor) -> None:
        a, b = plain.decode(given), recorded.decode(given)
        assert a.shape == b.shape
        assert torch.allclose(a, b, atol=1e-5)
        assert plain.latents_before == recorded.latents_before

    for i in range(6):
        both(latents(1, i))
    both(latents(3))  # several at once
    kept = plain.snapshot(), recorded.snapshot()
    both(latents(2, 20))
    plain.restore(kept[1])  # either's snapshot is for both
    recorded.restore(kept[0])
    both(latents(2, 21))
    plain.reset()
    recorded.reset()
    for i in range(5):
        both(latents(1, 30 + i))
    assert ours.recordings == 1, "one recording serves them all"


def test_where_recording_fails_latents_are_decoded_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(recorded_decoder, "record", failing)
    plain, recorded = CodecStream(taehv()), CodecStream(RecordedDecoder(taehv()))
    for i in range(5):
        assert torch.equal(plain.decode(latents(1, i)), recorded.decode(latents(1, i)))
    assert [r.message.count("\n") for r in caplog.records if "recording failed" in r.message] == [0]


def test_nothing_waits() -> None:
    with torch.device("meta"):
        codec = TAEHV(TAEHVConfig(widths=(16, 8, 8, 8)))
    stream = CodecStream(RecordedDecoder(codec))
    with Waits() as waits:
        for _ in range(5):
            stream.decode(torch.empty(1, 16, 1, 4, 6, device=META))
    assert waits.seen == []
