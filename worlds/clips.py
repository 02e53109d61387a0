"""Clips: the same rollout with nobody waiting, from words or pictures to as many frames as were asked for.

`planned` reads what was asked into one action a frame; `drawn` draws them. What is drawn is of the world's size; the
window of the plan says which part of it the clip shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .camera_moves import Rig, compiled
from .clip_pictures import Picture, Window, opened, window
from .clip_words import Moment, Seen, Words, read_words
from .core import Action, World

LEAST_SECONDS, MOST_SECONDS = 0.2, 180.0
MOST_SEED = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture that a prompt speaks of as `@tag`; without a tag, the first one fills what the prompt leaves open."""

    file: Path
    tag: str = ""


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """What is asked for. Raises ValueError on numbers that make no clip."""

    prompt: str
    seconds: float
    width_px: int
    height_px: int
    seed: int = 0
    camera: str = ""  # moves in words
    moments: tuple[Moment, ...] = ()
    first: Path | None = None  # picture files
    last: Path | None = None
    references: tuple[Reference, ...] = ()
    draft: bool = False  # as few denoising steps as the model runs at

    def __post_init__(self) -> None:
        if not LEAST_SECONDS <= self.seconds <= MOST_SECONDS:
            raise ValueError(f"a clip is {LEAST_SECONDS:g} to {MOST_SECONDS:g} s long, got {self.seconds:g}")
        if not 0 <= self.seed <= MOST_SEED:
            raise ValueError(f"seed must be in [0, 2^63), got {self.seed}")


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """Everything that the frames depend on, beside the world."""

    seed: int
    prompt: str
    actions: tuple[Action, ...]  # one a frame, the motion into it; new words where they change
    window: Window
    first: Picture | None  # at the world's size
    last: Picture | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One frame of the model. `shown`: it is the clip's next frame; else it is drawn ahead of its turn."""

    rgb: Picture | None  # at the world's size; None where a frame drawn ahead was not decoded
    shown: bool
    done: int  # frames drawn so far, of `of`
    of: int


def at_speed(world: World, draft: bool) -> tuple[World, tuple[str, ...]]:
    """(the world at its fewest steps for a draft, what a person should know)."""
    choices: Sequence[int] = getattr(world, "step_choices", ())
    if not draft:
        return world, ()
    if len(choices) < 2:
        return world, (f"{world.name} runs at {world.steps} steps only: the draft is the clip",)
    return world.with_steps(min(choices)), (f"a draft: {min(choices)} steps instead of {max(choices)}",)


def rig(world: World) -> Rig:
    """What a world's camera can do in one video frame."""
    config = getattr(world, "config", None)
    each = world.frames_per_step
    return Rig(world.max_step_m / each, world.max_turn_rad / each, getattr(config, "max_pitch_rad", 0.4))


def planned(world: World, request: ClipRequest) -> ClipPlan:
    """Raises ValueError (ImageError on a picture), or OSError."""
    part = window(world.width_px, world.height_px, request.width_px, request.height_px)
    size = world.width_px, world.height_px
    first, last = (None if f is None else opened(f, part, *size) for f in (request.first, request.last))
    notes = [*_said("the first frame", first), *_said("the last frame", last)]
    words = _read(world, request, None if first is None else first.rgb, None if last is None else last.rgb, part, notes)
    track = compiled(words.moves, request.seconds, world.fps, rig(world), request.seed)
    if "walk" not in world.controls and any(
        a.forward_m or a.right_m or a.yaw_rad or a.pitch_rad for a in track.actions
    ):
        notes.append(f"the camera of {world.name} follows no moves: words alone lead it")
    actions = _with_moments(track.actions, words.moments, world.fps)
    return ClipPlan(
        request.seed, words.prompt, actions, part, None if first is None else first.rgb,
        None if last is None else last.rgb, tuple(dict.fromkeys([*notes, *words.notes, *track.notes])),
    )  # fmt: skip


def _said(name: str, image: object) -> list[str]:
    return [f"{name}: {note}" for note in getattr(image, "notes", ())]


def _read(
    world: World, request: ClipRequest, first: Picture | None, last: Picture | None, part: Window, notes: list[str]
) -> Words:
    limited = bool(world.themes)
    begun = first if first is not None else last
    name = "the first frame" if first is not None else "the last frame"
    seen = None if begun is None or not limited else Seen(name, caption(world, begun, name, notes))
    tagged = []
    for i, reference in enumerate(request.references):
        called = f"@{reference.tag}" if reference.tag else f"reference {i + 1}"
        picture = opened(reference.file, part, world.width_px, world.height_px).rgb
        tagged.append(Seen(reference.tag, caption(world, picture, called, notes)))
    return read_words(request.prompt, request.seconds, request.camera, request.moments, tagged, seen, limited=limited)


def caption(world: World, picture: Picture, name: str, notes: list[str]) -> str:
    """What the world sees in a picture at its size; empty where it cannot say."""
    try:
        sight = world.viewer().look(picture)
    except ValueError as error:
        notes.append(f"nobody looked at {name}: {error}")
        return ""
    if sight.caption and not sight.familiar:
        notes.append(
            f"{name} is far from what {world.name} knows (distance {sight.distance:.2f}, above 1 is far): "
            "it may not stay as it is"
        )
    return sight.caption


def _with_moments(actions: tuple[Action, ...], moments: Sequence[Moment], fps: float) -> tuple[Action, ...]:
    out = list(actions)
    for moment in moments:
        at = min(len(out) - 1, round(moment.at_s * fps))
        out[at] = replace(out[at], prompt=moment.prompt)
    return tuple(out)


def drawn(world: World, plan: ClipPlan) -> Iterator[Drawn]:
    """Every frame of the clip in its order, `len(plan.actions)` of them shown."""
    count = len(plan.actions)
    for i, rgb in enumerate(forward(world, plan)):
        yield Drawn(rgb, True, i + 1, count)


def forward(world: World, plan: ClipPlan) -> Iterator[NDArray[np.uint8]]:
    """From the start on: one rollout."""
    rollout = world.rollout()
    rollout.reset(plan.seed, plan.prompt, plan.first)
    count, at = len(plan.actions), 0
    while at < count:
        for frame in rollout.step(merged(plan.actions[at : at + world.frames_per_step])):
            if at < count:
                yield frame.rgb
            at += 1


def merged(actions: Sequence[Action]) -> Action:
    """The action of a step that draws several frames: motions add up, the last words count."""
    if len(actions) == 1:
        return actions[0]
    said = [a.prompt for a in actions if a.prompt is not None]
    return Action(
        sum(a.right_m for a in actions), sum(a.up_m for a in actions), sum(a.forward_m for a in actions),
        sum(a.yaw_rad for a in actions), sum(a.pitch_rad for a in actions), prompt=said[-1] if said else None,
    )  # fmt: skip
