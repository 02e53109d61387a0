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
from torch import Tensor

from ..conditioning import MISSING
from ..config import NetworkConfig, WorldConfig
from ..history import detailed, from_frames, held_to, noised, pushed
from ..kv_cache import KVCache
from ..network import WorldNetwork
from ..reprojection import Places
from ..sampler import draw_noise, noisy, sample
from .clips import Batch, load_clips
from .export import grown, load_tokenizer, starting_weights
from .loop import Loop, LoopConfig, Metrics
from .wear import faded, worn

PLACE_OFF = (0.1, 0.1, 0.02, 0.005)  # deviation of a remembered pose: metres right and forward, radians of yaw, pitch
FILLING = 0.4  # share of rows whose places show only what the newest frame cannot see


@dataclass(frozen=True, slots=True)
class DynamicsConfig:
    """Everything a process needs to train the dynamics."""

    data: Path
    loop: LoopConfig
    world: WorldConfig
    start_from: Path | None = None  # weights to start from where there is no checkpoint of this stage
    tokenizer: Path | None = None  # whose latents the walks are, for the reprojection
    batch: int = 5  # clips a process
    frames: int = 8  # targets a clip
    context_noise: float = 0.3
    closed_from: float = 0.1  # of the time
    closed_turns: tuple[int, ...] = (0,)  # of every eight batches, which are the closed loop
    first_turns: tuple[int, ...] = (1,)  # and which are first frames, from the prompt alone
    first_batch: int = 40
    moved_weight: float = 0.2  # of the reprojection's own loss
    worn_share: float = 0.3  # rows with a history worn as a long walk wears it
    faded_share: float = 0.35  # of the others: a history without its finest detail
    place_worn_share: float = 0.3  # rows whose remembered places are worn, and whose poses are a little off
    closed_levels: tuple[float, ...] = (0.08, 0.08, 0.08, 0.24)  # of the history's noise in it, in turn
    closed_batch: int = 5
    closed_frames: int = 12


def stacks(history: Tensor, depth: int) -> Tensor:
    """`[B, K + T, ...]` to `[B, T, K, ...]`: before every target the K frames that precede it, oldest first."""
    return torch.stack([history[:, i : history.shape[1] - depth + i] for i in range(depth)], 2)


