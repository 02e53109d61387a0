"""The torch twins are worlds/wan's own arithmetic: its modules in float32, a whole block, chunks with their past."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from worldstream.kernels import reference
from worldstream.kernels.action_attention import keyboard_attention, mouse_attention, time_angles
from worldstream.kernels.bias_gelu import bias_gelu, bias_gelu_fp8
from worldstream.kernels.i420 import i420
from worldstream.kernels.norm_modulate import norm_modulate, norm_modulate_fp8
from worldstream.kernels.qk_norm_rope import qk_norm_rope
from worldstream.kernels.quantise_rows import quantise_rows
from worldstream.kernels.residual_norm import residual_norm, residual_norm_fp8
from worldstream.kernels.rms_norm import rms_norm
from worldstream.kernels.scheduler_step import scheduler_step
from worldstream.worlds.wan import attention, layers, schedule, streaming
from worldstream.worlds.wan.actions import ActionConfig, ActionModule, Past
from worldstream.worlds.wan.block import Block
from worldstream.worlds.wan.config import WanConfig
from worldstream.worlds.wan.kv_cache import KVCache

DIM, HEADS, EPS = 96, 4, 1e-6
GRID = (3, 2, 5)
TOKENS = 30


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    torch.manual_seed(11)
    with torch.no_grad():
        yield


def close(got: Tensor, expected: Tensor, within: float = 2e-6) -> None:
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= within * max(1.0, float(expected.abs().max()))


def random_block() -> Block:
    block = Block(WanConfig(dim=DIM, ffn_dim=160, heads=HEADS, layers=1))
    for p in block.parameters():
        p.copy_(torch.randn_like(p) * 0.3)
    return block.eval()


def test_queries_keys_and_the_ring_are_those_of_the_cache() -> None:
    """Three chunks through worlds/wan's attention and cache; the ring gets the same keys at the same places."""
    module = random_block().self_attn
    config = WanConfig(dim=DIM, ffn_dim=160, heads=HEADS, layers=1)
    cache = KVCache(config, 4, 10, window=9, chunk=3)
    rings = torch.zeros(2, 1, 9 * 10, HEADS, DIM // HEADS)
    for chunk in range(3):
        x = torch.randn(1, TOKENS, DIM)
        plan = cache.begin(3, commit=True)
        unrotated, values = module.keys_values(x)
        keys, values = cache.attended(0, unrotated, values, plan)
        cache.keep(0, unrotated, keys, values, plan)
        cache.advance(plan)
        kept = torch.empty(1, TOKENS, HEADS, DIM // HEADS)
        slot = [10 * (3 + 3 * (chunk % 2) + frame) for frame in range(3)]  # the cache's slots: chunk, then the ring
        for slots in (torch.tensor([0]), torch.tensor(slot)):
            q = qk_norm_rope(
                module.q(x), module.k(x), module.v(x), module.norm_q.weight, module.norm_k.weight, plan.rotation.cos,
                plan.rotation.sin, slots, rings[0], rings[1], eps=EPS, unrotated=kept,
            )  # fmt: skip
        close(q, layers.rotate(module.queries(x), plan.rotation))
        close(kept, unrotated)
        close(rings[0], cache.keys[0])
        close(rings[1], cache.values[0])


def test_a_whole_block_of_operators_is_the_block() -> None:
    """Attention and matrix products from torch, all else from the operators, in the order of a backend of kernels."""
    block, config = random_block(), WanConfig(dim=DIM, ffn_dim=160, heads=HEADS, layers=1)
    x, time = torch.randn(2, TOKENS, DIM), torch.randn(2, GRID[0], 6, DIM) * 0.3
    context = block.cross_attn.context(torch.randn(2, 7, DIM), None)
    rotation = layers.RotaryPositions(config.head_width).at(5, *GRID, x.device)
    expected = block(x, time, context, lambda module, tokens: module(tokens, rotation))

    own, cross, (up_proj, _, down_proj) = block.self_attn, block.cross_attn, block.ffn
    assert isinstance(up_proj, torch.nn.Linear)
    shift, scale, gate, shift_2, scale_2, gate_2 = (block.modulation[:, None] + time).unbind(2)
    weight = torch.cat([own.q.weight, own.k.weight, own.v.weight])
    qkv = F.linear(norm_modulate(x, shift, scale, eps=EPS), weight, torch.cat([own.q.bias, own.k.bias, own.v.bias]))
    k_ring, v_ring = torch.zeros(2, 2, TOKENS, HEADS, DIM // HEADS)
    q, k, v = qkv.chunk(3, -1)
    q = qk_norm_rope(
        q, k, v, own.norm_q.weight, own.norm_k.weight, rotation.cos, rotation.sin, torch.tensor([0]),
        k_ring, v_ring, eps=EPS,
    )  # fmt: skip
    out = x.clone()
    assert isinstance(block.norm3, layers.LayerNorm)
    normed = residual_norm(
        out,
        own.o(attention.attend(q, k_ring, v_ring)),
        gate,
        block.norm3.bias,
        block.norm3.weight,
        eps=EPS,
        affine=True,
    )
    queries = rms_norm(cross.q(normed), cross.norm_q.weight, eps=EPS).unflatten(-1, (HEADS, -1))
    seen = cross.o(attention.attend(queries, context.keys, context.values))
    up = F.linear(residual_norm(out, seen, None, shift_2, scale_2, eps=EPS), up_proj.weight)
    down = down_proj(bias_gelu(up, up_proj.bias))
    following = residual_norm(out, down, gate_2, shift, scale, eps=EPS)
    close(out, expected, 1e-5)
    close(following, layers.modulated(expected, shift, scale, EPS), 1e-5)


def test_bf16_is_rounded_as_the_modules_round() -> None:
    """The modules round the norm once more before they rotate: one unit in the last place, seldom."""
    x, shift, scale = torch.randn(1, TOKENS, DIM).bfloat16(), torch.randn(1, 3, DIM), torch.randn(1, 3, DIM)
    assert torch.equal(norm_modulate(x, shift, scale, eps=EPS), layers.modulated(x, shift, scale, EPS))
    added, new = torch.randn(1, TOKENS, DIM).bfloat16(), x.clone()
    normed = residual_norm(new, added, scale, shift, scale, eps=EPS)
    assert torch.equal(new, layers.gated(x, added, scale))
    assert torch.equal(normed, layers.modulated(new, shift, scale, EPS))
    norm = layers.RMSNorm(DIM, EPS)
    assert torch.equal(rms_norm(x, norm.weight, eps=EPS), norm(x))


@pytest.mark.parametrize("operator", ["norm", "residual", "gelu", "rows"])
def test_float8_rows_are_the_float_rows(operator: str) -> None:
    """Bytes times scale are within an e4m3 rounding of what the plain form gives; the largest becomes 448."""
    x, added = torch.randn(2, TOKENS, DIM), torch.randn(2, TOKENS, DIM)
    shift, scale = torch.randn(2, 3, DIM), torch.randn(2, 3, DIM)
    calls: dict[str, tuple[Callable[[], Tensor], Callable[[], tuple[Tensor, Tensor]]]] = {
        "norm": (lambda: norm_modulate(x, shift, scale, eps=EPS), lambda: norm_modulate_fp8(x, shift, scale, eps=EPS)),
        "residual": (
            lambda: residual_norm(x.clone(), added, shift, shift, scale, eps=EPS),
            lambda: residual_norm_fp8(x.clone(), added, shift, shift, scale, eps=EPS),
        ),
        "gelu": (lambda: bias_gelu(x, added[0, 0]), lambda: bias_gelu_fp8(x, added[0, 0])),
        "rows": (lambda: x, lambda: quantise_rows(x)),
    }
    plain, fp8 = calls[operator]
    exact, (rows, scales) = plain(), fp8()
    assert rows.dtype == torch.float8_e4m3fn
    assert scales.shape == (2, TOKENS, 1)
    assert (rows.float().abs().amax(-1) == 448).all()
    assert ((rows.float() * scales - exact).abs() <= exact.abs() / 16 * 1.001 + scales * 2**-10).all()


def test_a_row_of_zeros_has_a_scale() -> None:
    rows, scales = reference.quantised_rows(torch.zeros(2, 8))
    assert (rows.float() == 0).all()
    assert (scales > 0).all()


CONFIG = ActionConfig(keyboard=4, blocks=1, heads=2, width=32, hidden=8)


@pytest.mark.parametrize("branch", ["mouse", "keyboard"])
def test_action_attention_is_the_modules(branch: str) -> None:
    """Four chunks, each with a noisy pass before the clean one, against the module with its growing, sliding past."""
    module = ActionModule(CONFIG, DIM)
    for p in module.parameters():
        p.copy_(torch.randn_like(p) * 0.3)
    b, t, s, heads = 2, 3, 5, (CONFIG.heads, CONFIG.head_width)
    window = CONFIG.window
    past, angles = Past(window), time_angles(window, CONFIG.rotated, CONFIG.theta)
    rings = torch.full((2, b * s if branch == "mouse" else b, window, *heads), float("nan"))
    for chunk in range(4):
        held = min(3 * chunk, window - t)  # earlier frames
        frame_slots = torch.arange(t, dtype=torch.int32) + 3 * (chunk % 2)
        positions = torch.full((window,), -1, dtype=torch.int32)
        positions[frame_slots.long()] = torch.arange(held, held + t, dtype=torch.int32)
        if held:
            positions[(frame_slots.long() + 3) % window] = torch.arange(held, dtype=torch.int32)
        times = (frame_slots, positions, torch.arange(held, held + t, dtype=torch.int32), angles)
        for commit in (False, True):
            frames = torch.randn(b, t, s, DIM)
            if branch == "mouse":
                rows = torch.randn(b, t, CONFIG.rows, 2)
                expected = module.turned(frames, rows, past, commit)
                told = torch.cat([frames, rows.flatten(2)[:, :, None].expand(-1, -1, s, -1)], -1)
                seen = mouse_attention(module.t_qkv(module.mouse_mlp(told)), rings[0], rings[1], *times)
                close(module.proj_mouse(seen), expected, 1e-5)
            else:
                keys = torch.rand(b, t, CONFIG.rows, CONFIG.keyboard).round()
                expected = module.pressed(frames, keys, past, commit)
                kv = module.keyboard_attn_kv(module.keyboard_embed(keys).flatten(2))
                seen = keyboard_attention(module.mouse_attn_q(frames), kv, rings[0], rings[1], *times)
                close(module.proj_keyboard(seen), expected, 1e-5)


def test_the_scheduler_step_is_the_schedules() -> None:
    steps = schedule.Schedule()
    noisy, velocity, noise = torch.randn(3, 1, 16, 3, 4, 6)
    levels = [steps.level(step) for step in steps.timesteps()]
    on_device = torch.tensor(levels)
    for i, level in enumerate(levels):
        last = i + 1 == len(levels)
        clean, following = scheduler_step(noisy, velocity, on_device[i:], None if last else noise)
        close(clean, schedule.to_clean(noisy, velocity, level))
        assert (following is None) == last
        if following is not None:
            close(following, schedule.to_noisy(clean, noise, levels[i + 1]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_i420_of_latents_pictures_is_the_encoders(dtype: torch.dtype) -> None:
    import cv2

    rgb = torch.randn(3, 2, 10, 14).to(dtype)
    pictures = streaming.pictures(rgb[None])[0]
    into = torch.zeros(2, 15, 14, dtype=torch.uint8)
    assert i420(rgb, into) is into
    assert torch.equal(i420(pictures), into)
    for frame, picture in zip(into, pictures, strict=True):
        assert torch.equal(frame, torch.from_numpy(cv2.cvtColor(picture.numpy(), cv2.COLOR_RGB2YUV_I420)))


def test_i420_refuses_odd_sides_and_other_forms() -> None:
    with pytest.raises(ValueError, match="even"):
        i420(torch.zeros(1, 5, 4, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="pictures"):
        i420(torch.zeros(1, 4, 4, 4))


def test_the_twin_refuses_a_place_outside_the_ring() -> None:
    x, ring = torch.randn(1, 4, 16), torch.zeros(1, 8, 2, 8)
    table = torch.zeros(4, 4)
    with pytest.raises((IndexError, RuntimeError)):
        qk_norm_rope(
            x, x, x, torch.ones(16), torch.ones(16), table, table, torch.tensor([6]), ring, ring.clone(), eps=EPS
        )
