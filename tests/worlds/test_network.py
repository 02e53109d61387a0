"""The network: the cached step is the whole clip, the past never hears of the future, and a block is what it says."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.worlds.tiny_world import NETWORK, clip, network, with_words
from worldstream.worlds.attention import attend, causal_bias, rotate
from worldstream.worlds.config import NetworkConfig
from worldstream.worlds.kv_cache import KVCache
from worldstream.worlds.network import Block, WorldNetwork, fourier

VARIANTS = pytest.mark.parametrize("config", [NETWORK, with_words()], ids=["pooled", "words"])
TOLERANCE = 1e-5


def stepped(model: WorldNetwork, inputs: tuple[Tensor, ...]) -> Tensor:
    """The clip frame by frame against the cache."""
    *frames, word_ids = inputs
    cache = KVCache(model, len(word_ids))
    pooled, words = model.text_embedding(word_ids)
    out = []
    for t in range(frames[0].shape[1]):
        given = [*(x[:, t : t + 1] for x in frames), pooled, words, *cache.view()]
        clean, keys, values = model.step(*given)
        cache.commit(keys, values)
        out.append(clean)
    return torch.cat(out, 1)


@VARIANTS
def test_cached_steps_equal_the_whole_clip(config: NetworkConfig) -> None:
    """11 frames against a window of 3: the ring wraps three times."""
    model, inputs = network(config), clip(config, frames=11)
    whole = model(*inputs)
    assert whole.std() > 0.1, "an output of zeros proves nothing"
    torch.testing.assert_close(stepped(model, inputs), whole, rtol=0, atol=TOLERANCE)


@VARIANTS
def test_the_past_does_not_know_the_future(config: NetworkConfig) -> None:
    model, inputs = network(config), clip(config)
    before = model(*inputs)
    for which in range(5):
        changed = [x.clone() for x in inputs]
        changed[which][:, 5] = 1 - changed[which][:, 5]
        after = model(*changed)
        assert torch.equal(after[:, :5], before[:, :5]), which
        assert not torch.allclose(after[:, 5], before[:, 5], atol=1e-4), f"input {which} has no effect"


def test_frames_beyond_the_window_are_not_seen() -> None:
    config = replace(NETWORK, blocks=1)  # each block looks one window further back
    model, inputs = network(config), clip(config, frames=9)
    changed = [x.clone() for x in inputs]
    changed[0][:, 2] += 1
    same = [torch.allclose(a, b, atol=1e-6) for a, b in zip(model(*inputs)[0], model(*changed)[0], strict=True)]
    assert same == [True, True, False, False, False, False, True, True, True]


@VARIANTS
def test_rows_of_a_batch_do_not_mix(config: NetworkConfig) -> None:
    model, inputs = network(config), clip(config, batch=3)
    whole = model(*inputs)
    for row in range(3):
        alone = model(*(x[row : row + 1] for x in inputs))
        torch.testing.assert_close(alone[0], whole[row], rtol=0, atol=TOLERANCE)


@VARIANTS
def test_the_prompt_is_heard(config: NetworkConfig) -> None:
    model, inputs = network(config), clip(config)
    other = (*inputs[:5], inputs[5].flip(0))
    assert not torch.allclose(model(*inputs), model(*other), atol=1e-3)


def test_words_are_heard_beyond_their_pooled_vector() -> None:
    model, (*frames, ids) = network(with_words()), clip(with_words(), batch=1)
    pooled, words = model.text_embedding(torch.randint(1, 64, ids.shape))
    one = [x[:, :1] for x in frames]
    view = KVCache(model).view()
    heard, other = ([*one, pooled, w, *view] for w in (words, -words))
    assert not torch.allclose(model.step(*heard)[0], model.step(*other)[0])


def test_patches_and_back() -> None:
    model = network()
    x = torch.arange(2 * 3 * 3 * 4 * 6.0).view(2, 3, 3, 4, 6)
    tokens = model.patches(x)
    assert tokens.shape == (2, 3, NETWORK.tokens, 12)
    assert torch.equal(model.unpatches(tokens), x)
    first = x[0, 0, :, 0:2, 2:4]  # token 1 is the second patch of the first row, channel first
    assert torch.equal(tokens[0, 0, 1], first.flatten())


def test_stack_keeps_place_and_order() -> None:
    """A token sees the same place in all stacked latents, oldest first."""
    model = network()
    stack = torch.randn(2, 3, NETWORK.given, 3, 4, 6)
    tokens = model.patches_of_stack(stack).unflatten(-1, (NETWORK.given, -1))
    for k in range(NETWORK.given):
        assert torch.equal(tokens[..., k, :], model.patches(stack[:, :, k]))


def test_fourier_against_python() -> None:
    row = fourier(torch.tensor([0.3]), 8)[0]
    angles = [0.3 * 1000 ** (i / 3) for i in range(4)]
    expected = torch.tensor([*(math.cos(a) for a in angles), *(math.sin(a) for a in angles)])
    torch.testing.assert_close(row, expected, rtol=0, atol=1e-4)


def normalised(x: Tensor) -> Tensor:
    return (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt()


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions as complex numbers."""
    half = len(x) // 2
    z = torch.complex(x[:half], x[half:]) * torch.complex(cos, sin)
    return torch.cat([z.real, z.imag])