def teacher_inputs(
    batch: Batch,
    config: NetworkConfig,
    context_noise: float,
    generator: torch.Generator,
    worn_share: float = 0.0,
    faded_share: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(noisy targets, clean targets, stacks, sigma, sigma_context) of one batch."""
    clips, depth = batch.clips, config.stack
    b, total = clips.shape[:2]
    bad = torch.rand(b, generator=generator, device=generator.device) < worn_share
    level = torch.where(bad, doubtful(b, context_noise, generator), context_levels(b, context_noise, generator))
    history = torch.where(bad.view(b, 1, 1, 1, 1), worn(clips, generator), faded(clips, faded_share, generator))
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


def places_of(
    network: WorldNetwork, batch: Batch, generator: torch.Generator, worn_share: float, faded_share: float
) -> Places | None:
    """What the frames of a batch remember. In play the places are the model's own and its steps not quite those told:
    a share of the rows has places worn as histories are, seen from poses that are a little off."""
    if network.reprojection is None or not network.config.recall:
        return None
    b, t, m = batch.places.shape[:3]
    bad = torch.rand(b, generator=generator, device=generator.device) < worn_share
    flat = batch.places.flatten(1, 2)
    flat = torch.where(bad.view(b, 1, 1, 1, 1), worn(flat, generator, 0.3), faded(flat, faded_share, generator))
    off = torch.tensor(PLACE_OFF, device=generator.device) * draw_noise((b, 1, m, 4), generator)
    poses = batch.place_poses + bad.view(b, 1, 1, 1) * off
    pictures = network.reprojection.pictures(flat.flatten(0, 1))
    fills = (torch.rand(b, generator=generator, device=generator.device) < FILLING).view(b, 1, 1).expand(b, t, m)
    return Places(pictures.unflatten(0, (b, t, m)), poses, batch.place_known, fills.float())


def first_frame_loss(network: WorldNetwork, batch: Batch, generator: torch.Generator) -> Tensor:
    """The loss of frames drawn from the prompt alone."""
    clean = batch.clips
    sigma = draw_levels(clean.shape[:2], generator)
    z = noisy(clean, draw_noise(clean.shape, generator), sigma)
    seen = clean.new_zeros(len(clean), 1, network.config.seen, *clean.shape[2:])
    label = torch.full(clean.shape[:2], MISSING, device=clean.device)
    return F.mse_loss(network(z, seen, sigma, label, batch.actions, batch.words), clean)


def reprojection_loss(moved: Tensor, batch: Batch, clean: Tensor) -> Tensor:
    """How far the moved newest frames `[B, T, C, h, w]` are from the true next ones: what the depth is learned from.

    Huber's, since newly seen places and noise have nothing to say about depth. Frames without history are left out.
    """
    known = ~batch.blank
    return F.smooth_l1_loss(moved[known], clean[known], beta=0.3)


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
    world: WorldConfig,
    levels: tuple[float, ...],
    context_noise: float,
    generator: torch.Generator,
) -> Tensor:
    """Walk on self-made frames as in play, the history's noise going through `levels`; the loss of every last of them.

    Only those frames, whose level says that the history may be wrong, learn the true next frame from what the model
    itself drew. Taught at every level, the closed loop makes the model doubt all histories and lose the controls.
    """
    depth, t, b = network.config.stack, batch.actions.shape[1], len(batch.clips)
    steps = world.step_lists[0]
    pooled, words = network.text_embedding(batch.words)
    with torch.no_grad():
        cache = KVCache(network, b)
    given = held_to(from_frames(batch.clips[:, :depth], network.config), batch.anchor[:, None], network.config)
    places = places_of(network, batch, generator, 0.5, 0.0)
    device = batch.clips.device
    total, taught = torch.zeros((), device=device), 0
    for i in range(t):
        pulled = i % len(levels) == len(levels) - 1
        label = torch.full((b, 1), levels[i % len(levels)], device=device)
        if pulled:
            label = doubtful(b, context_noise, generator)[:, None]
        action, view = batch.actions[:, i : i + 1], cache.frozen()
        with torch.no_grad():
            now = None if places is None else Places(*(x[:, i : i + 1] for x in places))
            seen = network.look(noised(detailed(given, world), label, generator, network.config), action, now)
        truth = batch.clips[:, depth + i, None]
        if pulled:
            sigma = draw_levels(torch.Size((b, 1)), generator)
            z = noisy(truth, draw_noise(truth.shape, generator), sigma)
            drawn, _, _ = network.step(z, seen, sigma, label, action, pooled, words, *view)
            total, taught = total + F.mse_loss(drawn, truth), taught + 1
        with torch.no_grad():

            def denoise(z: Tensor, level: float) -> tuple[Tensor, Tensor, Tensor]:
                s = torch.full((b, 1), level, device=device)
                return network.step(z, seen, s, label, action, pooled, words, *view)  # noqa: B023

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
        network.load_state_dict(grown(starting_weights(config.start_from, "network"), network))
    if not loop.step and network.reprojection is not None and config.tokenizer is not None:
        network.reprojection.fit(load_tokenizer(config.tokenizer, config.world.name))
    if not loop.step:
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
            levels = config.closed_levels
            loss = closed_loop_loss(network, batch, config.world, levels, config.context_noise, generator)
            return loss, {"closed": float(loss.detach())}
        batch = clips.draw(rng, config.batch, config.frames, depth, 0.08)
        z, clean, stack, sigma, label = teacher_inputs(
            batch, shapes, config.context_noise, generator, config.worn_share, config.faded_share
        )
        places = places_of(network, batch, generator, config.place_worn_share, config.faded_share)
        seen = network.look(stack, batch.actions, places)
        loss = F.mse_loss(network(z, seen, sigma, label, batch.actions, batch.words), clean)
        metrics = {"teacher": float(loss.detach())}
        if network.reprojection is not None:
            moved = reprojection_loss(seen[:, :, shapes.given], batch, clean)
            loss, metrics["moved"] = loss + config.moved_weight * moved, float(moved.detach())
        return loss, metrics

    loop.run(loss_of)
