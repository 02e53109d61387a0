"""Encoded walks in memory, and the batches that are drawn from them: clips of T frames after K frames of history."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..autoencoder import Autoencoder
from ..conditioning import path_vectors, word_ids
from ..config import WorldConfig
from .data import Walks


@dataclass(frozen=True, slots=True)
class Clips:
    """Encoded walks in memory, in both mirror images."""

    latents: Tensor  # [2, E, T, C, h, w] float16
    actions: Tensor  # [2, E, T, A]
    words: Tensor  # [E, 2, S, I] before and after a change
    change_at: Tensor  # [E]

    def to(self, device: str) -> Clips:
        """The same clips in the memory of a device: all of them, they are small."""
        return Clips(*(x.to(device) for x in (self.latents, self.actions, self.words, self.change_at)))

    def draw(self, rng: np.random.Generator, batch: int, frames: int, history: int, drop_text: float) -> Batch:
        """A batch of clips. A tenth starts from rest, a twentieth from nothing but the prompt."""
        _, episodes, length = self.latents.shape[:3]
        rows = []
        for _ in range(batch):
            mirror, e = int(rng.integers(2)), int(rng.integers(episodes))
            at = int(rng.integers(history, length - frames + 1))
            clip = self.latents[mirror, e, at - history : at + frames].float()
            action = self.actions[mirror, e, at : at + frames].clone()
            anchor = self.latents[mirror, e, int(rng.integers(at - history + 1))].float()
            kind = rng.random()
            if kind < 0.06:  # from the prompt alone
                clip[:history] = anchor = clip[history]
                action[0, :5] = 0
            elif kind < 0.16:  # from rest
                clip[: history - 1] = anchor = clip[history - 1]
            elif kind < 0.26:
                anchor = torch.zeros_like(anchor)
            words = self.words[e, int(at + frames > self.change_at[e])]
            if rng.random() < drop_text:
                words = torch.zeros_like(words)
            rows.append((clip, action, words, kind < 0.06, anchor))
        clips, actions, words_all, blank, anchors = zip(*rows, strict=True)
        started_blank = torch.tensor(blank, device=self.latents.device)
        return Batch(
            torch.stack(clips), torch.stack(actions), torch.stack(words_all), started_blank, torch.stack(anchors)
        )

    def draw_first(self, rng: np.random.Generator, count: int, drop_text: float) -> Batch:
        """Single frames without any history: what a prompt alone has to draw. Of motion, only the pitch is told."""
        _, episodes, length = self.latents.shape[:3]
        mirror, e = rng.integers(2, size=count), rng.integers(episodes, size=count)
        at = rng.integers(length, size=count)
        device = self.latents.device
        frames = self.latents[mirror, e, at].float()[:, None]
        actions = self.actions[mirror, e, at][:, None].clone()
        actions[..., :5] = 0
        changed = torch.from_numpy(at).to(device) >= self.change_at[e]
        words = self.words[torch.from_numpy(e).to(device), changed.long()].clone()
        words[torch.from_numpy(rng.random(count) < drop_text).to(device)] = 0
        nothing = torch.zeros_like(frames[:, 0])
        return Batch(frames, actions, words, torch.ones(count, dtype=torch.bool, device=device), nothing)


@dataclass(frozen=True, slots=True)
class Batch:
    """Clips with their history."""

    clips: Tensor  # [B, K + T, C, h, w]
    actions: Tensor  # [B, T, A]
    words: Tensor  # [B, S, I]
    blank: Tensor  # [B] bool: the first target has no history
    anchor: Tensor  # [B, C, h, w]: a frame before the clip, or nothing (0)


def load_clips(data: Path, world: WorldConfig) -> Clips:
    """The encoded walks that `encode_walks` wrote."""
    latents = torch.from_numpy(np.load(data / "latents.npy", mmap_mode="c"))
    episodes = latents.shape[1]
    walks = Walks.open(data)
    paths = torch.from_numpy(walks.paths[:episodes])
    mirrored = paths * torch.tensor([-1.0, 1.0, -1.0, 1.0])
    actions = torch.stack([path_vectors(paths), path_vectors(mirrored)])
    meta = walks.meta[:episodes]
    buckets = world.network.text_buckets
    words = torch.stack([torch.stack([word_ids(str(c), buckets) for c in row["captions"]]) for row in meta])  # type: ignore[attr-defined]
    change = torch.tensor([int(row["change_at"]) for row in meta])  # type: ignore[call-overload]
    return Clips(latents, actions, words, change)


@torch.no_grad()
def encode_walks(data: Path, model: Autoencoder, most_shards: int = 1 << 30) -> NDArray[np.float16]:
    """Encode every walk and its mirror image to `latents.npy`, float16 `[2, E, T, C, h, w]`."""
    from .tokenizer import to_tensor

    walks = Walks.open(data, most_shards)
    out = []
    for mirror in (False, True):
        rows = []
        for shard in walks.rgb:
            e, t = shard.shape[:2]
            for row in shard:
                pictures = to_tensor(row[:, :, ::-1] if mirror else row)
                rows.append(model.encode(pictures).numpy().astype(np.float16))
            print(f"\rencoded {len(rows)} of {e * len(walks.rgb)} walks of {t} frames", end="", flush=True)
        out.append(np.stack(rows))
    print()
    latents = np.stack(out)
    temporary = data / "latents.part.npy"
    np.save(temporary, latents)
    temporary.rename(data / "latents.npy")
    return latents
