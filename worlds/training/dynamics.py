"""Stage 2: the dynamics. Teacher forcing with noise on the context, then the closed loop.

A batch is clips of `T` frames after `K` frames of history. Every frame of a clip is a target at its own noise level
and sees the history through the stack (clean latents plus a little labelled noise) and through attention (diffusion
forcing). From `closed_from` of the time on, one batch in four lets the model walk on its own pictures and asks it for
the true next frame: this is what keeps unseen places from fading into an empty plain.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..autoencoder import Autoencoder
from ..conditioning import MISSING, path_vectors, word_ids
from ..config import NetworkConfig, WorldConfig
from ..history import from_frames, held_to, noised, pushed
from ..kv_cache import KVCache
from ..network import WorldNetwork
from ..sampler import draw_noise, noisy, sample
from .data import Walks
from .export import starting_weights, with_anchor
from .loop import Loop, LoopConfig, Metrics


@dataclass(frozen=True, slots=True)
class DynamicsConfig:
    """Everything a process needs to train the dynamics."""

    data: Path
    loop: LoopConfig
    world: WorldConfig
    start_from: Path | None = None  # weights to start from where there is no checkpoint of this stage
    batch: int = 5  # clips a process
    frames: int = 8  # targets a clip
    context_noise: float = 0.3
    closed_from: float = 0.1  # of the time
    closed_turns: tuple[int, ...] = (0,)  # of every eight batches, which are the closed loop
    first_turns: tuple[int, ...] = (1,)  # and which are first frames, from the prompt alone
    first_batch: int = 40
    worn_share: float = 0.3  # rows with a history worn as a long walk wears it
    closed_levels: tuple[float, ...] = (0.08, 0.08, 0.08, 0.24)  # of the history's noise in it, in turn
    closed_batch: int = 5
    closed_frames: int = 12


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


def stacks(history: Tensor, depth: int) -> Tensor:
    """`[B, K + T, ...]` to `[B, T, K, ...]`: before every target the K frames that precede it, oldest first."""
    return torch.stack([history[:, i : history.shape[1] - depth + i] for i in range(depth)], 2)


def worn(history: Tensor, generator: torch.Generator) -> Tensor:
    """`[B, T, C, h, w]` as a long walk leaves it: off in colour and gain, poor in detail, smeared; a row at a time.

    The target stays true and in its place. A model that has seen such histories pulls them back to what the prompt
    says; a closed loop long enough to make them costs twenty times as much.
    """
    b, _, c, h, w = history.shape
    device = generator.device

    def uniform() -> Tensor:
        return torch.rand(b, 1, 1, 1, 1, generator=generator, device=device)

    amount = 0.5 * uniform()
    colour = draw_noise((b, 1, c, 1, 1), generator)
    smooth = F.interpolate(draw_noise((b, c, 2, 3), generator), (h, w), mode="bilinear").unsqueeze(1)
    gain = 1 + 0.4 * amount * draw_noise((b, 1, 1, 1, 1), generator)
    detail = history.new_ones(b, 1, c, 1, 1)
    detail[:, :, 3:] = 0.4 + 0.8 * uniform()  # the first three channels are the coarse ones
    smear = 1.4 * (uniform() - 0.5).clamp(min=0)  # towards the stripes that a world without objects melts into
    changed = history + smear * (history.mean(-1, keepdim=True) - history)
    scale = history.std((0, 1, 3, 4), keepdim=True)
    return changed * gain * detail + amount * scale * (0.6 * colour + 0.6 * smooth)


def teacher_inputs(
    batch: Batch, config: NetworkConfig, context_noise: float, generator: torch.Generator, worn_share: float = 0.0
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(noisy targets, clean targets, stacks, sigma, sigma_context) of one batch."""
    clips, depth = batch.clips, config.stack
    b, total = clips.shape[:2]
    bad = torch.rand(b, generator=generator, device=generator.device) < worn_share
    level = torch.where(bad, doubtful(b, context_noise, generator), context_levels(b, context_noise, generator))
    history = torch.where(bad.view(b, 1, 1, 1, 1), worn(clips, generator), clips)
    history = history + level.view(b, 1, 1, 1, 1) * draw_noise(clips.shape, generator)
    stack = stacks(history, depth)[:, : total - depth]
    if config.anchor:
        anchor = batch.anchor[:, None, None].expand(-1, total - depth, -1, -1, -1, -1)
        stack = torch.cat([anchor, stack], 2)
    label = level[:, None].expand(b, total - depth).clone()
    stack[batch.blank, 0] = 0
    label[batch.blank, 0] = MISSING
    clean = clips[:, depth:]
    sigma = draw_levels(clean.shape[:2], generator)
    z = noisy(clean, draw_noise(clean.shape, generator), sigma)
    return z, clean, stack, sigma, label


def first_frame_loss(network: WorldNetwork, batch: Batch, generator: torch.Generator) -> Tensor:
    """The loss of frames drawn from the prompt alone."""
    clean = batch.clips
    sigma = draw_levels(clean.shape[:2], generator)
    z = noisy(clean, draw_noise(clean.shape, generator), sigma)
    stack = clean.new_zeros(len(clean), 1, network.config.given, *clean.shape[2:])
    label = torch.full(clean.shape[:2], MISSING, device=clean.device)
    return F.mse_loss(network(z, stack, sigma, label, batch.actions, batch.words), clean)


