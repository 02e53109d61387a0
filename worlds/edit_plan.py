"""From what is asked to the frames: which edit it is, what it needs, and the loop over the source's frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from .core import Action
from .edit_drawn import Background, Replace, enlarged
from .edit_grid import ColourGrid
from .edit_keyframes import Guided, Known, known, moments
from .edit_look import Look
from .edit_masks import Mask, Picture, feathered, green, laid, masks
from .edit_plate import Counts, Plate, Sample, around, moving, spread
from .edit_redraw import Effect, Redraw, seen_in, sized
from .edit_shots import Motion
from .edit_walks import LEAST_SHOWN, back_at_start, led_to, moves, onward, shown_share, watched
from .edit_words import Wish, operation_of, wish
from .edits import Edit, EditRefused, EditRequest, Source, Survey, aspect_size, collected, shots_of
from .judge import Judge
from .media.scaling import cropped, fitted
from .weights import LoadedWorld

SAMPLES_IN_ALL = 32  # frames of a film that are kept at full size to look behind things
EXTEND_S = 3.0


@dataclass(frozen=True, slots=True)
class Bench:
    """What edits with an embedded world work with. `look` None: the world model alone."""

    world: LoadedWorld
    judge: Judge
    look: Look | None

    def motion(self) -> Motion:
        return Motion(self.judge)


def edited(bench: Bench, source: Source, seen: Survey, request: EditRequest) -> Edit:
    """The edit that is asked for. Raises ValueError on what cannot be; EditRefused where something is missing."""
    operation = request.operation or operation_of(request.prompt)
    if operation in ("remove", "replace") and request.mask is None:
        raise EditRefused(f"to {operation} something, give a mask that is white where it is: words cannot find it here")
    if operation in ("green", "background") and request.mask is None:
        raise EditRefused(
            f"the edit {operation!r} needs a mask that is white where the foreground is: "
            "no model on this machine tells the foreground from the background"
        )
    request = replace(request, operation=operation)
    if operation == "extend":
        return _shaped(_extended(bench, source, seen, request), request)
    if operation == "angle":
        return _shaped(_angle(bench, source, seen, request), request)
    if operation in ("remove", "clean_plate"):
        return _shaped(_plated(source, seen, request), request)
    return _shaped(_changed(bench, source, seen, request), request)


def _edit(source: Source, seen: Survey, operation: str, frames: Iterator[Picture], **more: object) -> Edit:
    return Edit(frames, seen.count, source.width, source.height, operation, **more)  # type: ignore[arg-type]


def _changed(bench: Bench, source: Source, seen: Survey, request: EditRequest) -> Edit:
    """Whole frames, what is inside a mask, or what is behind it."""
    wanted = wish(request.prompt, request.operation)
    size = source.width, source.height
    notes = list(wanted.notes()) if request.prompt.strip() else []
    if request.operation == "green":
        assert request.mask is not None
        mask = masks(request.mask, *size)
        keyed = (green(p, next(mask)) for _, _, _, p in shots_of(source, seen))
        return _edit(source, seen, "green", keyed, facts=lambda: {"green": "#00B140"})
    if request.keyframes:
        return _guided(bench, source, seen, request, wanted, notes)
    if not request.prompt.strip() and request.operation != "background":
        return _edit(source, seen, "aspect", (p for _, _, _, p in shots_of(source, seen)))
    effect, facts = _effect(bench, source, request, wanted)
    masked = request.mask if request.operation in ("", "relight", "restyle") else None
    frames = _through(effect, source, seen, None if masked is None else masks(masked, *size))
    return _edit(source, seen, request.operation or "prompt", frames, facts=facts, notes=tuple(notes))


def _effect(
    bench: Bench, source: Source, request: EditRequest, wanted: Wish
) -> tuple[Effect, Callable[[], dict[str, object]]]:
    size, motion = (source.width, source.height), bench.motion()
    if request.operation == "background":
        assert request.mask is not None
        first = None if request.reference is None else fitted(request.reference, *_world_size(bench))
        behind = Background(bench.world, motion, request.prompt, request.seed, masks(request.mask, *size), first)
        return behind, lambda: {"drawn_px": list(_world_size(bench))}
    if request.operation == "replace":
        assert request.mask is not None
        inside = Replace(bench.world, wanted, request.seed, masks(request.mask, *size), request.strength)
        return inside, lambda: {"prompts": inside.prompts, "drawn_px": list(_world_size(bench))}
    draws = True if request.operation == "restyle" else None
    whole = Redraw(bench.world, bench.look, motion, wanted, request.seed, request.strength, draws=draws)
    by = "the world model, renoised and rolled" if whole.draws else "the network of looks"
    return whole, lambda: {
        "prompts": whole.prompts,
        "drawn_by": by,
        "drawn_px": list(_world_size(bench)),
        "detail": "the source's own, at full size, in new colours",
    }


def _world_size(bench: Bench) -> tuple[int, int]:
    return bench.world.width_px, bench.world.height_px


def _through(effect: Effect, source: Source, seen: Survey, mask: Iterator[Mask] | None) -> Iterator[Picture]:
    """Every frame through an effect; with a mask, inside of it alone."""
    for index, _, begins, picture in shots_of(source, seen):
        if begins:
            effect.begin(picture)
        out = effect.frame(picture, index)
        yield out if mask is None else laid(out, picture, feathered(next(mask)))


def _guided(bench: Bench, source: Source, seen: Survey, request: EditRequest, wanted: Wish, notes: list[str]) -> Edit:
    """Through keyframes; where none reaches, by the prompt, or as it is."""
    fps = float(source.fps)
    by_index = moments(request.keyframes, fps, seen.count)
    shown = collected(source, list(by_index))
    size, spans = (source.width, source.height), seen.spans
    keys: list[Known] = []
    for index, keyframe in sorted(by_index.items()):
        shot = next(i for i, (start, stop) in enumerate(spans) if start <= index < stop)
        if (keyframe.rgb.shape[1], keyframe.rgb.shape[0]) != size:
            notes.append(f"the keyframe at {keyframe.at_s:g} s was brought to {size[0]} x {size[1]}")
        start = keyframe.start_s if keyframe.start_s > 0 else -1e9  # a film's own ends are no place to fade
        end = keyframe.end_s if keyframe.end_s < (seen.count - 1) / fps else 1e9
        whole = replace(keyframe, rgb=fitted(keyframe.rgb, *size), start_s=start, end_s=end)
        keys.append(known(whole, shown[index], index, shot))
    guided = Guided(keys, fps)
    redraw = None
    if request.prompt.strip():
        redraw = Redraw(bench.world, bench.look, bench.motion(), wanted, request.seed, request.strength)

    def frames() -> Iterator[Picture]:
        for index, shot, begins, picture in shots_of(source, seen):
            other: ColourGrid | None = None
            if redraw is not None:
                if begins:
                    redraw.begin(picture)
                other = redraw.grid(picture)
            yield guided.frame(picture, index, shot, other)

    return _edit(
        source, seen, "keyframes", frames(), facts=lambda: {"keyframes_at": [k.index for k in keys]}, notes=tuple(notes)
    )


def _plated(source: Source, seen: Survey, request: EditRequest) -> Edit:
    """Without what is inside the mask; without a mask, without what moves on its own."""
    size, counts = (source.width, source.height), Counts()
    each = max(3, SAMPLES_IN_ALL // len(seen.spans))
    wanted = sorted(i for start, stop in seen.spans for i in spread(start, stop, each))
    mask = None if request.mask is None else masks(request.mask, *size)

    def frames() -> Iterator[Picture]:
        samples = _samples(source, seen, wanted, request)
        plate = Plate([])
        for index, shot, begins, picture in shots_of(source, seen):
            if begins:
                plate = Plate(samples[shot], counts)
            hole = next(mask) if mask is not None else moving(picture, around(samples[shot], index))
            if hole is None:
                raise EditRefused(
                    f"the frames around {index / float(source.fps):.1f} s cannot be laid over each other (the camera "
                    "walks, or too little is to be seen): give a mask that is white where something is to go"
                )
            yield plate.filled(picture, hole, index)

    note = () if mask is not None else ("without a mask, what moves on its own is taken out",)
    return _edit(source, seen, request.operation, frames(), facts=counts.facts, notes=note)


def _samples(source: Source, seen: Survey, wanted: list[int], request: EditRequest) -> list[list[Sample]]:
    """For every shot, some of its frames with what must not be taken from them."""
    size = source.width, source.height
    mask = None if request.mask is None else masks(request.mask, *size)
    out: list[list[Sample]] = [[] for _ in seen.spans]
    for index, shot, _, picture in shots_of(source, seen):
        hole = None if mask is None else next(mask)
        if index in wanted:
            out[shot].append(Sample(index, picture.copy(), np.zeros(size[::-1], np.float32) if hole is None else hole))
    if mask is None:  # what moves in a sample must not be taken from it either
        for shot, samples in enumerate(out):
            found = [moving(s.picture, around(samples, s.index)) for s in samples]
            out[shot] = [replace(s, hole=h) for s, h in zip(samples, found, strict=True) if h is not None]
    return out


def _extended(bench: Bench, source: Source, seen: Survey, request: EditRequest) -> Edit:
    """The source as it is, then what the model draws of what comes next."""
    fps, seconds = float(source.fps), EXTEND_S if request.seconds is None else request.seconds
    more, last = max(1, round(seconds * fps)), seen.shots[-1]
    scripted, notes = (
        (None, ()) if not request.camera else moves(bench.world, request.camera, seconds, fps, request.seed)
    )

    def frames() -> Iterator[Picture]:
        motion, rollout, lately = bench.motion(), bench.world.rollout(), list[Action]()
        picture = None
        for index, _, begins, picture in shots_of(source, seen):
            if index == last:
                caption = seen_in(bench.world, picture)
                rollout.reset(request.seed, request.prompt or caption)
            if begins:
                motion.begin()
            if index >= last:
                action = motion.into(picture)
                rollout.follow(rollout.encoded(sized(bench.world, picture)), action)
                lately = [*lately[-7:], action]
            yield picture
        assert picture is not None
        for action in scripted if scripted is not None else onward(lately, more):
            (frame,) = rollout.step(action)
            yield enlarged(frame.rgb, picture)

    return Edit(
        frames(), seen.count + more, source.width, source.height, "extend",
        lambda: {"extended_frames": more, "drawn_px": list(_world_size(bench))},
        ("what follows the source is drawn by the model and brought to the source's size: softer than the source",
         "the sound ends where the source does", *notes),
    )  # fmt: skip


def _angle(bench: Bench, source: Source, seen: Survey, request: EditRequest) -> Edit:
    """Another walk through the place that the first shot shows, from the memory of what it showed."""
    world, fps = bench.world, float(source.fps)
    end = seen.spans[0][1]
    seconds = end / fps
    if not request.camera.strip():
        raise EditRefused("a new angle needs camera moves, e.g. camera: 'pan left' or 'truck right slowly'")
    actions, notes = moves(world, request.camera, seconds, fps, request.seed)
    first = next(iter(source.frames()))
    prompt = request.prompt or seen_in(world, first)
    walk, begun, state = None, None, None
    for walk in watched(
        world, (p for i, _, _, p in shots_of(source, seen) if i < end), prompt, request.seed, bench.motion()
    ):
        state = walk.rollout.snapshot() if begun is None else state
        begun = walk
    assert walk is not None
    assert state is not None
    views = led_to(walk.cameras[0], actions)
    shares = [shown_share(world, walk.cameras, view) for view in views[:: max(1, len(views) // 16)]]
    if float(np.mean(shares)) < LEAST_SHOWN:
        raise EditRefused(
            f"the video has shown {float(np.mean(shares)):.0%} of what these camera moves would see, less than "
            f"{LEAST_SHOWN:.0%}; ask for a smaller move, or send a video that looks there"
        )
    walk.rollout.restore(back_at_start(state, walk.rollout.snapshot()))
    rollout = walk.rollout

    def frames() -> Iterator[Picture]:
        for action in actions[:end]:
            for frame in rollout.step(action):
                yield enlarged(frame.rgb, first)

    more = ("only the first shot is walked anew",) if len(seen.spans) > 1 else ()
    return Edit(
        frames(), min(end, len(actions)), source.width, source.height, "angle",
        lambda: {"shown_before": round(float(np.mean(shares)), 3), "drawn_px": list(_world_size(bench))},
        ("drawn by the model from its memory of the place and brought to the source's size: soft", *notes, *more),
    )  # fmt: skip


def _shaped(edit: Edit, request: EditRequest) -> Edit:
    """In another shape, where one is asked for: cropped around the middle, or with more at the sides."""
    if not request.aspect:
        return edit
    width, height = aspect_size(request.aspect, edit.width, edit.height, request.outpaint)
    if (width, height) == (edit.width, edit.height):
        return replace(edit, notes=(*edit.notes, f"the video is {request.aspect} already"))
    facts, counts = edit.facts, Counts()
    if not request.outpaint:
        frames = (np.ascontiguousarray(_cropped(p, width, height)) for p in edit.frames)
        return replace(
            edit, frames=frames, width=width, height=height, facts=lambda: {**facts(), "aspect": "cropped"},
            notes=(*edit.notes, f"cropped around the middle to {width} x {height}"),
        )  # fmt: skip
    return replace(
        edit, frames=_outpainted(edit.frames, width, height, counts), width=width, height=height,
        facts=lambda: {**facts(), "aspect": "outpainted", **counts.facts()},
        notes=(
            *edit.notes,
            f"{width} x {height}: the sides are from earlier frames where they showed them, else painted from the edge",
        ),
    )  # fmt: skip


def _cropped(picture: Picture, width: int, height: int) -> Picture:
    part = cropped(picture, width, height)
    return part if part.shape[:2] == (height, width) else fitted(part, width, height)


def _outpainted(frames: Iterator[Picture], width: int, height: int, counts: Counts) -> Iterator[Picture]:
    """Frames on a larger canvas, its sides from what earlier frames showed there."""
    before: list[Sample] = []
    for index, picture in enumerate(frames):
        top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
        canvas, hole = np.zeros((height, width, 3), np.uint8), np.ones((height, width), np.float32)
        inside = slice(top, top + picture.shape[0]), slice(left, left + picture.shape[1])
        canvas[inside], hole[inside] = picture, 0.0
        plate = Plate(before, counts)
        yield plate.filled(canvas, hole, index)
        if index % 6 == 0:
            before = [*before[-7:], Sample(index, canvas, hole)]
