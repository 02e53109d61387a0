"""Stage 3: fewer steps. A student takes in one step what its frozen teacher takes in two (2202.00512).

The teacher is the dynamics at eight steps, the student starts from its weights. One batch in three walks on the
student's own frames, as in the closed loop: a student that is only taught on true frames forgets how to invent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import STEPS_4, STEPS_8, WorldConfig
from ..history import detailed, doubt, from_frames, held_to, noised, pushed
from ..kv_cache import KVCache
from ..network import WorldNetwork
from ..reprojection import Places
from ..sampler import draw_noise, euler, noisy, sample
from .clips import Batch, load_clips
from .dynamics import first_frame_loss, places_of, teacher_inputs
from .loop import Loop, LoopConfig, Metrics


@dataclass(frozen=True, slots=True)
class DistilConfig:
    """Everything a process needs to distil."""

    data: Path
    loop: LoopConfig
    world: WorldConfig
    teacher: Path  # the dynamics checkpoint
    teacher_steps: tuple[float, ...] = STEPS_8
    student_steps: tuple[float, ...] = STEPS_4
    batch: int = 5
    frames: int = 8
    closed_every: int = 2
    closed_frames: int = 8


def halves(teacher: Sequence[float], student: Sequence[float]) -> list[tuple[float, float, float]]:
    """Per student step (from, over, to): the teacher's level in between; `to` is 0 at the end.

    Raises ValueError unless every second teacher level is the student's.
    """
    if tuple(teacher[::2]) != tuple(student) or len(teacher) != 2 * len(student):
        raise ValueError(
            f"the student's levels {tuple(student)} are not every second of the teacher's {tuple(teacher)}"
        )
    ends = [*student[1:], 0.0]
    return list(zip(student, teacher[1::2], ends, strict=True))


def implied_clean(z: Tensor, after: Tensor, sigma: Tensor, to: Tensor) -> Tensor:
    """The clean latent with which one Euler step leads from `z` at `sigma` to `after` at `to` (inverse of `euler`)."""
    ratio = to / sigma
    return (after - ratio * z) / (1 - ratio)


def train_distil(rank: int, world: int, config: DistilConfig) -> None:
    """One process of the distillation."""
    torch.manual_seed(4)
    teacher, student = (WorldNetwork(config.world.network).to(config.loop.device) for _ in range(2))
    weights = torch.load(config.teacher, weights_only=True)["ema"]
    teacher.load_state_dict(weights)
    student.load_state_dict(weights)
    teacher.eval().requires_grad_(False)
    loop = Loop(config.loop, student, rank, world)
    loop.resume()
    clips = load_clips(config.data, config.world).to(config.loop.device)
    rng = np.random.default_rng(rank + 1000 * loop.step)
    generator = torch.Generator(config.loop.device).manual_seed(rank + loop.step)
    table = torch.tensor(halves(config.teacher_steps, config.student_steps), device=config.loop.device)
    depth = config.world.network.stack

    def loss_of() -> tuple[Tensor, Metrics]:
        if loop.step % 4 == 1:  # the first frame keeps its many steps: it is kept as it was, not distilled
            loss = first_frame_loss(student, clips.draw_first(rng, 40, 0.1), generator)
            return loss, {"first": float(loss.detach())}
        closed = loop.step % config.closed_every == 0
        batch = clips.draw(rng, config.batch, config.closed_frames if closed else config.frames, depth, 0.08)
        if closed:
            loss = own_walk_loss(student, teacher, batch, config, table, generator)
            return loss, {"closed": float(loss.detach())}
        loss = taught_loss(student, teacher, batch, table, generator)
        return loss, {"taught": float(loss.detach())}

    loop.run(loss_of)


def two_steps(step: Callable[[Tensor, Tensor], Tensor], z: Tensor, rows: Tensor) -> Tensor:
    """The clean latent that the teacher's two half steps imply. `rows` `[B, T, 3]`: from, over, to."""
    sigma, over, to = (r[..., None, None, None] for r in rows.unbind(-1))
    middle = euler(z, step(z, rows[..., 0]), sigma, over)
    return implied_clean(z, euler(middle, step(middle, rows[..., 1]), over, to), sigma, to)


