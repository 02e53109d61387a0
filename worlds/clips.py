"""Clips: the same rollout with nobody waiting, from words, pictures or a video's end.

`planned` reads what was asked into one action a frame; `drawn` draws what the plan says, at the world's size;
`finished` makes the file's frames of that. A job lets the model draw while a thread finishes and encodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .camera_moves import Rig, Track, compiled
from .clip_extend import Ending, at_pace, going_on, read_ending
from .clip_finish import Finish
from .clip_pictures import Picture, Reference, Window, opened, window
from .clip_walks import Drawn, Route, Told, can_follow, decoded, walked
from .clip_words import GENTLE, Moment, Seen, Words, read_words
from .core import Action, World
from .media.pictures import read_picture
from .media.scaling import fitted
from .weights import LoadedWorld

LEAST_SECONDS, MOST_SECONDS = 0.2, 180.0
MOST_SIDE_PX = 4096


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """What is asked for. Raises ValueError on numbers that make no clip."""

    prompt: str
    seconds: float  # of what is drawn
    width_px: int
    height_px: int
    seed: int = 0
    camera: str = ""  # moves in words
    moments: tuple[Moment, ...] = ()
    first: Path | None = None  # picture files
    last: Path | None = None
    references: tuple[Reference, ...] = ()
    extend: Path | None = None  # a video to go on from
    joined: bool = True  # with `extend`: the video itself stands before what is drawn
    draft: bool = False  # as few denoising steps as the model runs at

    def __post_init__(self) -> None:
        if not LEAST_SECONDS <= self.seconds <= MOST_SECONDS:
            raise ValueError(f"a clip is {LEAST_SECONDS:g} to {MOST_SECONDS:g} s long, got {self.seconds:g}")
        if not 0 <= self.seed < 1 << 63:
            raise ValueError(f"seed must be in [0, 2^63), got {self.seed}")
        if not (16 <= self.width_px <= MOST_SIDE_PX and 16 <= self.height_px <= MOST_SIDE_PX):
            raise ValueError(f"a side has 16 to {MOST_SIDE_PX} pixels, got {self.width_px} x {self.height_px}")
        if self.extend is not None and self.first is not None:
            raise ValueError("a clip goes on from a video or begins from a picture, not both; leave one out")


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """Everything that the frames depend on, beside the world."""

    route: Route
    window: Window
    finish: Finish
    ending: Ending | None
    joined: bool
    notes: tuple[str, ...]

    @property
    def frames(self) -> int:
        """Of the file."""
        return len(self.route) + (self.ending.count if self.ending is not None and self.joined else 0)


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
    config, each = getattr(world, "config", None), world.frames_per_step
    return Rig(world.max_step_m / each, world.max_turn_rad / each, getattr(config, "max_pitch_rad", 0.4))


def planned(world: World, request: ClipRequest) -> ClipPlan:
    """Raises ValueError (ImageError on a picture, MediaError on a video), or OSError."""
    part = window(world.width_px, world.height_px, request.width_px, request.height_px)
    size = world.width_px, world.height_px
    first, last = (None if f is None else opened(f, part, *size) for f in (request.first, request.last))
    ending = None if request.extend is None else read_ending(request.extend, part, *size, world.fps)
    _check(world, request)
    notes: list[str] = []
    for name, image in (("the first frame", first), ("the last frame", last)):
        notes += [f"{name}: {note}" for note in (image.notes if image is not None else ())]
    begun = ending.pictures[-1] if ending is not None else first.rgb if first is not None else None
    asked = _Asked(world, request, part, notes)
    words = asked.words(begun, "the first frame" if ending is None else "the video's last frame")
    closing = words if last is None else asked.words(last.rgb, "the last frame")
    if begun is None:
        words = closing
    track = _track(world, request, words, ending)
    route = Route(
        request.seed, track.actions, along(words, len(track.actions), world.fps),
        along(closing, len(track.actions), world.fps), None if first is None else first.rgb,
        None if last is None else last.rgb, () if ending is None else ending.pictures,
        Action() if ending is None else ending.led, _shown(world, request, part, notes),
    )  # fmt: skip
    said = [*notes, *words.notes, *(closing.notes if last is not None else ()), *track.notes, *_about(world, ending)]
    finish = _finish(world, request, part, ending)
    return ClipPlan(route, part, finish, ending, request.joined, tuple(dict.fromkeys(said)))


def _shown(world: World, request: ClipRequest, part: Window, notes: list[str]) -> tuple[Picture, ...]:
    """The references themselves, for worlds that are shown pictures."""
    if not request.references or not getattr(world, "guided_by_pictures", False):
        return ()
    notes.append(f"{len(request.references)} references are shown to the model as pictures")
    return tuple(opened(r.file, part, world.width_px, world.height_px).rgb for r in request.references)


def _check(world: World, request: ClipRequest) -> None:
    """Raises ValueError where the world cannot do what is asked."""
    led = getattr(world, "guided_by_pictures", False)
    if ((request.last is not None and not led) or request.extend is not None) and not can_follow(world):
        what = "go on from a video" if request.extend is not None else "end in a picture"
        raise ValueError(f"{world.name} cannot {what}; ask an embedded world, such as nano")
    if request.first is not None and "picture" not in world.controls:
        raise ValueError(f"{world.name} cannot begin from a picture; begin it with words, or choose another world")


@dataclass(frozen=True, slots=True)
class _Asked:
    """Reads a request's words for a world."""

    world: World
    request: ClipRequest
    part: Window
    notes: list[str]

    def words(self, picture: Picture | None, name: str) -> Words:
        """With what a picture shows in place of what the words leave open."""
        request, limited = self.request, bool(self.world.themes)
        seen = None if picture is None or not limited else Seen(name, caption(self.world, picture, name, self.notes))
        given = references(self.world, request.references, self.part, self.notes)
        return read_words(
            request.prompt, request.seconds, request.camera, request.moments, given, seen, limited=limited
        )


