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

    def __init__(self, network: WorldNetwork, batch: int = 1) -> None:
        config: NetworkConfig = network.config
        self.window, self.tokens = config.window, config.tokens
        shape = (config.blocks, batch, config.heads, self.window * self.tokens, config.head_width)
        device = network.cos.device
        self.keys = torch.zeros(shape, device=device)
        self.values = torch.zeros(shape, device=device)
        self.written = 0  # frames committed since the last reset
        # position `window` is the frame being drawn; a slot of age a (1 = newest) sits at window - a
        self._cos = network.cos[: self.window + 1]
        self._sin = network.sin[: self.window + 1]

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
        newest = (self.written - 1) % self.window
        ages = torch.tensor([(newest - s) % self.window + 1 for s in range(self.window)])
        position = self.window - ages  # a slot that was never written has one too; the bias hides it
        bias = torch.where(ages <= self.written, 0.0, float("-inf")).to(self._cos.device)
        keys = rotate(self.keys, self._cos[position].flatten(0, 1), self._sin[position].flatten(0, 1))
        return keys, self.values, bias.repeat_interleave(self.tokens)

    def frozen(self) -> tuple[Tensor, Tensor, Tensor]:
        """As `view`, but untouched by later commits: for a backward pass that comes after them."""
        keys, values, bias = self.view()
        return keys, values.clone(), bias

    def snapshot(self) -> CacheState:
        return CacheState(self.keys.clone(), self.values.clone(), self.written)

    def restore(self, state: CacheState) -> None:
        self.keys.copy_(state.keys)
        self.values.copy_(state.values)
        self.written = state.written
