"""What a player did, as the action modules of a transformer are told it: rows of keys and mouse, block by block."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .actions import ROWS_PER_LATENT, ActionCache, ActionConfig, ActionModule, ActionRows, Past


@dataclass(frozen=True, slots=True)
class ActionWalkState:
    """For snapshots."""

    keyboard: Tensor
    mouse: Tensor
    dropped: int


class BlockActions:
    """The rows of one block; what `WanTransformer.chunk` calls the modules with."""

    def __init__(self, rows: ActionRows, cache: ActionCache) -> None:
        self._rows, self._cache = rows, cache

    def __call__(self, module: nn.Module, x: Tensor, grid: tuple[int, int, int], layer: int, commit: bool) -> Tensor:
        assert isinstance(module, ActionModule)
        mouse: Past | None = self._cache.mouse[layer] if self._cache.mouse else None
        out: Tensor = module(x, grid, self._rows, (self._cache.keyboard[layer], mouse), commit)
        return out


class ActionWalk:
    """All rows of one walk that are still needed."""

    def __init__(self, config: ActionConfig) -> None:
        self._config = config
        self.reset()

    def reset(self) -> None:
        """A new walk."""
        self._keyboard = torch.zeros(1, 0, self._config.keyboard)  # [1, N, K], one row a frame
        self._mouse = torch.zeros(1, 0, 2)
        self._dropped = 0  # latent frames whose rows nobody needs any more

    def block(self, first: int, row: tuple[list[float], list[float]], latents: int = 3) -> ActionRows:
        """For the latent frames from `first` on: the player does `row`, (keyboard, mouse), in all their frames."""
        wanted = 1 + ROWS_PER_LATENT * (first + latents - 1 - self._dropped)
        missing = wanted - self._keyboard.shape[1]
        self._keyboard = torch.cat([self._keyboard, torch.tensor(row[0]).expand(1, missing, -1)], 1)
        self._mouse = torch.cat([self._mouse, torch.tensor(row[1]).expand(1, missing, -1)], 1)
        mouse = self._mouse if self._config.mouse else None
        rows = ActionRows.at(self._config, self._keyboard, mouse, first - self._dropped, latents)
        self._forget(first + latents)
        return rows

    def _forget(self, following: int) -> None:
        """Rows that no latent frame from `following` on is given."""
        old = following - self._config.latents - 1 - self._dropped
        if old > 0:
            self._keyboard = self._keyboard[:, ROWS_PER_LATENT * old :].clone()
            self._mouse = self._mouse[:, ROWS_PER_LATENT * old :].clone()
            self._dropped += old

    def snapshot(self) -> ActionWalkState:
        return ActionWalkState(self._keyboard, self._mouse, self._dropped)

    def restore(self, state: ActionWalkState) -> None:
        """Continue from a snapshot of a walk of the same model."""
        self._keyboard, self._mouse, self._dropped = state.keyboard, state.mouse, state.dropped