def references(world: World, given: Sequence[Reference], part: Window, notes: list[str]) -> tuple[Seen, ...]:
    """What the world sees in the references."""
    out = []
    for i, reference in enumerate(given):
        called = f"@{reference.tag}" if reference.tag else f"reference {i + 1}"
        picture = opened(reference.file, part, world.width_px, world.height_px).rgb
        out.append(Seen(reference.tag, caption(world, picture, called, notes)))
    return tuple(out)


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


def _track(world: World, request: ClipRequest, words: Words, ending: Ending | None) -> Track:
    """The camera's way; after a video it moves on as it did, unless words say otherwise."""
    limits = rig(world)
    if ending is not None and not words.camera_said:
        count = max(1, round(request.seconds * world.fps))
        return Track(going_on(ending.led, limits, count), ("the camera moves on as it did in the video",))
    track = compiled(words.moves, request.seconds, world.fps, limits, request.seed)
    said = () if words.camera_said else (f"nothing was said about the camera: {GENTLE}",)
    return Track(track.actions, (*said, *track.notes))


def along(words: Words, count: int, fps: float) -> tuple[str, ...]:
    """The prompt of every frame."""
    out = [words.prompt] * count
    for moment in words.moments:
        at = min(count - 1, round(moment.at_s * fps))
        out[at:] = [moment.prompt] * (count - at)
    return tuple(out)


def _about(world: World, ending: Ending | None) -> tuple[str, ...]:
    notes = []
    if hasattr(world, "draw_whole"):
        notes.append("all frames are drawn at once, by the first words; moments on the way are left out")
    if "walk" not in world.controls:
        notes.append(f"the camera of {world.name} follows no moves: words alone lead it")
    if ending is not None and float(ending.video.fps) != world.fps:
        notes.append(f"the video's {float(ending.video.fps):g} frames a second are shown at {world.fps:g}")
    return (*notes, *(ending.video.notes if ending is not None else ()))


def _finish(world: World, request: ClipRequest, part: Window, ending: Ending | None) -> Finish:
    size = request.width_px, request.height_px

    def exact(path: Path | None) -> Picture | None:
        return None if path is None else fitted(read_picture(path), *size)

    before = None
    if ending is not None:
        assert isinstance(world, LoadedWorld)
        kept = _kept(world, ending.pictures[-1])
        before = fitted(ending.newest, *size), np.ascontiguousarray(part.of(kept))
    return Finish(*size, exact(request.first), exact(request.last), before)


@torch.inference_mode()
def _kept(world: LoadedWorld, picture: Picture) -> Picture:
    """What the world's tokenizer keeps of a picture at its size."""
    rgb = world.autoencoder.decode(world.autoencoder.encode_frame(picture))[0]
    return np.asarray((rgb * 255 + 0.5).byte().permute(1, 2, 0).numpy(), np.uint8)


def drawn(world: World, plan: ClipPlan, told: Told = lambda share: None) -> Iterator[Drawn]:
    """The model's frames, those ahead of their turn included, cropped to what is shown; `told` as `walked`."""
    for step in decoded(world, walked(world, plan.route, told)):
        rgb = None if step.rgb is None else np.ascontiguousarray(plan.window.of(step.rgb))
        yield replace(step, rgb=rgb)


def finished(plan: ClipPlan, shown: Iterable[Picture], fps: float) -> Iterator[Picture]:
    """The file's frames, from those that are shown."""
    new = plan.finish.frames(shown)
    if plan.ending is None or not plan.joined:
        return new
    size = plan.finish.width, plan.finish.height
    return chain((fitted(rgb, *size) for rgb in at_pace(plan.ending.video, fps)), new)


def facts(world: World, request: ClipRequest, plan: ClipPlan) -> Mapping[str, Any]:
    """JSON values for a task's metadata: what was drawn, cropped, scaled, and what a person should know."""
    w = plan.window
    return {
        "seed": request.seed, "width": request.width_px, "height": request.height_px, "frames": plan.frames,
        "fps": world.fps, "steps": world.steps, "prompt": plan.route.prompts[0], "notes": list(plan.notes),
        **w.facts(world.width_px, world.height_px, request.width_px, request.height_px),
    }  # fmt: skip
