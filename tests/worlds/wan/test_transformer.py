"""A whole clip at once: our transformer and diffusers' with the same random weights, in float32."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.worlds.wan.wan_reference import (
    COLUMNS,
    FRAME,
    ROWS,
    TINY,
    TINY_I2V,
    TOLERANCE,
    error,
    normal,
    per_token,
    published,
    reference,
)
from worldstream.worlds.wan.block import Grid
from worldstream.worlds.wan.config import WanConfig
from worldstream.worlds.wan.transformer import WanTransformer

FRAMES = 3


def ours(config: WanConfig, theirs: nn.Module) -> WanTransformer:
    model = WanTransformer(config).eval().requires_grad_(False)
    model.load_state_dict(published(theirs.state_dict()))  # strict: no key is missing, none is left over
    return model


def clip(config: WanConfig, batch: int = 2) -> tuple[Tensor, Tensor]:
    return normal(1, batch, config.in_channels, FRAMES, ROWS, COLUMNS), normal(2, batch, config.text_len, 16)


@pytest.mark.parametrize("norm", [True, False])
def test_text_to_video(norm: bool) -> None:
    config = replace(TINY, cross_attn_norm=norm)
    theirs = reference(config)
    x, text = clip(config)
    time = torch.tensor([937.5, 20.0])
    found = error(ours(config, theirs)(x, time, text), theirs(x, time, text).sample)
    print(f"max relative error {found:.1e}")
    assert found <= TOLERANCE


def test_image_to_video() -> None:
    theirs = reference(TINY_I2V)
    x, text = clip(TINY_I2V)
    image = normal(3, 2, TINY_I2V.image_tokens, 20)
    time = torch.tensor([833.3, 625.0])
    found = error(ours(TINY_I2V, theirs)(x, time, text, image), theirs(x, time, text, image).sample)
    print(f"max relative error {found:.1e}")
    assert found <= TOLERANCE


def test_a_timestep_for_each_latent_frame() -> None:
    theirs = reference(TINY)
    x, text = clip(TINY)
    time = torch.tensor([[0.0, 500.0, 1000.0], [250.0, 0.0, 714.0]])
    found = error(ours(TINY, theirs)(x, time, text), theirs(x, per_token(time, FRAME), text).sample)
    print(f"max relative error {found:.1e}")
    assert found <= TOLERANCE


def test_image_alone() -> None:
    """Matrix-Game 2.0's base: the image's tokens stand where the prompt's stand elsewhere."""
    theirs = reference(replace(TINY_I2V, image_dim=None))
    seen = reference(TINY_I2V, seed=5)
    theirs.condition_embedder.text_embedder = seen.condition_embedder.image_embedder
    weights = published(theirs.state_dict())
    weights = {k.replace("condition_embedder.text_embedder", "image"): v for k, v in weights.items()}
    names = {"image.norm1": "0", "image.ff.net.0.proj": "1", "image.ff.net.2": "3", "image.norm2": "4"}
    for theirs_name, number in names.items():
        weights = {k.replace(theirs_name, f"img_emb.proj.{number}"): v for k, v in weights.items()}
    config = replace(TINY_I2V, has_text=False)
    model = WanTransformer(config).eval().requires_grad_(False)
    model.load_state_dict(weights)
    assert not any("img" in k for k in model.blocks.state_dict())
    x, _ = clip(config)
    image, time = normal(3, 2, config.image_tokens, 20), torch.tensor([1000.0, 908.8])
    found = error(model(x, time, image=image), theirs(x, time, image).sample)
    print(f"max relative error {found:.1e}")
    assert found <= TOLERANCE


def test_short_prompts_are_padded_with_zeros() -> None:
    model = ours(TINY, reference(TINY))
    x, text = clip(TINY)
    text[:, 9:] = 0
    time = torch.tensor([500.0, 500.0])
    assert torch.equal(model(x, time, text), model(x, time, text[:, :9]))


def test_a_context_is_made_once_and_serves_every_video() -> None:
    model = ours(TINY, reference(TINY))
    x, text = clip(TINY)
    time = torch.tensor([500.0, 250.0])
    context = model.context(text[:1])
    both = model(x, time, context=context)
    torch.testing.assert_close(both, model(x, time, text[:1].expand(2, -1, -1)))
    assert context.bytes == TINY.layers * 2 * TINY.text_len * TINY.dim * 4