class TeacherStep:
    """The teacher over whole clips with everything but latent and level fixed."""

    def __init__(self, teacher: WorldNetwork, seen: Tensor, label: Tensor, batch: Batch) -> None:
        self._teacher, self._seen, self._label, self._batch = teacher, seen, label, batch

    def __call__(self, z: Tensor, sigma: Tensor) -> Tensor:
        out: Tensor = self._teacher(z, self._seen, sigma, self._label, self._batch.actions, self._batch.words)
        return out


def taught_loss(
    student: WorldNetwork, teacher: WorldNetwork, batch: Batch, table: Tensor, generator: torch.Generator
) -> Tensor:
    """Student against teacher on true histories, every frame at one of the student's own levels."""
    _, clean, stack, _, label = teacher_inputs(batch, student.config, 0.3, generator)
    rows = table[torch.randint(len(table), clean.shape[:2], generator=generator, device=generator.device)]
    z = noisy(clean, draw_noise(clean.shape, generator), rows[..., 0])
    with torch.no_grad():
        seen = teacher.look(stack, batch.actions, places_of(teacher, batch, generator, 0.3, 0.35))
        target = two_steps(TeacherStep(teacher, seen, label, batch), z, rows)
    return F.mse_loss(student(z, seen, rows[..., 0], label, batch.actions, batch.words), target)


def own_walk_loss(
    student: WorldNetwork,
    teacher: WorldNetwork,
    batch: Batch,
    config: DistilConfig,
    table: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Student against teacher along the student's own walk and its own noisy latents: both draw from one cache."""
    depth, t, b = student.config.stack, batch.actions.shape[1], len(batch.clips)
    device = batch.clips.device
    pooled, words = student.text_embedding(batch.words)
    with torch.no_grad():
        taught_pooled, taught_words = teacher.text_embedding(batch.words)
    cache, places = KVCache(student, b), places_of(teacher, batch, generator, 0.3, 0.0)
    given = held_to(from_frames(batch.clips[:, :depth], student.config), batch.anchor[:, None], student.config)
    total = torch.zeros((), device=device)
    for i in range(t):
        label = doubt(given, config.world)[:, None]
        action, view = batch.actions[:, i : i + 1], cache.frozen()
        with torch.no_grad():
            now = None if places is None else Places(*(x[:, i : i + 1] for x in places))
            seen = teacher.look(noised(detailed(given, config.world), label, generator, student.config), action, now)
        passed: list[Tensor] = []

        def denoise(z: Tensor, level: float) -> tuple[Tensor, Tensor, Tensor]:
            passed.append(z)  # noqa: B023
            s = torch.full((b, 1), level, device=device)
            return student.step(z, seen, s, label, action, pooled, words, *view)  # noqa: B023

        with torch.no_grad():
            own, keys, values = sample(
                denoise, draw_noise((b, 1, *batch.clips.shape[2:]), generator), config.student_steps
            )
        row = int(torch.randint(len(table), (1,), generator=generator, device=generator.device))
        rows = table[row].expand(b, 1, 3)

        def step(z: Tensor, sigma: Tensor) -> Tensor:
            out, _, _ = teacher.step(
                z, seen, sigma, label, action, taught_pooled, taught_words, *view  # noqa: B023
            )  # fmt: skip
            return out

        with torch.no_grad():
            target = two_steps(step, passed[row], rows)
        drawn, _, _ = student.step(passed[row], seen, rows[..., 0], label, action, pooled, words, *view)
        total = total + F.mse_loss(drawn, target)
        cache.commit(keys, values)
        given = pushed(given, own, student.config)
    return total / t
