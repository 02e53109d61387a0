"""Whole clips against diffusers' transformer stepped by diffusers' scheduler; edits by what they must keep."""

from __future__ import annotations

import importlib
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.worlds.wan.wan_reference import COLUMNS, ROWS, TINY, error, normal, published, reference
from worldstream.worlds.wan.transformer import WanTransformer
from worldstream.worlds.wan.vace import WanVace
from worldstream.worlds.wan.whole_clips import ClipSchedule, draw_clip, edit_clip

STEPS, SHIFT, GUIDANCE = 6, 3.0, 4.0
EDITS = replace(TINY, in_channels=16, out_channels=16, vace_layers=(0,), vace_channels=96)


@cache
def theirs() -> nn.Module:
    return reference(TINY)


@cache
def ours() -> WanTransformer:
    model = WanTransformer(TINY).eval().requires_grad_(False)
    model.load_state_dict(published(theirs().state_dict()))
    return model


def test_a_clip_equals_diffusers() -> None:
    """Six guided steps."""
    words, nothing = normal(1, 1, TINY.text_len, TINY.text_dim), normal(2, 1, TINY.text_len, TINY.text_dim)
    noise = normal(3, 1, TINY.out_channels, 3, ROWS, COLUMNS)
    diffusers: Any = importlib.import_module("diffusers")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=SHIFT)
    scheduler.set_timesteps(sigmas=np.linspace(1, 0, STEPS + 1)[:-1])
    z, model = noise.clone(), theirs()
    with torch.no_grad():
        for t in scheduler.timesteps:
            told = t.expand(1)
            flow, plain = (model(z, told, text, return_dict=False)[0] for text in (words, nothing))
            z = scheduler.step(plain + GUIDANCE * (flow - plain), t, z, return_dict=False)[0]
    seen: list[tuple[int, int]] = []
    drawn = draw_clip(
        ours(), noise, ours().context(words), ours().context(nothing), ClipSchedule(STEPS, SHIFT, GUIDANCE),
        told=lambda done, of: seen.append((done, of)),
    )  # fmt: skip
    assert error(drawn, z) <= 1e-4
    assert seen == [(i + 1, STEPS) for i in range(STEPS)]


def test_guidance_of_one_is_none() -> None:
    words, nothing = ours().context(normal(1, 1, 4, TINY.text_dim)), ours().context(normal(2, 1, 4, TINY.text_dim))
    noise, plain = normal(3, 1, TINY.out_channels, 2, ROWS, COLUMNS), ClipSchedule(3, guidance=1.0)
    assert torch.equal(draw_clip(ours(), noise, words, nothing, plain), draw_clip(ours(), noise, words, None, plain))


def encode(video: Tensor) -> Tensor:
    """Stands for the VAE: every 8 x 8 cell's mean in 16 channels, every fourth frame."""
    cells = torch.nn.functional.avg_pool3d(video, (1, 8, 8))[:, :, ::4]
    return torch.cat([cells] * 6, 1)[:, :16]


def test_an_edit_depends_on_video_mask_and_references() -> None:
    torch.manual_seed(3)
    model = WanVace(EDITS).eval().requires_grad_(False)
    for p in model.parameters():
        p.data = torch.randn(p.shape) * (0.5 * p[0].numel() ** -0.5 if p.ndim > 1 else 0.1)
    words = model.context(normal(1, 1, 4, EDITS.text_dim))
    video, mask = normal(2, 1, 3, 5, 32, 48), torch.zeros(1, 1, 5, 32, 48)
    mask[..., :24] = 1
    picture, schedule = normal(4, 1, 3, 32, 48), ClipSchedule(2, guidance=1.0)

    def edited(video: Tensor = video, **given: Any) -> Tensor:
        return edit_clip(model, video, encode, words, torch.Generator().manual_seed(5), schedule=schedule, **given)

    plain = edited()
    assert plain.shape == (1, 16, 2, 4, 6)
    assert torch.equal(plain, edited())
    for other in (edited(video + 0.5), edited(mask=mask), edited(references=[picture])):
        assert other.shape == plain.shape
        assert not torch.allclose(other, plain, atol=1e-4)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="1 to 1000 steps"):
        ClipSchedule(0)
    noise = normal(3, 1, TINY.out_channels, 2, ROWS, COLUMNS)
    with pytest.raises(ValueError, match="only VACE takes a control"):
        draw_clip(ours(), noise, ours().context(normal(1, 1, 4, TINY.text_dim)), control=noise)
