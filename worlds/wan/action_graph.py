"""Keyboard and mouse in the chunk's graph: `actions.ActionModule` with its window of keys and values as a ring.

Inputs, T latent frames, S token places in a frame, H heads of d channels, W frames of window:

    keyboard       float32 [1, T * rows, K]     mouse  float32 [1, T, 2 * rows], where the model has one
    action_cos, action_sin  float32 [1, T, d / 2]
    action_index   int32 [S]   slot of the chunk's first frame    action_length  int32 [S]  frames that count
    press_keys_I, press_values_I   [1, H, W, d]   one row of keys for each latent frame
    mouse_keys_I, mouse_values_I   [S, H, W, d]   each place for itself
    and next_press_keys_I… on them

Torch keeps keys before rotation and counts positions from the oldest; here they are kept rotated by the session's
frame index, as in the blocks' own ring: only differences are seen.
"""

from __future__ import annotations

from typing import Generic

import torch
from torch import Tensor, nn

from .actions import ActionConfig, ActionModule, ActionRows
from .graph import Graph, Shape, V, gelu, linear, normalised, scalar, silu


def action_caches(layer: int, mouse: bool, following: bool = False) -> tuple[str, str]:
    """Keys and values of a block's branch."""
    prefix = f"{'next_' * following}{'mouse' if mouse else 'press'}"
    return f"{prefix}_keys_{layer}", f"{prefix}_values_{layer}"


