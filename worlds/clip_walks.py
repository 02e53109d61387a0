"""How a clip's frames are walked: from its beginning on, from its end backwards, or from both until they meet.

A world that begins from a picture knows nothing of how it is to end. So a clip with a last keyframe is walked from that
picture backwards in time: every motion is undone, and the frames are shown in reverse. With two keyframes there are two
such walks; over some frames in the middle the latents of the one fade into those of the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .autoencoder import Autoencoder
from .core import Action, World
from .rollout import Rollout

Picture = NDArray[np.uint8]
Decode = Callable[[Tensor], Picture]
MOST_MEETING, MEETING_SHARE = 75, 0.5  # frames in which two walks fade into each other; at most this share of the clip
BEHIND = 4  # frames that wait for their decoding
GLANCE = 6  # of the frames that are drawn ahead of their turn, every sixth is decoded to be looked at


@dataclass(frozen=True, slots=True)
class Route:
    """What leads the walks through a clip."""

    seed: int
    actions: tuple[Action, ...]  # one a frame, the motion into it; no words
    prompts: tuple[str, ...]  # one a frame
    endings: tuple[str, ...]  # the same for a walk back from the last keyframe
    first: Picture | None = None  # at the world's size
    last: Picture | None = None
    before: tuple[Picture, ...] = ()  # the newest frames of what the clip goes on from, at the world's size
    led: Action = Action()  # the motion of those
    references: tuple[Picture, ...] = ()  # for worlds that are shown them

    def __len__(self) -> int:
        return len(self.actions)

    def action(self, index: int, after: str | None) -> Action:
        """Into a frame, with its words where they are other than those of `after`."""
        prompt = self.prompts[index]
        return _worded(self.actions[index], None if prompt == after else prompt)


@dataclass(frozen=True, slots=True)
class Walked:
    """One frame of the model. `shown`: it is the clip's next frame; else it is drawn ahead of its turn."""

    frame: Picture | Tensor | None  # at the world's size, or its latent; None where nobody need look at it
    shown: bool
    done: int  # frames drawn so far, of `of`
    of: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """The same, decoded."""

    rgb: Picture | None
    shown: bool
    done: int
    of: int


Told = Callable[[float], None]


def walked(world: World, route: Route, told: Told = lambda share: None) -> Iterator[Walked]:
    """Every frame of a clip, of embedded worlds as its latent `[1, 1, C, h, w]`; `len(route)` are shown, in order.

    `told` hears the share that is done while a world draws all frames at once, before the first of them comes.
    Raises ValueError where the world cannot be walked backwards, or cannot go on from a video.
    """
    if (whole := getattr(world, "draw_whole", None)) is not None:
        count = len(route)
        given = route.first, route.last, route.references
        for rgb in whole(route.seed, route.prompts[0], count, *given, told=lambda done, of: told(done / of)):
            yield Walked(rgb, True, count, count)
        return
    if route.last is not None:
        yield from _met(world, route) if route.first is not None or route.before else _backwards(world, route)
        return
    count = len(route)
    for i, rgb in enumerate(_forward(world, route)):
        yield Walked(rgb, True, i + 1, count)


def decoded(world: World, frames: Iterator[Walked]) -> Iterator[Drawn]:
    """The frames as pictures. Where the engine can, they are decoded beside the drawing, a few frames behind it; the
    first one is waited for."""
    runner = getattr(world, "runner", None)
    beside: Decode | None = getattr(runner, "decode_beside", None)
    with ThreadPoolExecutor(1, "clip-decoder") as thread:
        coming: deque[tuple[Walked, Future[Picture] | Picture | None]] = deque()
        for one in frames:
            if not isinstance(one.frame, Tensor):
                coming.append((one, one.frame))
            elif beside is not None:
                coming.append((one, thread.submit(beside, one.frame[:, 0].clone())))
            else:
                assert runner is not None
                coming.append((one, runner.decode(one.frame[:, 0])))
            while coming and (len(coming) > BEHIND or one.done == 1 or _ready(coming[0][1])):
                yield _drawn(*coming.popleft())
        while coming:
            yield _drawn(*coming.popleft())


def _ready(picture: Future[Picture] | Picture | None) -> bool:
    return not isinstance(picture, Future) or picture.done()


def _drawn(one: Walked, picture: Future[Picture] | Picture | None) -> Drawn:
    rgb = picture.result() if isinstance(picture, Future) else picture
    return Drawn(rgb, one.shown, one.done, one.of)


def can_follow(world: World) -> bool:
    """Whether a world's walks may begin from known frames, or be led backwards."""
    return isinstance(getattr(world, "autoencoder", None), Autoencoder)


def _forward(world: World, route: Route) -> Iterator[Picture | Tensor]:
    walk = world.rollout()
    if isinstance(walk, Rollout):
        yield from _latents(_begun(world, route), route, range(len(route)))
        return
    walk.reset(route.seed, route.prompts[0], route.first)
    at, each, count, prompt = 0, world.frames_per_step, len(route), route.prompts[0]
    while at < count:
        end = min(at + each, count)
        step = merged([route.action(i, prompt if i == at else route.prompts[i - 1]) for i in range(at, end)])
        for frame in walk.step(step):
            if at < count:
                yield frame.rgb
            at += 1
        prompt = prompt if step.prompt is None else step.prompt


