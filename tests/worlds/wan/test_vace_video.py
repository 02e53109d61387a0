"""Windows of a long video through a small VACE: every frame once, kept parts kept, the seed honoured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tests.worlds.wan.wan_reference import TINY, normal
from worldstream.worlds.wan.vace import WanVace
from worldstream.worlds.wan.vace_video import VaceEditor
from worldstream.worlds.wan.whole_clips import ClipSchedule

EDITS = replace(TINY, in_channels=16, out_channels=16, vace_layers=(0,), vace_channels=96)
Picture = NDArray[np.uint8]


def encode(rgb: Tensor) -> Tensor:
    """A stand-in for the codec: sizes as Wan's, colours averaged."""
    small = F.adaptive_avg_pool3d(rgb, ((rgb.shape[2] + 3) // 4, rgb.shape[3] // 8, rgb.shape[4] // 8))
    return small.repeat(1, 6, 1, 1, 1)[:, :16]


def decode(latents: Tensor) -> Tensor:
    frames = 4 * latents.shape[2] - 3
    size = (frames, 8 * latents.shape[3], 8 * latents.shape[4])
    return F.interpolate(latents[:, :3], size=size, mode="nearest").clamp(-1, 1)


def editor() -> VaceEditor:
    torch.manual_seed(3)
    model = WanVace(EDITS).eval().requires_grad_(False)
    for p in model.parameters():
        if not p.any():
            p.copy_(0.1 * torch.randn(p.shape))
    words = model.context(normal(1, 1, 4, EDITS.text_dim))
    return VaceEditor(model, encode, decode, words, None, ClipSchedule(2, guidance=1.0), window=9, overlap=3)


def film(count: int, light: int = 0) -> Iterator[Picture]:
    for i in range(count):
        yield np.full((32, 48, 3), min(255, 40 + 5 * i + light), np.uint8)


@pytest.mark.parametrize("count", [1, 4, 9, 10, 15, 20])
def test_every_frame_comes_back_once(count: int) -> None:
    out = list(editor().edited(film(count), seed=4))
    assert len(out) == count
    assert {p.shape for p in out} == {(32, 48, 3)}


def test_the_seed_and_the_source_decide() -> None:
    once, again, other, brighter = (
        np.stack(list(editor().edited(film(12, light), seed))) for seed, light in ((4, 0), (4, 0), (5, 0), (4, 90))
    )
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()
    assert (once != brighter).any()


def test_one_window_of_the_source_is_taken_at_a_time_and_steps_are_told() -> None:
    taken, steps = 0, list[tuple[int, int]]()

    def counted() -> Iterator[Picture]:
        nonlocal taken
        for picture in film(30):
            taken += 1
            yield picture

    made = editor().edited(counted(), 4, told=lambda done, of: steps.append((done, of)))
    next(made)
    assert taken == 9
    assert steps == [(1, 2), (2, 2)]


def test_a_mask_changes_what_is_drawn_and_what_does_not_fit_is_named() -> None:
    half = np.zeros((32, 48), np.float32)
    half[:, :24] = 1
    masked = list(editor().edited(film(5), 4, masks=iter([half] * 5)))
    assert any((a != b).any() for a, b in zip(masked, editor().edited(film(5), 4), strict=True))
    with pytest.raises(ValueError, match="multiples of 16"):
        list(editor().edited(iter([np.zeros((30, 48, 3), np.uint8)]), 4))
    with pytest.raises(ValueError, match="4n \\+ 1"):
        replace(editor(), window=8)