def context_levels(rows: int, most: float, generator: torch.Generator) -> Tensor:
    """Noise levels `[rows]` of histories, up to `most`; a tenth are clean."""
    level = torch.rand(rows, generator=generator, device=generator.device) * most
    return torch.where(torch.rand(rows, generator=generator, device=generator.device) < 0.1, 0.0, level)


def doubtful(rows: int, most: float, generator: torch.Generator) -> Tensor:
    """Noise levels `[rows]` of histories that may be wrong: the upper half.

    The level is thus a dial in play: below, the history is taken at its word and the controls are at their sharpest;
    above, a frame is also pulled back to what the anchor and the prompt say.
    """
    return most * (0.5 + 0.5 * torch.rand(rows, generator=generator, device=generator.device))


def draw_levels(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Noise levels: logit-normal shifted high, a fifth exactly 1 (where sampling starts)."""
    sigma = torch.sigmoid(0.5 + 1.3 * draw_noise(shape, generator))
    return torch.where(torch.rand(shape, generator=generator, device=generator.device) < 0.2, 1.0, sigma)


def closed_loop_loss(
    network: WorldNetwork,
    batch: Batch,
    steps: tuple[float, ...],
    levels: tuple[float, ...],
    context_noise: float,
    generator: torch.Generator,
) -> Tensor:
    """Walk on self-made frames as in play, the history's noise going through `levels`; the loss of every last of them.

    Only those frames, whose level says that the history may be wrong, learn the true next frame from what the model
    itself drew. Taught at every level, the closed loop makes the model doubt all histories and lose the controls.
    """
    depth, t, b = network.config.stack, batch.actions.shape[1], len(batch.clips)
    pooled, words = network.text_embedding(batch.words)
    with torch.no_grad():
        cache = KVCache(network, b)
    given = held_to(from_frames(batch.clips[:, :depth], network.config), batch.anchor[:, None], network.config)
    device = batch.clips.device
    total, taught = torch.zeros((), device=device), 0
    for i in range(t):
        pulled = i % len(levels) == len(levels) - 1
        label = torch.full((b, 1), levels[i % len(levels)], device=device)
        if pulled:
            label = doubtful(b, context_noise, generator)[:, None]
        stack = noised(given, label, generator, network.config)
        action, view = batch.actions[:, i : i + 1], cache.frozen()
        truth = batch.clips[:, depth + i, None]
        if pulled:
            sigma = draw_levels(torch.Size((b, 1)), generator)
            z = noisy(truth, draw_noise(truth.shape, generator), sigma)
            drawn, _, _ = network.step(z, stack, sigma, label, action, pooled, words, *view)
            total, taught = total + F.mse_loss(drawn, truth), taught + 1
        with torch.no_grad():

            def denoise(z: Tensor, level: float) -> tuple[Tensor, Tensor, Tensor]:
                s = torch.full((b, 1), level, device=device)
                return network.step(z, stack, s, label, action, pooled, words, *view)  # noqa: B023

            own, keys, values = sample(denoise, draw_noise(truth.shape, generator), steps)
            cache.commit(keys, values)
            given = pushed(given, own, network.config)
    return total / taught


def train_dynamics(rank: int, world: int, config: DynamicsConfig) -> None:
    """One process of the dynamics stage."""
    torch.manual_seed(2)
    network = WorldNetwork(config.world.network).to(config.loop.device)
    loop = Loop(config.loop, network, rank, world)
    if not loop.resume() and config.start_from is not None:
        network.load_state_dict(with_anchor(starting_weights(config.start_from, "network"), config.world.network))
        loop = Loop(config.loop, network, rank, world)
    clips = load_clips(config.data, config.world).to(config.loop.device)
    rng = np.random.default_rng(rank + 1000 * loop.step)
    generator = torch.Generator(config.loop.device).manual_seed(rank + loop.step)
    shapes = config.world.network
    depth = shapes.stack

    def loss_of() -> tuple[Tensor, Metrics]:
        turn = loop.step % 8
        if turn in config.first_turns:
            loss = first_frame_loss(network, clips.draw_first(rng, config.first_batch, 0.1), generator)
            return loss, {"first": float(loss.detach())}
        if turn in config.closed_turns and loop.progress >= config.closed_from:
            batch = clips.draw(rng, config.closed_batch, config.closed_frames, depth, 0.08)
            steps = config.world.step_lists[0]
            levels = config.closed_levels
            loss = closed_loop_loss(network, batch, steps, levels, config.context_noise, generator)
            return loss, {"closed": float(loss.detach())}
        batch = clips.draw(rng, config.batch, config.frames, depth, 0.08)
        z, clean, stack, sigma, label = teacher_inputs(
            batch, shapes, config.context_noise, generator, config.worn_share
        )
        loss = F.mse_loss(network(z, stack, sigma, label, batch.actions, batch.words), clean)
        return loss, {"teacher": float(loss.detach())}

    loop.run(loss_of)


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
