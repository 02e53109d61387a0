"""What the engines' benchmark draws: networks with random weights, and walks of engine and torch beside each other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.open_models import randomly
from worldstream.worlds.wan.action_walk import BlockActions
from worldstream.worlds.wan.actions import ActionCache, ActionModule, ActionRows
from worldstream.worlds.wan.engine_chunk import EngineChunk
from worldstream.worlds.wan.kv_cache import KVCache
from worldstream.worlds.wan.pass_graph import ChunkShape
from worldstream.worlds.wan.taehv import TAEHV, TAEHVConfig
from worldstream.worlds.wan.transformer import WanTransformer
from worldstream.worlds.wan.vae import VAEConfig, WanVAE


def decoder(kind: str, device: str, dtype: torch.dtype, small: bool = False) -> Any:
    """A decoder with random weights."""
    with torch.device("meta"):
        made = (
            WanVAE(VAEConfig(width=8) if small else VAEConfig())
            if kind == "vae"
            else TAEHV(TAEHVConfig(widths=(16, 8, 8, 8)) if small else TAEHVConfig())
        )
    return randomly(made, torch.device(device), dtype)


def transformer(shape: ChunkShape, device: str, dtype: torch.dtype) -> WanTransformer:
    """With random weights."""
    actions, dim = shape.actions, shape.config.dim
    with torch.device("meta"):
        made = WanTransformer(
            shape.config, lambda i: ActionModule(actions, dim) if actions is not None and i < actions.blocks else None
        )
    model = randomly(made, torch.device(device), dtype)
    assert isinstance(model, WanTransformer)
    return model.cast(dtype)


def error(got: Tensor, wanted: Tensor) -> float:
    """||got - wanted|| / ||wanted||; not finite where anything is not finite."""
    return float((got.double() - wanted.double()).norm() / wanted.double().norm())


def tflop(shape: ChunkShape) -> float:
    """Of one pass with a full window: linear layers, attention to window and prompt. Action modules are not counted."""
    c, tokens = shape.config, shape.tokens
    linear = 2 * tokens * c.layers * (6 * c.dim**2 + 2 * c.dim * c.ffn_dim)
    seen = shape.window * shape.frame + shape.text_rows
    return (linear + 4 * tokens * seen * c.dim * c.layers) / 1e12


class Walk:
    """An engine's passes and torch's, beside each other over random latents, words, images and actions."""

    def __init__(self, ours: EngineChunk, model: WanTransformer, shape: ChunkShape, g: torch.Generator) -> None:
        self.ours, self.model, self.shape, self._g, c = ours, model, shape, g, shape.config
        text = self._normal(1, 24, c.text_dim) if c.has_text else None
        self.context = model.context(text, self._normal(1, c.image_tokens, c.image_dim) if c.image_dim else None)
        self.cache = KVCache(
            c, shape.rows, shape.columns, shape.window, chunk=shape.chunk, dtype=model.dtype, device=model.device
        )
        self._remembered = None if shape.actions is None else ActionCache(shape.actions)
        ours.show(self.context)
        self.x, self.time, self.rows = (
            self._normal(*ours.latents),
            torch.tensor([0.0], device=model.device),
            self._rows(),
        )

    def engine(self, commit: bool = False) -> Tensor:
        return self.ours.chunk(self.x, self.time, commit=commit, actions=self.rows)

    def torch(self, commit: bool = False) -> Tensor:
        acting = None
        if self.rows is not None and self._remembered is not None:
            acting = BlockActions(self.rows, self._remembered)
        return self.model.chunk(self.x, self.time, self.context, self.cache, commit=commit, actions=acting)

    def worst(self) -> float:
        """The largest error of any pass, past the end of the window."""
        found = 0.0
        for _ in range(self.shape.window // self.shape.chunk + 2):
            self.rows = self._rows()
            for step in (900.0, 0.0):
                self.x, self.time = self._normal(*self.ours.latents), torch.full_like(self.time, step)
                wanted = self.torch(commit=step == 0)
                found = max(found, error(self.engine(commit=step == 0), wanted))
        return found

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._g).to(self.model.device)

    def _rows(self) -> ActionRows | None:
        if (c := self.shape.actions) is None:
            return None
        keys = self._normal(1, self.shape.chunk, c.rows, c.keyboard).sign().clamp(min=0)
        return ActionRows(keys, 0.1 * self._normal(1, self.shape.chunk, c.rows, c.mouse) if c.mouse else None)
