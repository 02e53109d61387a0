"""What is heard in a clip: effects for what it shows, chosen while it is drawn, and the sound of a video before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...avatars.audio.muxing import with_sound
from ...avatars.audio.sightings import Watched, watched
from ...avatars.audio.soundtrack import NothingSeen, sound_of
from ...avatars.audio.spectral import resampled
from ...worlds.clips import ClipPlan
from ...worlds.judge import load_judge
from ...worlds.media.sound import Sound
from ...worlds.weights import SHIPPED
from .contract import JobOrder, Output

Picture = NDArray[np.uint8]


def watching(world: Any, frames: Iterator[Picture]) -> Watched:
    """What the new frames show. Raises ValueError where the world has no viewer."""
    return watched(frames, world.fps, world.viewer(), load_judge(SHIPPED), (world.width_px, world.height_px))


def heard(seen: Watched, prompt: str, seed: int) -> tuple[Sound | None, tuple[str, ...], tuple[str, ...]]:
    """(the sound, the names of its effects, notes)."""
    try:
        made = sound_of(seen, prompt, seed)
    except NothingSeen as error:
        return None, (), (f"the clip is silent: {error}",)
    return made.sound, made.effects, made.notes


def after(plan: ClipPlan, fps: float, new: Sound | None) -> Sound | None:
    """The whole file's sound: the video's own, where it stands before the new part, then `new` or silence."""
    if plan.ending is None or not plan.joined:
        return new
    own, begin_s = plan.ending.video.sound, plan.ending.count / fps
    if own is None and new is None:
        return None
    rate_hz = own.rate_hz if new is None and own is not None else 48_000
    out = np.zeros((2, round(rate_hz * plan.frames / fps)), np.float32)
    for sound, at_s in ((own.between(0.0, begin_s) if own is not None else None, 0.0), (new, begin_s)):
        if sound is None:
            continue
        channels = np.broadcast_to(sound.samples[:2], (2, sound.samples.shape[1]))
        fitting = np.stack([resampled(channel.astype(np.float64), sound.rate_hz, rate_hz) for channel in channels])
        begin = round(at_s * rate_hz)
        part = fitting[:, : out.shape[1] - begin]
        out[:, begin : begin + part.shape[1]] = part
    return Sound(out, rate_hz)


def laid_under(order: JobOrder, film: Output, sound: Sound) -> Output:
    """The film with its sound, in place of the one without."""
    path, media_type = with_sound(film.path, sound, order.folder / "heard")
    film.path.unlink()
    return Output(path.rename(film.path.with_suffix(path.suffix)), media_type)
