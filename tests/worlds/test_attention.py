"""Attention against torch's own; rotary positions against their definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from worldstream.worlds.attention import CrossAttention, SelfAttention, attend, causal_bias, rope_table, rotate


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("biased", [False, True])
def test_attend_equals_torch(biased: bool) -> None:
    q, k, v = normal(2, 3, 5, 8), normal(2, 3, 7, 8, seed=1), normal(2, 3, 7, 8, seed=2)
    bias = normal(5, 7, seed=3).masked_fill(normal(5, 7, seed=4) > 1, float("-inf")) if biased else None
    torch.testing.assert_close(attend(q, k, v, bias), F.scaled_dot_product_attention(q, k, v, bias), rtol=0, atol=1e-6)


def test_hidden_keys_have_no_influence() -> None:
    q, k, v = normal(1, 1, 4, 8), normal(1, 1, 6, 8, seed=1), normal(1, 1, 6, 8, seed=2)
    bias = torch.tensor([0.0, 0, 0, 0, float("-inf"), float("-inf")])
    torch.testing.assert_close(attend(q, k, v, bias), attend(q, k[:, :, :4], v[:, :, :4]))


def test_rotation_keeps_lengths() -> None:
    cos, sin = rope_table(3, 2, 2, 16)
    x = normal(2, 4, 12, 16)
    turned = rotate(x, cos.flatten(0, 1), sin.flatten(0, 1))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert not torch.allclose(turned, x)


PLACE = st.tuples(st.integers(0, 7), st.integers(0, 4), st.integers(0, 5))


@settings(max_examples=50)
@given(PLACE, PLACE, st.tuples(st.integers(0, 7), st.integers(0, 4), st.integers(0, 5)))
def test_only_the_difference_of_positions_counts(
    query: tuple[int, int, int], key: tuple[int, int, int], shift: tuple[int, int, int]
) -> None:
    cos, sin = (t.view(15, 9, 11, -1) for t in rope_table(15, 9, 11, 24))
    q, k = normal(1, 24), normal(1, 24, seed=1)

    def score(a: tuple[int, ...], b: tuple[int, ...]) -> torch.Tensor:
        return (rotate(q, cos[a], sin[a]) * rotate(k, cos[b], sin[b])).sum()

    there = (
        tuple(p + s for p, s in zip(query, shift, strict=True)),
        tuple(p + s for p, s in zip(key, shift, strict=True)),
    )
    torch.testing.assert_close(score(query, key), score(*there), rtol=0, atol=1e-4)


def test_every_axis_is_told_apart() -> None:
    cos, _ = rope_table(2, 2, 2, 16)
    rows = cos.flatten(0, 1)
    assert len({tuple(row.tolist()) for row in rows}) == 8


def test_causal_bias_by_its_definition() -> None:
    frames, tokens, window = 5, 2, 2
    bias = causal_bias(frames, tokens, window)
    for i in range(frames * tokens):
        for j in range(frames * tokens):
            seen = 0 <= i // tokens - j // tokens <= window
            assert bias[i, j] == (0.0 if seen else float("-inf"))


def test_self_attention_equals_torchs_module() -> None:
    """With the normalisation of queries and keys taken out."""
    torch.manual_seed(0)
    ours, theirs = SelfAttention(16, 2), torch.nn.MultiheadAttention(16, 2, batch_first=True)
    ours.norm_q, ours.norm_k = torch.nn.Identity(), torch.nn.Identity()  # type: ignore[assignment]
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.qkv.weight.data, ours.qkv.bias.data
    theirs.out_proj.load_state_dict(ours.o.state_dict())
    x = normal(2, 5, 16)
    torch.testing.assert_close(ours.merge(attend(*ours.project(x))), theirs(x, x, x)[0], rtol=0, atol=1e-6)


def test_queries_and_keys_have_unit_size() -> None:
    q, k, _ = SelfAttention(16, 2).project(100 * normal(1, 5, 16))
    for x in (q, k):
        torch.testing.assert_close(x.transpose(1, 2).flatten(2).square().mean(-1), torch.ones(1, 5))


def test_cross_attention_starts_silent_and_ignores_the_order_of_words() -> None:
    layer, x, words = CrossAttention(16, 2), normal(2, 5, 16), normal(2, 3, 16, seed=1)
    assert torch.equal(layer(x, words), layer.o.bias.expand(2, 5, -1))
    torch.nn.init.normal_(layer.o.weight)
    torch.testing.assert_close(layer(x, words), layer(x, words.flip(1)))
    assert not torch.allclose(layer(x, words), layer(x, 2 * words))