class ActionWriter(Generic[V]):
    """Writes the action modules of a pass; makes the inputs that they share."""

    def __init__(self, graph: Graph[V], config: ActionConfig, chunk: int, places: int, dtype: torch.dtype) -> None:
        self.g, self.config, self.chunk, self.places, self.dtype = graph, config, chunk, places, dtype
        self.keyboard = graph.input("keyboard", (1, chunk * config.rows, config.keyboard), torch.float32)
        if config.mouse:
            self.mouse = graph.input("mouse", (1, chunk, config.mouse * config.rows), torch.float32)
        angles = (1, chunk, config.head_width // 2)
        self.cos, self.sin = (graph.input(name, angles, torch.float32) for name in ("action_cos", "action_sin"))
        names = ("action_index", "action_length")
        self.index, self.length = (graph.input(name, (places,), torch.int32) for name in names)

    def write(self, layer: int, module: ActionModule, x: V) -> V:
        """Tokens `[1, T * S, dim]` to the same, as `ActionModule.forward`."""
        if self.config.mouse:
            x = self.g.binary("add", x, self._turned(layer, module, x))
        return self.g.binary("add", x, self._pressed(layer, module, x))

    def _turned(self, layer: int, module: ActionModule, x: V) -> V:
        g, c = self.g, self.config
        first, _, second, norm = module.mouse_mlp
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        assert isinstance(norm, nn.LayerNorm)
        dim, tokens = g.shape(x)[2], self.chunk * self.places
        told = linear(g, g.cast(self.mouse, self.dtype), first.weight[:, dim:], first.bias)
        frames = g.reshape(linear(g, x, first.weight[:, :dim], None), (1, self.chunk, self.places, c.width))
        mixed = g.binary("add", frames, g.reshape(told, (1, self.chunk, 1, c.width)))
        mixed = linear(g, gelu(g, g.reshape(mixed, (1, tokens, c.width))), second.weight, second.bias)
        scale, bias = (g.constant(t.float()[None, None]) for t in (norm.weight, norm.bias))
        mixed = g.cast(g.layer_norm(g.cast(mixed, torch.float32), scale, bias, norm.eps), self.dtype)
        qkv = linear(g, mixed, module.t_qkv.weight, None)
        q, k, v = (self._of_places(g.slice(qkv, 2, i * c.width, c.width)) for i in range(3))
        each = (self.places, c.heads, self.chunk, c.head_width)
        q, k = (g.reshape(self._rotated(self._unit(t)), each) for t in (q, k))
        keys, values = self._remembered(layer, True, k, g.reshape(v, each), self.index)
        y = g.attention(self._scaled(q), keys, values, self.length, fused=False)
        y = g.transpose(g.reshape(y, (1, *each)), (0, 3, 1, 2, 4))
        return linear(g, g.reshape(y, (1, tokens, c.width)), module.proj_mouse.weight, None)

    def _pressed(self, layer: int, module: ActionModule, x: V) -> V:
        g, c, (t, s) = self.g, self.config, (self.chunk, self.places)
        first, _, second = module.keyboard_embed
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        rows = silu(g, linear(g, g.cast(self.keyboard, self.dtype), first.weight, first.bias))
        told = g.reshape(linear(g, rows, second.weight, second.bias), (1, t, c.rows * c.hidden))
        kv = linear(g, told, module.keyboard_attn_kv.weight, None)
        k, v = (self._heads(g.slice(kv, 2, i * c.width, c.width)) for i in range(2))
        one = g.slice(self.index, 0, 0, 1)
        keys, values = self._remembered(layer, False, self._rotated(self._unit(k)), v, one)
        q = self._of_places(linear(g, x, module.mouse_attn_q.weight, None))
        q = g.reshape(self._rotated(self._unit(q)), (1, s, c.heads, t, c.head_width))
        q = g.reshape(g.transpose(q, (0, 2, 1, 3, 4)), (1, c.heads, s * t, c.head_width))
        y = g.attention(self._scaled(q), keys, values, g.slice(self.length, 0, 0, 1), fused=False)
        y = g.transpose(g.reshape(y, (1, c.heads, s, t, c.head_width)), (0, 3, 2, 1, 4))
        return linear(g, g.reshape(y, (1, t * s, c.width)), module.proj_keyboard.weight, None)

    def _remembered(self, layer: int, mouse: bool, k: V, v: V, index: V) -> tuple[V, V]:
        """The window's keys and values, the chunk's own written into it."""
        g, found = self.g, []
        batch, heads, _, width = g.shape(k)
        shape: Shape = (batch, heads, self.config.window, width)
        names = zip(action_caches(layer, mouse), action_caches(layer, mouse, following=True), strict=True)
        for (name, following), update in zip(names, (k, v), strict=True):
            found.append(g.cache_update(g.input(name, shape, self.dtype), update, index))
            g.output(following, found[-1])
        return found[0], found[1]

    def _of_places(self, x: V) -> V:
        """`[1, T * S, width]` to `[1, S * H, T, d]`."""
        c, (t, s) = self.config, (self.chunk, self.places)
        apart = self.g.transpose(self.g.reshape(x, (1, t, s, c.heads, c.head_width)), (0, 2, 3, 1, 4))
        return self.g.reshape(apart, (1, s * c.heads, t, c.head_width))

    def _heads(self, x: V) -> V:
        """`[1, T, width]` to `[1, H, T, d]`."""
        c = self.config
        return self.g.transpose(self.g.reshape(x, (1, self.chunk, c.heads, c.head_width)), (0, 2, 1, 3))

    def _unit(self, x: V) -> V:
        """As `actions.Unweighted`."""
        return normalised(self.g, x, torch.ones(1, 1, 1, 1), axis=3, eps=1e-6)

    def _rotated(self, x: V) -> V:
        return self.g.cast(self.g.rotary(self.g.cast(x, torch.float32), self.cos, self.sin), self.dtype)

    def _scaled(self, q: V) -> V:
        return self.g.binary("mul", q, scalar(self.g, self.config.head_width**-0.5, q))


def told_actions(config: ActionConfig, rows: ActionRows, first: int) -> dict[str, Tensor]:
    """The inputs of a chunk that begins with latent frame `first` of the walk, for batch 1."""
    count = rows.keyboard.shape[1]
    pairs = config.rotated // 2
    frequency = config.theta ** (-torch.arange(pairs, dtype=torch.float64) / pairs)
    angle = torch.zeros(1, count, config.head_width // 2, dtype=torch.float64)
    angle[..., :pairs] = torch.arange(first, first + count)[:, None] * frequency
    told = {
        "keyboard": rows.keyboard.flatten(1, 2),
        "action_cos": angle.cos(),
        "action_sin": angle.sin(),
        "action_index": torch.tensor(0 if config.window % count else first % config.window),
        "action_length": torch.tensor(min(first, config.window - count) + count),
    }
    return told if rows.mouse is None else {**told, "mouse": rows.mouse.flatten(2)}
