"""The action module against a plain loop that follows its description number by number, and over chunks."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from worldstream.worlds.wan.actions import ActionCache, ActionConfig, ActionModule, ActionRows

DIM, GRID = 24, (3, 2, 2)
CONFIG = ActionConfig(keyboard=4, blocks=1, heads=2, width=32, hidden=8)
BATCH, LATENTS = 2, 12


def made(config: ActionConfig = CONFIG) -> ActionModule:
    torch.manual_seed(3)
    module = ActionModule(config, DIM)
    for name, p in module.named_parameters():
        torch.nn.init.normal_(p, std=0.3)
        if name.endswith("mouse_mlp.3.weight"):
            torch.nn.init.normal_(p, 1.0, 0.1)
    return module.eval().requires_grad_(False)


def rows(config: ActionConfig = CONFIG, batch: int = BATCH) -> tuple[Tensor, Tensor | None]:
    """All rows of a walk of LATENTS latent frames."""
    g = torch.Generator().manual_seed(4)
    count = 1 + 4 * (LATENTS - 1)
    keyboard = torch.rand(batch, count, config.keyboard, generator=g).round()
    return keyboard, torch.randn(batch, count, 2, generator=g) * 0.1 if config.mouse else None


def tokens(batch: int = BATCH) -> Tensor:
    """`[B, LATENTS, S, DIM]`."""
    return torch.randn(batch, LATENTS, GRID[1] * GRID[2], DIM, generator=torch.Generator().manual_seed(5))


def rotated(x: Tensor, position: int, config: ActionConfig) -> Tensor:
    """One head's vector at a frame index counted from the start of the walk."""
    out = x.clone()
    for pair in range(config.rotated // 2):
        angle = position * config.theta ** (-2 * pair / config.rotated)
        a, b = x[2 * pair], x[2 * pair + 1]
        out[2 * pair] = a * math.cos(angle) - b * math.sin(angle)
        out[2 * pair + 1] = b * math.cos(angle) + a * math.sin(angle)
    return out


def unit(x: Tensor) -> Tensor:
    return x / (x.square().mean() + 1e-6).sqrt()


def plain(module: ActionModule, x: Tensor, keyboard: Tensor, mouse: Tensor | None, visible: list[list[int]]) -> Tensor:
    """One walk: tokens `[T, S, DIM]`, the latent frame i sees those of `visible[i]`. Loops over everything."""
    c, heads = module.config, module.config.heads
    frames, places = x.shape[:2]

    def given(values: Tensor, latent: int) -> Tensor:
        return torch.cat([values[max(0, 4 * latent - c.rows + k)] for k in range(c.rows)])

    def attend(q: Tensor, at: int, seen: list[int], keys: dict[int, Tensor], values: dict[int, Tensor]) -> Tensor:
        parts = []
        for h in range(heads):
            query = rotated(unit(q.view(heads, -1)[h]), at, c)
            scores = torch.stack(
                [(query * rotated(unit(keys[j].view(heads, -1)[h]), j, c)).sum() / math.sqrt(len(query)) for j in seen]
            )
            shares = scores.softmax(0)
            parts.append(sum((shares[n] * values[j].view(heads, -1)[h] for n, j in enumerate(seen)), query * 0))
        return torch.cat(parts)

    out = x.clone()
    if mouse is not None:
        for s in range(places):
            q, k, v = {}, {}, {}
            for t in range(frames):
                mixed = module.mouse_mlp(torch.cat([x[t, s], given(mouse, t)]))
                q[t], k[t], v[t] = module.t_qkv(mixed).chunk(3)
            for t in range(frames):
                out[t, s] = x[t, s] + module.proj_mouse(attend(q[t], t, visible[t], k, v))
    k, v = {}, {}
    for t in range(frames):
        told = torch.cat([module.keyboard_embed(r) for r in given(keyboard, t).view(c.rows, -1)])
        k[t], v[t] = module.keyboard_attn_kv(told).chunk(2)
    for t in range(frames):
        for s in range(places):
            pressed = attend(module.mouse_attn_q(out[t, s]), t, visible[t], k, v)
            out[t, s] = out[t, s] + module.proj_keyboard(pressed)
    return out


def walked(module: ActionModule, x: Tensor, keyboard: Tensor, mouse: Tensor | None, chunk: int = 3) -> Tensor:
    """Chunk by chunk with a cache; each chunk is first seen noisy, which must leave no trace."""
    c, cache = module.config, ActionCache(module.config)
    parts = []
    for first in range(0, x.shape[1], chunk):
        told = ActionRows.at(c, keyboard, mouse, first, chunk)
        pasts = (cache.keyboard[0], cache.mouse[0] if c.mouse else None)
        part, grid = x[:, first : first + chunk].flatten(1, 2), (chunk, *GRID[1:])
        module(part + 1.0, grid, told, pasts, False)
        parts.append(module(part, grid, told, pasts, True).unflatten(1, (chunk, -1)))
    return torch.cat(parts, 1)


def windows(chunk: int, window: int) -> list[list[int]]:
    """The latent frames that each sees: the whole own chunk, and before it as many as the window holds."""
    ends = [(t // chunk + 1) * chunk for t in range(LATENTS)]
    return [list(range(max(0, end - window), end)) for end in ends]


@pytest.mark.parametrize(
    "config", [CONFIG, replace(CONFIG, keyboard=2, window=4), replace(CONFIG, keyboard=7, mouse=0)]
)
def test_chunks_equal_the_plain_loop(config: ActionConfig) -> None:
    """The three published variants: universal, GTA with its shorter window, temple run without a mouse."""
    module, x, (keyboard, mouse) = made(config), tokens(), rows(config)
    ours = walked(module, x, keyboard, mouse)
    for b in range(BATCH):
        expected = plain(module, x[b], keyboard[b], None if mouse is None else mouse[b], windows(3, config.window))
        assert (ours[b] - expected).abs().max() <= 1e-4 * expected.abs().max()
        assert (expected - x[b]).abs().mean() > 0.05, "the module must add something for this to mean anything"


def test_one_pass_without_a_past_sees_everything() -> None:
    module, x, (keyboard, mouse) = made(), tokens(1), rows(batch=1)
    told = ActionRows.at(CONFIG, keyboard, mouse, 0, LATENTS)
    ours = module(x.flatten(1, 2), (LATENTS, *GRID[1:]), told, (None, None), False).unflatten(1, (LATENTS, -1))
    expected = plain(module, x[0], keyboard[0], None if mouse is None else mouse[0], [list(range(LATENTS))] * LATENTS)
    assert (ours[0] - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_batched_walks_equal_each_alone() -> None:
    module, x, (keyboard, mouse) = made(), tokens(), rows()
    assert mouse is not None
    together = walked(module, x, keyboard, mouse)
    for b in range(BATCH):
        alone = walked(module, x[b : b + 1], keyboard[b : b + 1], mouse[b : b + 1])
        assert torch.allclose(together[b : b + 1], alone, atol=1e-5)


def test_every_latent_frame_is_given_its_newest_twelve_rows() -> None:
    keyboard = torch.arange(21.0).view(1, 21, 1)
    told = ActionRows.at(replace(CONFIG, mouse=0), keyboard, None, 0, 5).keyboard[0, :, :, 0]
    assert told[0].tolist() == [0.0] * 12, "before the walk began the first row held"
    assert told[1].tolist() == [0.0] * 9 + [1.0, 2.0, 3.0]
    assert told[4].tolist() == [float(n) for n in range(4, 16)]


def test_missing_rows_are_named() -> None:
    keyboard, mouse = rows()
    with pytest.raises(ValueError, match="need 48 rows, got 45"):
        ActionRows.at(CONFIG, keyboard, mouse, 11, 2)
    with pytest.raises(ValueError, match="2 mouse numbers"):
        ActionRows.at(CONFIG, keyboard, None, 0, 1)


def test_a_snapshot_is_a_moment_to_come_back_to() -> None:
    module, x, (keyboard, mouse) = made(), tokens(1), rows(batch=1)
    cache = ActionCache(CONFIG)

    def chunk(first: int, shift: float = 0.0) -> Tensor:
        told = ActionRows.at(CONFIG, keyboard, mouse, first, 3)
        part = x[:, first : first + 3].flatten(1, 2) + shift
        out: Tensor = module(part, GRID, told, (cache.keyboard[0], cache.mouse[0]), True)
        return out

    assert cache.bytes == 0
    chunk(0)
    state = cache.snapshot()
    assert cache.bytes == 2 * 3 * 32 * 4 * (1 + GRID[1] * GRID[2])
    once = chunk(3)
    chunk(6, 5.0)
    cache.restore(state)
    assert torch.equal(chunk(3), once)
    cache.reset()
    assert cache.bytes == 0


def test_a_walk_of_thousands_of_latent_frames_stays_finite() -> None:
    """Positions count from the oldest kept frame: there is no table to run out of."""
    module, cache = made(), ActionCache(CONFIG)
    keyboard, mouse = torch.ones(1, 40, 4), torch.full((1, 40, 2), 0.1)
    told = ActionRows.at(CONFIG, keyboard, mouse, 6, 3)
    x = tokens(1)[:, :3].flatten(1, 2)
    outs = [module(x, GRID, told, (cache.keyboard[0], cache.mouse[0]), True) for _ in range(700)]
    assert torch.isfinite(outs[-1]).all()
    assert torch.allclose(outs[-1], outs[5], atol=1e-5), "once the window is full, nothing changes with time"


def test_parameters_are_those_published() -> None:
    """13.7 M a block at the published size, the names those of the checkpoint."""
    with torch.device("meta"):
        module = ActionModule(ActionConfig(), 1536)
    names = {name.rsplit(".", 1)[0] for name in module.state_dict()}
    assert names == {
        "keyboard_embed.0", "keyboard_embed.2", "mouse_mlp.0", "mouse_mlp.2", "mouse_mlp.3", "t_qkv", "img_attn_q_norm",
        "img_attn_k_norm", "proj_mouse", "key_attn_q_norm", "key_attn_k_norm", "mouse_attn_q", "keyboard_attn_kv",
        "proj_keyboard",
    }  # fmt: skip
    assert sum(p.numel() for p in module.parameters()) / 1e6 == pytest.approx(13.7, abs=0.1)
