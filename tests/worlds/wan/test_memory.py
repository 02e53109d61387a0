"""Accounting: every figure against real tensors, made small; the known figures of the full models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from worldstream.worlds.wan.layout import I2V_14B, T2V_1_3B, T2V_14B, Layout, matrix_game, transformer
from worldstream.worlds.wan.layout_parts import TaehvShape, VaeShape
from worldstream.worlds.wan.memory import (
    GIB,
    MemoryRefused,
    admit,
    frame_tokens,
    host_free_bytes,
    session_bytes,
    taehv_state_numbers,
    vae_state_numbers,
    weights_bytes,
)


def test_keys_and_values_are_the_published_figures() -> None:
    assert frame_tokens(832, 480, T2V_1_3B) == 1560
    assert frame_tokens(640, 352, matrix_game(4)) == 880
    for window, gigabytes in ((21, 6.04), (12, 3.45), (6, 1.725)):
        memory = session_bytes(T2V_1_3B, 832, 480, window, TaehvShape())
        assert memory.keys_values == 184_320 * 1560 * window
        assert memory.keys_values / 1e9 == pytest.approx(gigabytes, rel=0.01)
    game = session_bytes(matrix_game(4), 640, 352, 6, VaeShape())
    assert game.keys_values / 6 / 1e6 == pytest.approx(162, rel=0.01)
    mouse_per_block = 2 * 2 * 880 * 6 * 1024  # 21.6 MB for keys and values
    assert game.action == 15 * (mouse_per_block + 2 * 2 * 6 * 1024)
    assert mouse_per_block / 1e6 == pytest.approx(21.6, rel=0.01)


def test_a_tiny_session_counted_in_real_tensors() -> None:
    """One tensor for each thing that a session keeps, as the descriptions say it is kept."""
    action = replace(matrix_game(4).action or pytest.fail("no action"), blocks=2, inner=32, hidden=8)
    shape = replace(matrix_game(4), dim=256, ffn=320, layers=3, action=action)
    tokens, window, heads, head = 6, 4, 2, 128  # 48x32 pixels: 3x2 tokens
    kept = [torch.empty(1, window * tokens, heads, head, dtype=torch.bfloat16) for _ in range(2 * 3)]
    image = [torch.empty(1, 257, heads, head, dtype=torch.bfloat16) for _ in range(2 * 3)]
    keyboard = [torch.empty(1, window, 32, dtype=torch.bfloat16) for _ in range(2 * 2)]
    mouse = [torch.empty(tokens, window, 32, dtype=torch.bfloat16) for _ in range(2 * 2)]
    memory = session_bytes(shape, 48, 32, window, TaehvShape())
    assert memory.keys_values == sum(t.nbytes for t in kept)
    assert memory.context == sum(t.nbytes for t in image)
    assert memory.action == sum(t.nbytes for t in (*keyboard, *mouse))
    assert memory.kept == memory.total - memory.workspace
    again = torch.empty(3, 1 * tokens, heads, head, dtype=torch.bfloat16)  # a sink's keys before rotation
    with_sink = session_bytes(shape, 48, 32, window, TaehvShape(), sink=1)
    assert with_sink.keys_values == memory.keys_values + again.nbytes


def test_the_vae_state_is_what_diffusers_keeps(diffusers: Any) -> None:
    vae = diffusers.AutoencoderKLWan(base_dim=8)
    vae.clear_cache()
    with torch.inference_mode():
        for first in (True, False, False):
            vae._conv_idx = [0]
            latent = torch.zeros(1, 16, 1, 4, 6)
            vae.decoder(latent, feat_cache=vae._feat_map, feat_idx=vae._conv_idx, first_chunk=first)
    caches = [entry for entry in vae._feat_map if isinstance(entry, Tensor)]
    assert len(caches) == 32
    assert sum(cache.numel() for cache in caches) == vae_state_numbers(VaeShape(dim=8), 6 * 8, 4 * 8)


def test_the_tiny_decoder_keeps_one_frame_a_memory_block() -> None:
    shape, height, width = TaehvShape(widths=(16, 8, 4, 4)), 4, 6
    sizes = [(16, 1), (8, 2), (4, 4)]  # channels, and how much larger than the latent
    memories = [torch.empty(1, c, height * scale, width * scale) for c, scale in sizes for _ in range(3)]
    assert len(memories) == 9
    assert sum(memory.numel() for memory in memories) == taehv_state_numbers(shape, width * 8, height * 8)


def test_weights_in_bf16_and_fp8() -> None:
    table: Layout = {
        "blocks.0.ffn.0.weight": (32, 16), "blocks.0.ffn.0.bias": (32,), "blocks.0.modulation": (1, 6, 16),
        "head.head.weight": (64, 16), "patch_embedding.weight": (16, 16, 1, 2, 2),
    }  # fmt: skip
    real = {key: torch.empty(size, dtype=torch.bfloat16) for key, size in table.items()}
    assert weights_bytes(table) == sum(t.nbytes for t in real.values())
    stored = torch.empty(32, 16, dtype=torch.float8_e4m3fn)
    scale = torch.empty((), dtype=torch.float32)
    saved = real["blocks.0.ffn.0.weight"].nbytes - stored.nbytes - scale.nbytes
    assert weights_bytes(table) - weights_bytes(table, fp8=True) == saved
    assert weights_bytes(transformer(T2V_14B)) / GIB == pytest.approx(26.6, abs=0.1)


def test_the_target_of_1_3b_is_within_reach() -> None:
    memory = session_bytes(T2V_1_3B, 832, 480, 12, TaehvShape())
    assert weights_bytes(transformer(T2V_1_3B)) + memory.total <= 14e9


def test_a_larger_window_picture_or_model_takes_more() -> None:
    base = session_bytes(T2V_1_3B, 832, 480, 12, VaeShape())
    assert session_bytes(T2V_1_3B, 832, 480, 21, VaeShape()).total > base.total
    assert session_bytes(T2V_1_3B, 1280, 720, 12, VaeShape()).total > base.total
    assert session_bytes(I2V_14B, 832, 480, 12, VaeShape()).total > base.total
    assert session_bytes(T2V_1_3B, 832, 480, 12, TaehvShape()).decoder < base.decoder


def test_a_clip_keeps_no_frames() -> None:
    clip = session_bytes(T2V_1_3B, 832, 480, 21, VaeShape(), causal=False)
    assert clip.keys_values == 0
    assert clip.workspace > session_bytes(T2V_1_3B, 832, 480, 21, VaeShape()).workspace


@pytest.mark.parametrize(("width", "height"), [(830, 480), (832, 481), (0, 480), (-16, 16)])
def test_a_size_that_no_token_fills(width: int, height: int) -> None:
    with pytest.raises(ValueError, match="use multiples of 16x16"):
        session_bytes(T2V_1_3B, width, height, 12, TaehvShape())


def test_a_window_that_holds_no_chunk() -> None:
    with pytest.raises(ValueError, match="must hold the 3"):
        session_bytes(T2V_1_3B, 832, 480, 2, TaehvShape())
    with pytest.raises(ValueError, match="and 3 of sink"):
        session_bytes(T2V_1_3B, 832, 480, 5, TaehvShape(), sink=3)


def test_admission() -> None:
    admit(2 * GIB, 2 * GIB)
    with pytest.raises(
        MemoryRefused, match=r"the session needs 3\.00 GiB and 2\.00 GiB are free; use a smaller window, fp8"
    ):
        admit(2 * GIB, 3 * GIB)


def test_the_workspace_holds_a_real_block() -> None:
    """The estimate covers the temporaries of an FFN and of queries, keys and values of one chunk."""
    shape = replace(T2V_1_3B, dim=256, ffn=1024, layers=1)
    tokens = 3 * frame_tokens(64, 64, shape)
    x = torch.zeros(tokens, 256, dtype=torch.bfloat16)
    inner = nn.Linear(256, 1024, dtype=torch.bfloat16)(x)
    qkv = nn.Linear(256, 3 * 256, dtype=torch.bfloat16)(x)
    assert session_bytes(shape, 64, 64, 3, TaehvShape(widths=(4, 4, 4, 4))).workspace >= inner.nbytes + qkv.nbytes


def test_this_machine_has_memory() -> None:
    assert 1 << 20 < host_free_bytes() < 1 << 50