def merged(actions: Sequence[Action]) -> Action:
    """The action of a step that draws several frames: motions add up, the last words count."""
    if len(actions) == 1:
        return actions[0]
    said = [a.prompt for a in actions if a.prompt is not None]
    return Action(
        sum(a.right_m for a in actions), sum(a.up_m for a in actions), sum(a.forward_m for a in actions),
        sum(a.yaw_rad for a in actions), sum(a.pitch_rad for a in actions), prompt=said[-1] if said else None,
    )  # fmt: skip


def _begun(world: World, route: Route) -> Rollout:
    """A rollout that has walked to where the clip begins: nowhere yet, or through the frames before it."""
    rollout = world.rollout()
    if not isinstance(rollout, Rollout):
        raise ValueError(f"{world.name} can neither go on from a video nor be led to a last picture; choose another")
    rollout.reset(route.seed, route.prompts[0], None if route.before else route.first)
    for picture in route.before:
        rollout.follow(rollout.encoded(picture), route.led)
    return rollout


def _latents(rollout: Rollout, route: Route, indices: Sequence[int]) -> Iterator[Tensor]:
    """The clean latents of a walk forward."""
    prompt = route.prompts[0]
    for i in indices:
        for _ in rollout.step(route.action(i, prompt), decode=False):
            pass
        prompt = route.prompts[i]
        yield rollout.newest


def undone(action: Action) -> Action:
    """The motion back."""
    return Action(-action.right_m, -action.up_m, -action.forward_m, -action.yaw_rad, -action.pitch_rad)


def _back(world: World, route: Route, until: int) -> Iterator[tuple[int, Rollout]]:
    """The walk from the last frame back to frame `until`: (the frame's index, the rollout that has just drawn it)."""
    rollout, end = world.rollout(), len(route) - 1
    if not isinstance(rollout, Rollout):
        raise ValueError(f"{world.name} can neither go on from a video nor be led to a last picture; choose another")
    assert route.last is not None
    rollout.reset(route.seed, route.endings[end], route.last)
    rollout.tilt(sum(a.pitch_rad for a in route.actions))
    for i in range(end, until - 1, -1):
        action = Action()
        if i < end:
            words = route.endings[i] if route.endings[i] != route.endings[i + 1] else None
            action = _worded(undone(route.actions[i + 1]), words)
        for _ in rollout.step(action, decode=False):
            pass
        yield i, rollout


def _worded(action: Action, prompt: str | None) -> Action:
    return Action(action.right_m, action.up_m, action.forward_m, action.yaw_rad, action.pitch_rad, prompt=prompt)


def _backwards(world: World, route: Route) -> Iterator[Walked]:
    """With a last keyframe alone."""
    count, kept = len(route), list[Tensor]()
    for i, rollout in _back(world, route, 0):
        kept.append(rollout.newest)
        done = count - i
        yield Walked(kept[-1] if done % GLANCE == 1 else None, False, done, count)
    for latent in reversed(kept):
        yield Walked(latent, True, count, count)


def meeting(count: int) -> tuple[int, int]:
    """(first, end): the frames in which two walks of a clip of `count` frames fade into each other."""
    length = max(1, min(MOST_MEETING, round(MEETING_SHARE * count)))
    first = (count - length) // 2
    return first, first + length


def _met(world: World, route: Route) -> Iterator[Walked]:
    """With both keyframes: ahead to the meeting, all of the way back from the end, then through the meeting."""
    count = len(route)
    first, end = meeting(count)
    of = count + end - first
    ahead = _begun(world, route)
    for i, latent in enumerate(_latents(ahead, route, range(first))):
        yield Walked(latent, True, i + 1, of)
    kept: dict[int, Tensor] = {}
    for i, back in _back(world, route, first):
        kept[i] = back.newest
        done = first + count - i
        yield Walked(kept[i] if (count - i) % GLANCE == 1 else None, False, done, of)
    for i, latent in zip(range(first, end), _latents(ahead, route, range(first, end)), strict=True):
        share = passed_over((i - first + 1) / (end - first + 1))
        yield Walked(latent + share * (kept[i] - latent), True, count + i - first + 1, of)
    for i in range(end, count):
        yield Walked(kept[i], True, of, of)


def passed_over(x: float, ease: float = 0.15) -> float:
    """0 to 1, as evenly as can be but for the ends: no frame changes much more than the others."""
    top = 1.0 / (1.0 - ease)
    if x < ease:
        return 0.5 * top / ease * x * x
    return 1.0 - passed_over(1.0 - x, ease) if x > 1.0 - ease else top * (x - 0.5 * ease)


def faded(x: float) -> float:
    """0 to 1, gently at both ends."""
    return x * x * (3.0 - 2.0 * x)