def naive_block(block: Block, x: Tensor, shared: Tensor, cos: Tensor, sin: Tensor, heads: int, window: int) -> Tensor:
    """A block over tokens `[T, N, d]` with loops and no shared code."""
    frames, tokens, d = x.shape
    size, a = d // heads, block.self_attn
    m = shared + block.modulation  # [T, 6, d]
    q, k, v = {}, {}, {}
    for t in range(frames):
        for n in range(tokens):
            y = a.qkv.weight @ (normalised(x[t, n]) * (1 + m[t, 1]) + m[t, 0]) + a.qkv.bias
            rms = [
                p / (p.square().mean() + 1e-6).sqrt() * w
                for p, w in ((y[:d], a.norm_q.weight), (y[d : 2 * d], a.norm_k.weight))
            ]
            for h in range(heads):
                part = slice(h * size, (h + 1) * size)
                q[t, n, h], k[t, n, h] = (turned(p[part], cos[t, n], sin[t, n]) for p in rms)
                v[t, n, h] = y[2 * d :][part]
    out = torch.zeros_like(x)
    for t in range(frames):
        for n in range(tokens):
            joined = []
            for h in range(heads):
                seen = [(s, i, h) for s in range(max(0, t - window), t + 1) for i in range(tokens)]
                weights = torch.tensor([float(q[t, n, h] @ k[key]) / math.sqrt(size) for key in seen]).softmax(0)
                joined.append(sum(w * v[key] for w, key in zip(weights, seen, strict=True)))
            y = x[t, n] + m[t, 2] * (a.o.weight @ torch.cat(joined) + a.o.bias)
            out[t, n] = y + m[t, 5] * block.ffn(normalised(y) * (1 + m[t, 4]) + m[t, 3])
    return out


def test_a_block_equals_its_naive_form() -> None:
    model = network(replace(NETWORK, rows=2, columns=4, window=2))
    block, t, n, d = model.blocks[0], 4, 2, NETWORK.width
    assert isinstance(block, Block)
    for norm in (block.self_attn.norm_q, block.self_attn.norm_k):
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    g = torch.Generator().manual_seed(5)
    x, shared = torch.randn(1, t, n, d, generator=g), torch.randn(1, t, 6, d, generator=g)
    m = block.modulated(shared)
    q, k, v = block.self_attn.project((block.norm1(x) * (1 + m[1]) + m[0]).flatten(1, 2))
    cos, sin = model.cos[:t].reshape(t * n, -1), model.sin[:t].reshape(t * n, -1)
    attended = attend(rotate(q, cos, sin), rotate(k, cos, sin), v, causal_bias(t, n, 2))
    naive = naive_block(block, x[0], shared[0], model.cos, model.sin, NETWORK.heads, 2)
    torch.testing.assert_close(block.finish(x, attended, m, None)[0], naive, rtol=0, atol=TOLERANCE)
