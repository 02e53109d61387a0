"""VACE against diffusers': the transformer with a control, and how the control is prepared."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.worlds.wan.wan_reference import COLUMNS, ROWS, TINY, TOLERANCE, error, normal, published, reference
from worldstream.worlds.wan.vace import WanVace, control_latents, mask_cells, on_canvas

CONFIG = replace(TINY, layers=5, vace_layers=(0, 2, 4), vace_channels=96)
FRAMES = 3


@cache
def theirs() -> nn.Module:
    return reference(CONFIG)


@cache
def ours() -> WanVace:
    model = WanVace(CONFIG).eval().requires_grad_(False)
    model.load_state_dict(published(theirs().state_dict()))
    return model


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = normal(1, 2, 4, FRAMES, ROWS, COLUMNS)
    control = normal(2, 2, 96, FRAMES, ROWS, COLUMNS)
    return x, torch.tensor([937.5, 20.0]), normal(3, 2, CONFIG.text_len, 16), control


@pytest.mark.parametrize("scale", [1.0, 0.4, (1.0, 0.0, 0.7)])
def test_equals_diffusers(scale: float | tuple[float, ...]) -> None:
    x, time, text, control = inputs()
    scales = torch.tensor(scale if isinstance(scale, tuple) else [scale] * 3)
    expected = theirs()(x, time, text, control_hidden_states=control, control_hidden_states_scale=scales).sample
    found = error(ours()(x, time, text, control=control, scale=scale), expected)
    print(f"max relative error {found:.1e}")
    assert found <= TOLERANCE


def test_without_control_it_is_the_plain_transformer() -> None:
    x, time, text, control = inputs()
    plain = ours()(x, time, text)
    assert torch.equal(plain, ours()(x, time, text, control=control, scale=0.0))
    assert error(ours()(x, time, text, control=control), plain) > 0.1


def test_a_context_made_before_serves_both_branches() -> None:
    x, time, text, control = inputs()
    context = ours().context(text)
    assert len(context.layers) == CONFIG.layers + 3
    assert torch.equal(ours()(x, time, text, control=control), ours()(x, time, context=context, control=control))


def test_what_does_not_fit_is_refused() -> None:
    x, time, text, control = inputs()
    with pytest.raises(ValueError, match=r"control must be \[2, 96, 3, 4, 6\].*got \[2, 96, 2, 4, 6\]"):
        ours()(x, time, text, control=control[:, :, :2])
    with pytest.raises(ValueError, match="one number or 3, got 2"):
        ours()(x, time, text, control=control, scale=(1.0, 1.0))
    with pytest.raises(ValueError, match="set vace_layers"):
        WanVace(TINY)


def encode(rgb: Tensor) -> Tensor:
    """Stands for the VAE: linear, 4 x 8 x 8 to one, sixteen channels."""
    first, later = rgb[:, :, :1], rgb[:, :, 1:]
    groups = torch.cat([first, later.unflatten(2, (-1, 4)).mean(3)], 2)
    cells = groups.unflatten(4, (-1, 8)).unflatten(3, (-1, 8)).mean((4, 6))
    return torch.einsum("bcthw,dc->bdthw", cells, normal(7, 16, 3))


class Distribution:
    """What diffusers expects of a VAE."""

    def __init__(self, rgb: Tensor) -> None:
        self.latents = encode(rgb)


def pipeline() -> Any:
    """As much of diffusers' pipeline as its preparation reads, around the same encoder."""
    config = SimpleNamespace(latents_mean=[0.0] * 16, latents_std=[1.0] * 16, z_dim=16)
    vae = SimpleNamespace(dtype=torch.float32, config=config, encode=Distribution)
    return SimpleNamespace(
        vae=vae, _execution_device="cpu", vae_scale_factor_temporal=4, vae_scale_factor_spatial=8,
        transformer=SimpleNamespace(config=SimpleNamespace(patch_size=(1, 2, 2))),
    )  # fmt: skip


@pytest.mark.parametrize("with_reference", [False, True])
def test_control_is_prepared_as_in_diffusers(with_reference: bool) -> None:
    theirs()  # imports diffusers with its own warnings silenced
    from diffusers.pipelines.wan.pipeline_wan_vace import WanVACEPipeline

    diffusers: Any = WanVACEPipeline
    video, picture = normal(4, 1, 3, 9, 32, 48).clamp(-1, 1), normal(5, 1, 3, 32, 48).clamp(-1, 1)
    mask = (normal(6, 1, 1, 9, 32, 48) > 0.3).float()
    references = [[picture[0]]] if with_reference else [[]]
    latents = diffusers.prepare_video_latents(pipeline(), video, mask, references, device="cpu")
    cells = diffusers.prepare_masks(pipeline(), mask.expand(-1, 3, -1, -1, -1), references)
    found = control_latents(video, encode, mask, [picture] if with_reference else [])
    assert found.shape == (1, 96, 3 + with_reference, 4, 6)
    torch.testing.assert_close(found, torch.cat([latents, cells], 1))


def test_references_keep_their_order_and_batch() -> None:
    video = normal(4, 2, 3, 5, 16, 16)
    pictures = [normal(seed, 2, 3, 16, 16) for seed in (5, 6)]
    found = control_latents(video, encode, references=pictures)
    assert found.shape == (2, 96, 4, 2, 2)
    for frame, picture in enumerate(pictures):
        torch.testing.assert_close(found[:, :16, frame], encode(picture[:, :, None])[:, :, 0])
        assert not found[:, 16:, frame].any()
    assert (found[:, :16, 2:] == 0).all()  # without a mask everything is drawn anew
    assert (found[:, 32:, 2:] == 1).all()
    torch.testing.assert_close(found[:, 16:32, 2:], encode(video))


def test_mask_cells_hold_every_pixel() -> None:
    mask = torch.arange(16 * 32, dtype=torch.float32).reshape(1, 1, 1, 16, 32)
    cells = mask_cells(mask)
    assert cells.shape == (1, 64, 1, 2, 4)
    assert cells[0, 8 * 3 + 5, 0, 1, 2] == mask[0, 0, 0, 8 + 3, 16 + 5]


def test_a_reference_is_centred_on_white() -> None:
    canvas = on_canvas(torch.full((1, 3, 10, 40), -1.0), 16, 32)
    assert canvas.shape == (1, 3, 16, 32)
    assert (canvas[:, :, 4:12] == -1).all()
    assert (canvas[:, :, :4] == 1).all()
    assert (canvas[:, :, 12:] == 1).all()
    same = torch.zeros(1, 3, 16, 32)
    assert on_canvas(same, 16, 32) is same


def test_videos_that_do_not_fit_are_refused() -> None:
    video = torch.zeros(1, 3, 5, 16, 16)
    with pytest.raises(ValueError, match="4n \\+ 1 frames"):
        control_latents(video[:, :, :4], encode)
    with pytest.raises(ValueError, match=r"the mask must be \[1, 1, 5, 16, 16\], got \[1, 1, 4, 16, 16\]"):
        control_latents(video, encode, video[:, :1, :4])
    with pytest.raises(ValueError, match="see on_canvas"):
        control_latents(video, encode, references=[torch.zeros(1, 3, 8, 16)])
