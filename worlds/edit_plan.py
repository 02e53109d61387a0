"""From what is asked to the frames: which edit it is, what it needs, and the loop over the source's frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from .clip_pictures import Window
from .clip_words import TAG, with_references
from .clips import references
from .edit_drawn import Background, Replace, enlarged
from .edit_extend import extended
from .edit_grid import ColourGrid
from .edit_keyframes import Guided, Known, known, moments
from .edit_look import Look
from .edit_masks import Mask, Picture, feathered, green, laid, masks
from .edit_plate import Counts, Plate, Sample, around, moving, spread
from .edit_redraw import Effect, Redraw, seen_in
from .edit_shape import shaped
from .edit_shots import Motion
from .edit_walks import LEAST_SHOWN, back_at_start, led_to, moves, shown_share, watched
from .edit_words import Wish, wish
from .edits import Edit, EditRefused, EditRequest, Source, Survey, collected, decided, shots_of
from .judge import Judge
from .media.pictures import read_picture
from .media.scaling import fitted
from .weights import LoadedWorld

SAMPLES_IN_ALL = 32  # frames of a film that are kept at full size to look behind things


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
    request = decided(request)
    if request.operation == "extend":
        return shaped(extended(bench.world, source, seen, request), request)
    request, said = spoken(bench.world, request)
    edit = _by_operation(bench, source, seen, request)
    return replace(edit, notes=(*said, *edit.notes)) if said else edit


def spoken(world: LoadedWorld, request: EditRequest) -> tuple[EditRequest, tuple[str, ...]]:
    """With what the world sees in the references in place of their `@tag` words, and what a person should know."""
    if not request.references and not TAG.search(request.prompt):
        return request, ()
    notes: list[str] = []
    whole = Window(0, 0, world.width_px, world.height_px)
    prompt = with_references(request.prompt, references(world, request.references, whole, notes), notes, True)
    if not TAG.search(request.prompt) and request.operation != "background":
        notes.append("the prompt speaks of no reference by its @tag: references are left out")
    return replace(request, prompt=prompt), tuple(dict.fromkeys(notes))


def _by_operation(bench: Bench, source: Source, seen: Survey, request: EditRequest) -> Edit:
    operation = request.operation
    if operation == "angle":
        return shaped(_angle(bench, source, seen, request), request)
    if operation in ("remove", "clean_plate"):
        return shaped(_plated(source, seen, request), request)
    return shaped(_changed(bench, source, seen, request), request)


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
        shown = next((read_picture(reference.file) for reference in request.references), None)
        first = None if shown is None else fitted(shown, *_world_size(bench))
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
