"""Encoded walks in memory, and the batches that are drawn from them: clips of T frames after K frames of history."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..autoencoder import Autoencoder
from ..conditioning import path_vectors, word_ids
from ..config import NetworkConfig, WorldConfig
from ..memory import RECENT, SHOWN, Poses, chosen, is_new, overlaps, poses_along, relative
from ..rollout import ANCHOR_AFTER
from .data import Walks


@dataclass(frozen=True, slots=True)
class Clips:
    """Encoded walks in memory, in both mirror images."""

    latents: Tensor  # [2, E, T, C, h, w] float16
    actions: Tensor  # [2, E, T, A]
    words: Tensor  # [E, 2, S, I] before and after a change
    change_at: Tensor  # [E]
    poses: Poses  # [2, E, T, 4]
    kept: NDArray[np.bool_]  # [E, T] frames that a walker's memory would have kept
    view: NetworkConfig  # whose eye it is
    revisits: NDArray[np.int64]  # [R, 2] walk and frame where something comes into view that was seen before

    def to(self, device: str) -> Clips:
        """The same clips in the memory of a device: all of them, they are small."""
        moved = {name: getattr(self, name).to(device) for name in ("latents", "actions", "words", "change_at")}
        return replace(self, **moved)

    def draw(
        self,
        rng: np.random.Generator,
        batch: int,
        frames: int,
        history: int,
        drop_text: float,
        drop_places: float = 0.25,
    ) -> Batch:
        """A batch of clips, a third of them where a place comes into view again. A tenth starts from rest, a twentieth
        from nothing but the prompt; those, and a share of `drop_places` of the others, remember no places."""
        rows = []
        for _ in range(batch):
            mirror, e, at = self._where(rng, frames, history)
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
            remembers = kind >= 0.16 and rng.random() >= drop_places
            places = self._places(mirror, e, at, frames) if remembers else self._no_places(frames)
            words = self.words[e, int(at + frames > self.change_at[e])]
            if rng.random() < drop_text:
                words = torch.zeros_like(words)
            rows.append((clip, action, words, torch.tensor(kind < 0.06), anchor, *places))
        device = self.latents.device
        return Batch(*(torch.stack(column).to(device) for column in zip(*rows, strict=True)))

    def _where(self, rng: np.random.Generator, frames: int, history: int) -> tuple[int, int, int]:
        """(mirror image, walk, first target) of a clip."""
        _, episodes, length = self.latents.shape[:3]
        mirror = int(rng.integers(2))
        if len(self.revisits) and rng.random() < 0.33:
            e, seen = self.revisits[rng.integers(len(self.revisits))]
            at = int(seen) - int(rng.integers(frames))
        else:
            e, at = rng.integers(episodes), int(rng.integers(history, length - frames + 1))
        return mirror, int(e), min(max(at, history), length - frames)

    def _places(self, mirror: int, e: int, at: int, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """What a walker remembers at each target: latents `[T, M, C, h, w]`, poses `[T, M, 4]`, known `[T, M]`."""
        latents, poses, known = self._no_places(frames)
        change = int(self.change_at[e])
        for i in range(frames):
            old = np.flatnonzero(self.kept[e, : max(0, at + i - RECENT + 1)])
            if at + i >= change:  # a new prompt: nothing that was seen before counts
                old = old[old >= change + ANCHOR_AFTER]
            here, there = self.poses[mirror, e, at + i], self.poses[mirror, e, old]
            for m, row in enumerate(chosen(here, there, self.view)):
                latents[i, m] = self.latents[mirror, e, old[row]].float()
                poses[i, m] = torch.from_numpy(relative(here, there[row : row + 1])[0])
                known[i, m] = 1.0
        return latents, poses, known

    def _no_places(self, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        shape = self.latents.shape[3:]
        return torch.zeros(frames, SHOWN, *shape), torch.zeros(frames, SHOWN, 4), torch.zeros(frames, SHOWN)

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
        places = tuple(x.expand(count, *x.shape).to(device) for x in self._no_places(1))
        return Batch(frames, actions, words, torch.ones(count, dtype=torch.bool, device=device), nothing, *places)


@dataclass(frozen=True, slots=True)
class Batch:
    """Clips with their history."""

    clips: Tensor  # [B, K + T, C, h, w]
    actions: Tensor  # [B, T, A]
    words: Tensor  # [B, S, I]
    blank: Tensor  # [B] bool: the first target has no history
    anchor: Tensor  # [B, C, h, w]: a frame before the clip, or nothing (0)
    places: Tensor  # [B, T, M, C, h, w] what is remembered at each target: see memory.py
    place_poses: Tensor  # [B, T, M, 4]
    place_known: Tensor  # [B, T, M]


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
    poses = poses_along(actions)
    kept = np.stack([kept_along(walk) for walk in poses[0]])
    return Clips(latents, actions, words, change, poses, kept, world.network, revisited(poses[0], kept, world.network))


def kept_along(poses: Poses) -> NDArray[np.bool_]:
    """Which frames of a walk `[T, 4]` a memory keeps, `[T]`."""
    kept = np.zeros(len(poses), bool)
    for i, pose in enumerate(poses):
        kept[i] = is_new(pose, poses[:i][kept[:i]])
    return kept


def revisited(poses: Poses, kept: NDArray[np.bool_], view: NetworkConfig, every: int = 5) -> NDArray[np.int64]:
    """`[R, 2]` walk and frame of walks `[E, T, 4]` where a tenth of the view was seen before, but not just before."""
    found = []
    for e, walk in enumerate(poses):
        for t in range(2 * RECENT, len(walk), every):
            there = walk[: t - RECENT + 1][kept[e, : t - RECENT + 1]]
            rows = chosen(walk[t], there, view)
            if not rows:
                continue
            lately = np.concatenate([there[rows], walk[t - RECENT : t - RECENT + 1]])
            shown = overlaps(walk[t], lately, view.view_rad, view.rows / view.columns)
            if (shown[:-1].any(0) & ~shown[-1]).mean() > 0.1:
                found.append((e, t))
    return np.array(found, np.int64).reshape(-1, 2)


@torch.no_grad()
def encode_walks(data: Path, model: Autoencoder) -> NDArray[np.float16]:
    """Encode every walk and its mirror image to `latents.npy`, float16 `[2, E, T, C, h, w]`."""
    from .tokenizer import to_tensor

    walks = Walks.open(data)
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
