"""A ring of the past frames' keys and values.

L blocks, B rollouts, H heads, W slots, N tokens of a frame, d the width. A slot is one frame. Keys are stored before
rotation and rotated by their age when the next frame looks at them, so a slot is written once and never moved, and no
position grows however long the session.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .attention import rotate
from .config import NetworkConfig
from .network import WorldNetwork


@dataclass(slots=True)
class CacheState:
    """A copy of everything, for snapshots."""

    keys: Tensor  # [L, B, H, W * N, d/H]
    values: Tensor  # likewise
    written: int  # frames since the last reset


class KVCache:
    """The newest `window` frames. B is the batch of rollouts that advance together."""

    def __init__(self, network: WorldNetwork, batch: int = 1, device: torch.device | None = None) -> None:
        """`device`: where an engine wants to find it; the network's where nothing is said."""
        config: NetworkConfig = network.config
        self.window, self.tokens = config.window, config.tokens
        shape = (config.blocks, batch, config.heads, self.window * self.tokens, config.head_width)
        device = network.cos.device if device is None else device
        self.keys = torch.zeros(shape, device=device)
        self.values = torch.zeros(shape, device=device)
        self.written = 0  # frames committed since the last reset
        # position `window` is the frame being drawn; a slot of age a (1 = newest) sits at window - a. Twice each, so
        # that a ring read from any slot on is one run of rows
        self._cos, self._sin = (
            torch.cat([table[: self.window]] * 2).flatten(0, 1).to(device) for table in (network.cos, network.sin)
        )
        rows = self.window * self.tokens
        self._hidden = torch.cat([torch.zeros(rows), torch.full((rows,), float("-inf"))]).to(device)

    def reset(self) -> None:
        self.written = 0

    def commit(self, keys: Tensor, values: Tensor) -> None:
        """Keep a frame's keys and values `[L, B, H, N, d/H]`; the oldest frame goes when the ring is full."""
        assert keys.shape[3] == self.tokens, keys.shape
        slot = self.written % self.window
        part = slice(slot * self.tokens, (slot + 1) * self.tokens)
        self.keys[:, :, :, part] = keys
        self.values[:, :, :, part] = values
        self.written += 1

    def view(self) -> tuple[Tensor, Tensor, Tensor]:
        """(keys rotated to their ages, values), each `[L, B, H, W * N, d/H]`, and the bias `[W * N]` that hides empty
        slots.

        Once a frame, not once a step: the ages are the same for all steps of a frame.
        """
        rows = self.window * self.tokens
        first = (self.window - 1 - (self.written - 1) % self.window) * self.tokens  # the position of slot 0
        turns = (table[first : first + rows] for table in (self._cos, self._sin))
        empty = (self.window - min(self.written, self.window)) * self.tokens
        # a slot that was never written is rotated too; the bias hides it
        return rotate(self.keys, *turns), self.values, self._hidden[empty : empty + rows].clone()

    def frozen(self) -> tuple[Tensor, Tensor, Tensor]:
        """As `view`, but untouched by later commits: for a backward pass that comes after them."""
        keys, values, bias = self.view()
        return keys, values.clone(), bias

    def snapshot(self) -> CacheState:
        """On the host, wherever the cache is: many moments of a walk are kept."""
        return CacheState(self.keys.to("cpu", copy=True), self.values.to("cpu", copy=True), self.written)

    def restore(self, state: CacheState) -> None:
        self.keys.copy_(state.keys)
        self.values.copy_(state.values)
        self.written = state.written