def test_batch_is_each_alone() -> None:
    model = ours(TINY, reference(TINY))
    x, text = clip(TINY)
    time = torch.tensor([[1000.0, 0.0, 500.0], [3.0, 2.0, 1.0]])
    both = model(x, time, text)
    for i in range(2):
        assert error(model(x[i : i + 1], time[i : i + 1], text[i : i + 1]), both[i : i + 1]) < 1e-5


def test_bfloat16_is_close() -> None:
    theirs = reference(TINY)
    exact, half = ours(TINY, theirs), ours(TINY, theirs).cast(torch.bfloat16)
    assert half.dtype == torch.bfloat16
    kept = {k for k, v in half.state_dict().items() if v.dtype == torch.float32}
    assert {"time_embedding.0.weight", "blocks.1.modulation", "blocks.0.self_attn.norm_q.weight"} <= kept
    assert {"blocks.0.ffn.0.weight", "patch_embedding.weight", "head.head.bias"}.isdisjoint(kept)
    x, text = clip(TINY)
    time = torch.tensor([937.5, 20.0])
    found = half(x.bfloat16(), time, text.bfloat16())
    assert found.dtype == torch.bfloat16
    assert error(found.float(), exact(x, time, text)) < 0.05


class Nudge(nn.Module):
    """An action module that adds a number."""

    def __init__(self, layer: int) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(0.1 * (layer + 1)))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


def test_action_modules_stand_between_cross_attention_and_feed_forward() -> None:
    """What diffusers gives when the same number is added to the output of its cross-attention."""
    theirs = reference(TINY)
    model = WanTransformer(TINY, lambda layer: Nudge(layer) if layer == 1 else None).eval().requires_grad_(False)
    weights = published(theirs.state_dict()) | {"blocks.1.action_model.by": torch.tensor(0.2)}
    model.load_state_dict(weights)
    theirs.blocks[1].attn2.register_forward_hook(lambda _m, _i, out: out + 0.2)
    calls: list[tuple[Grid, int, bool]] = []

    def actions(module: nn.Module, x: Tensor, grid: Grid, layer: int, commit: bool) -> Tensor:
        calls.append((grid, layer, commit))
        out: Tensor = module(x)
        return out

    x, text = clip(TINY)
    time = torch.tensor([937.5, 20.0])
    assert error(model(x, time, text, actions=actions), theirs(x, time, text).sample) <= TOLERANCE
    assert calls == [((FRAMES, 2, 3), 1, False)]
    with pytest.raises(ValueError, match="draws by actions: pass them"):
        model(x, time, text)
    with pytest.raises(ValueError, match="takes no actions"):
        ours(TINY, reference(TINY))(x, time, text, actions=actions)


def test_action_modules_are_cast_as_a_whole() -> None:
    """They are other people's modules: their norms expect weights of their input's type."""
    model = WanTransformer(TINY, lambda _: nn.Sequential(nn.Linear(48, 48), nn.LayerNorm(48))).cast(torch.bfloat16)
    model.eval().requires_grad_(False)
    x, text = clip(TINY)

    def actions(module: nn.Module, x: Tensor, grid: Grid, layer: int, commit: bool) -> Tensor:
        out: Tensor = module(x)
        return out

    assert torch.isfinite(model(x, torch.tensor([1.0, 2.0]), text, actions=actions)).all()


def test_inputs_that_do_not_fit_are_refused() -> None:
    model = WanTransformer(TINY).eval().requires_grad_(False)
    x, text = clip(TINY)
    time = torch.tensor([1.0, 2.0])
    with pytest.raises(ValueError, match=r"x must be \[B, 4, T, H, W\], got \(2, 3, 3, 4, 6\)"):
        model(x[:, :3], time, text)
    with pytest.raises(ValueError, match=r"timestep must be \[2\] or \[2, 3\], got \(1,\)"):
        model(x, time[:1], text)
    with pytest.raises(ValueError, match="3 x 6 is not whole patches"):
        model(x[:, :, :, :3], time, text)
    with pytest.raises(ValueError, match="needs text tokens"):
        model(x, time)
    with pytest.raises(ValueError, match="takes no image tokens"):
        model(x, time, text, normal(1, 2, 7, 20))
    with pytest.raises(ValueError, match=r"text tokens must be \[B, 1 to 24, 16\], got \(2, 25, 16\)"):
        model(x, time, normal(1, 2, 25, 16))
    with pytest.raises(ValueError, match="3 prompts, the latents of 2"):
        model(x, time, normal(1, 3, 24, 16))
