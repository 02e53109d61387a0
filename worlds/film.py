"""A walk without a walker: a camera path or a recorded session, drawn as fast as the machine can, to an MP4 file."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from . import action_log
from .action_log import ActionLog, ActionLogError, LogHeader
from .camera_moves import Rig, compiled
from .camera_text import parse
from .first_image import FirstImage, read_file
from .log_image import kept_image, to_text
from .weights import LoadedWorld, WorldCard

MOST_SECONDS = 3600.0


def opened(world: LoadedWorld, path: Path | None) -> FirstImage | None:
    """The picture in a file, at the world's size; None for None. Raises ImageError that names the file, or OSError."""
    return None if path is None else read_file(path, world.width_px, world.height_px)


def rig(world: LoadedWorld) -> Rig:
    """What the camera of an embedded world can do: walk and look."""
    return Rig(world.max_step_m, world.max_turn_rad, world.config.max_pitch_rad)


def scripted(
    world: LoadedWorld, prompt: str, camera: str, seconds: float, seed: int, image: FirstImage | None = None
) -> ActionLog:
    """The log of a film: a prompt and a camera text, `seconds` long, from a picture where there is one.

    Without words, the picture's caption is the prompt. Raises ValueError on what cannot be compiled.
    """
    if not 0.0 < seconds <= MOST_SECONDS:
        raise ValueError(f"a film is between 0 and {MOST_SECONDS:g} s long, got {seconds:g}")
    script = parse(camera, seconds)
    track = compiled(script.moves, seconds, world.fps, rig(world), seed)
    notes = script.notes + track.notes
    if image is not None:
        prompt, seen = looked_at(world, image, prompt)
        notes = seen + notes
    return ActionLog(header(world, prompt, seed, image), track.actions, notes)


def looked_at(world: LoadedWorld, image: FirstImage, prompt: str) -> tuple[str, tuple[str, ...]]:
    """(the prompt, or the picture's caption where it is empty; what a person should know about the picture)."""
    try:
        sight = world.viewer().look(image.rgb)
    except ValueError as error:
        if not prompt.strip():
            raise ValueError(f"there are no words, and the picture cannot be captioned: {error}") from error
        return prompt, (*image.notes, f"nobody looked at the picture: {error}")
    notes = [*image.notes, f"the picture looks like: {sight.caption} (theme {sight.confidence:.0%} sure)"]
    if not sight.familiar:
        notes.append(
            f"the picture is far from what {world.name} knows (distance {sight.distance:.2f}, above 1 is far): "
            "expect the world to leave it behind within seconds"
        )
    return prompt if prompt.strip() else sight.caption, tuple(notes)


def header(world: LoadedWorld, prompt: str, seed: int, image: FirstImage | None = None) -> LogHeader:
    """Of a session in this world, as it would be written now."""
    return LogHeader(
        world.name, world.sha256, world.engine, world.steps, world.fps, seed, prompt,
        image_sha256=None if image is None else image.sha256, image_png=None if image is None else to_text(image.rgb),
    )  # fmt: skip


def fitting_image(world: LoadedWorld, log: ActionLog, image: FirstImage | None) -> FirstImage | None:
    """The picture that a log is replayed from: the one that it holds, or else `image`.

    Raises ActionLogError when there is none, when it is another one, or when none is wanted.
    """
    wanted, image = log.header.image_sha256, image or kept_image(log.header, world)
    if wanted is None:
        if image is not None:
            raise ActionLogError("the log's world began from words, not from a picture; leave --image out")
        return None
    if image is None:
        raise ActionLogError(f"the log's world began from a picture ({wanted[:12]}); give its file with --image")
    if image.sha256 != wanted:
        raise ActionLogError(f"the log's world began from another picture ({wanted[:12]}, this is {image.sha256[:12]})")
    return image


def check(log: ActionLog, card: WorldCard, anyway: bool = False) -> None:
    """Before a world is loaded: raises ActionLogError when the log was made with other weights, unless `anyway`."""
    if log.header.sha256 not in (card.identity, card.without_painter().identity) and not anyway:
        said = _other_weights(log, card)
        raise ActionLogError(f"{said}; restore those weights, or ask for it anyway to see other pictures")


