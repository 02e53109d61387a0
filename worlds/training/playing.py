"""A world under test, and many walks through it at once over the plain network.

`tests/worlds/test_rollout.py` holds the batched walk equal to `Rollout`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..autoencoder import Autoencoder
from ..conditioning import MISSING, led, word_ids
from ..config import WorldConfig
from ..drift import Gauge
from ..history import begun, detailed, doubt, from_frames, noised, pushed
from ..kv_cache import KVCache
from ..memory import SUSPECT, PlaceMemory, Poses, poses_along
from ..network import WorldNetwork
from ..painter import Painter, painted
from ..reanchor import Keeper, from_prompt
from ..reprojection import Places
from ..sampler import Denoise, draw_noise, guided, sample
from .tokenizer import to_tensor


@dataclass(frozen=True, slots=True)
class Model:
    """A world under test."""

    config: WorldConfig
    network: WorldNetwork
    autoencoder: Autoencoder
    steps: tuple[float, ...]
    gauge: Gauge | None = None  # without it no walk is brought back
    painter: Painter | None = None  # of first frames; without it the walking network draws them

    @torch.no_grad()
    def encode(self, rgb: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
        return self.autoencoder.encode(to_tensor(rgb))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        # channels last: half the time of the convolutions on a CPU
        chunks = [x.contiguous(memory_format=torch.channels_last) for x in latents.split(16)]
        return torch.cat([self.autoencoder.decode(x) for x in chunks]).contiguous()


@torch.no_grad()
def walk_batch(
    model: Model, history: Tensor | None, actions: Tensor, words: Tensor, generator: torch.Generator
) -> Tensor:
    """Latents `[B, T, C, h, w]` of B walks at once.

    history `[B, K, C, h, w]` are true latents to start from, None starts from the prompt alone (the first frame is
    then drawn by the painter, or with `first_steps`; its action is not read). actions `[B, T, A]`, words `[B, S, I]`.
    """
    network, c = model.network, model.config
    b, t = actions.shape[:2]
    cache = KVCache(network, b)
    memories = [PlaceMemory(c.network, c.places) for _ in range(b)]
    pooled, text = network.text_embedding(words)
    nothing = network.text_embedding(torch.zeros_like(words))
    keeper = Keeper(c, model.gauge, network.reprojection) if model.gauge is not None and c.drift.on else None
    blank = from_prompt(lambda inputs: network.step(*inputs), c, cache, (pooled, text), nothing)
    shape = (b, 1, c.network.channels, c.network.rows, c.network.columns)
    given = None if history is None else from_frames(history, c.network)
    drawn = []
    if history is None:
        actions = torch.cat([torch.zeros_like(actions[:, :1]), actions[:, 1:]], 1)
    else:
        remember(memories, history[:, -1], np.zeros((b, 4)), -1)
    poses = poses_along(actions)
    for i in range(t):
        action = actions[:, i : i + 1]
        if given is not None:
            label, steps = doubt(given, c), model.steps
            label = (label if keeper is None else keeper.doubt(label))[:, None]
            places = recalled(network, memories, poses[:, i], i)
            newest = noised(detailed(given, c), label, generator, c.network)
            seen = network.look(newest, led(action, c.step_gain), places)
        else:
            seen, steps = torch.zeros(b, 1, c.network.seen, *shape[2:]), c.first_steps
            label = torch.full((b, 1), MISSING)
        view = cache.view()

        def with_text(pooled: Tensor, text: Tensor) -> Denoise:
            def denoise(z: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
                s = torch.full((b, 1), sigma)
                return network.step(z, seen, s, label, action, pooled, text, *view)  # noqa: B023

            return denoise  # noqa: B023

        denoise = with_text(pooled, text)
        if given is None and c.first_guidance != 1.0:
            denoise = guided(denoise, with_text(*nothing), c.first_guidance)
        noise = draw_noise(shape, generator)
        if given is None and model.painter is not None and c.painter is not None:
            asked, unasked = (model.painter.text_embedding(w) for w in (words, torch.zeros_like(words)))
            latent = painted(model.painter.forward, c.painter, asked, unasked, noise[:, 0])[:, None]
            given = begun(latent, c.network)
        else:
            latent, keys, values = sample(denoise, noise, steps)
            if given is None:
                given = begun(latent, c.network)
            else:
                cache.commit(keys, values)
                given = pushed(given, latent, c.network)
                given = given if keeper is None else keeper.after(given, action, blank, generator)
        remember(memories, latent[:, 0], poses[:, i], i, None if keeper is None else keeper.unsure)
        drawn.append(latent[:, 0])
    return torch.stack(drawn, 1)


def recalled(network: WorldNetwork, memories: list[PlaceMemory], poses: Poses, index: int) -> Places | None:
    """What every row's memory shows from its pose `[B, 4]`; None for a network without reprojection."""
    module = network.reprojection
    if module is None:
        return None
    known = [memory.recall(module, pose, index) for memory, pose in zip(memories, poses, strict=True)]
    return Places(*(torch.cat(parts) for parts in zip(*known, strict=True)))


def remember(
    memories: list[PlaceMemory],
    frames: Tensor,
    poses: Poses,
    index: int,
    unsure: Tensor | None = None,
) -> None:
    """Every row's frame `[B, C, h, w]` at its pose `[B, 4]` into the row's memory, unless the row has strayed."""
    for row, memory in enumerate(memories):
        if unsure is not None and bool(unsure[row]):
            memory.forget(index - SUSPECT)
        else:
            memory.keep(frames[row, None], poses[row], index)


def captions(model: Model, texts: list[str]) -> Tensor:
    return torch.stack([word_ids(text, model.config.network.text_buckets) for text in texts])