def _other_weights(log: ActionLog, card: WorldCard) -> str:
    made_with = f"{log.header.world[:80]} {log.header.sha256[:12]}"
    return f"the log was made with {made_with}, this is {card.name} {card.identity[:12]}"


def fitting(world: LoadedWorld, log: ActionLog, anyway: bool = False) -> tuple[LoadedWorld, tuple[str, ...]]:
    """(the world at the log's number of steps, what will differ from the session).

    Raises ActionLogError when the log was made with other weights, unless `anyway`.
    """
    check(log, world.card, anyway)
    notes = list(log.notes)
    if log.header.sha256 != world.sha256 and log.header.sha256 == world.card.sha256:
        world = world.without_painter()  # the log is older than the painter: it began as it begins without one
    if log.header.sha256 != world.sha256:
        notes.append(f"{_other_weights(log, world.card)}: the pictures differ")
    elif log.header.engine != world.engine:
        notes.append(f"the log was made on {log.header.engine}, this is {world.engine}: pictures may differ in places")
    if log.header.steps in world.step_choices:
        world = world.with_steps(log.header.steps)
    else:
        notes.append(f"the log was made at {log.header.steps} steps, this world runs at {world.steps}")
    strange = sorted({steps for _, steps in log.changes} - set(world.step_choices))
    if strange:
        notes.append(f"parts of the log were made at {strange} steps, which this world does not run at")
    return world, tuple(notes)


def frames(world: LoadedWorld, log: ActionLog, image: FirstImage | None = None) -> Iterator[NDArray[np.uint8]]:
    """Every frame of the session, `uint8[H, W, 3]`. Raises ActionLogError as `fitting_image`."""
    begun = fitting_image(world, log, image)
    rollout = world.rollout()
    rollout.reset(log.header.seed, log.header.prompt, None if begun is None else begun.rgb)
    for action, steps in action_log.stepped(log):
        if steps != world.steps and steps in world.step_choices:
            state, world = rollout.snapshot(), world.with_steps(steps)
            rollout = world.rollout()
            rollout.restore(state)
        for frame in rollout.step(action):
            yield frame.rgb


def write_mp4(path: Path, pictures: Iterator[NDArray[np.uint8]], fps: float, crf: int = 16) -> int:
    """Write an H.264 film, whole or not at all; returns the number of frames.

    Raises ValueError where there are no frames, or no folder to write to.
    """
    if not path.parent.is_dir():
        raise ValueError(f"{path} cannot be written: there is no folder {path.parent}; make it first")
    temporary = path.with_name(path.name + ".part")
    count = 0
    try:
        # bit-exact: no date in it, so that a replay is the same file
        with av.open(str(temporary), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
            stream.pix_fmt = "yuv420p"
            # without macroblock trees: x264's read memory that nobody wrote, and one film in twelve came out different
            stream.options = {"crf": str(crf), "preset": "medium", "mbtree": "0"}
            for rgb in pictures:
                if not count:
                    stream.height, stream.width = rgb.shape[:2]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
                count += 1
            if not count:
                raise ValueError("the log holds no frames")
            container.mux(stream.encode(None))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def replay(
    world: LoadedWorld, log: ActionLog, out: Path, anyway: bool = False, image: FirstImage | None = None
) -> tuple[int, tuple[str, ...]]:
    """Draw a recorded session to a file; (frames, what differs from the session). `check` the log before loading."""
    world, notes = fitting(world, log, anyway)
    return write_mp4(out, frames(world, log, image), log.header.fps), notes


def shoot(world: LoadedWorld, log: ActionLog, out: Path, keep: Path | None, image: FirstImage | None = None) -> int:
    """Draw a scripted film, and keep its log where asked."""
    if keep is not None:
        action_log.write(keep, log.header, log.actions)
    return write_mp4(out, frames(world, log, image), world.fps)
