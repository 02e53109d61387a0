"""What `quality.py` measured, as figures with their targets; the targets are those of issue 3 and its reference."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.report import Figure, at_least, at_most, between
from worldstream.worlds.training.evaluate import COMMANDS
from worldstream.worlds.training.likeness import Reading, Readings

Values = dict[str, float]

AT_LEAST = {
    "rollout of 16, seen: PSNR": 22.0,
    "rollout of 64, seen: PSNR": 18.0,
    "360° turn: PSNR of the start view on return": 20.0,
    "360° turn: gain of memory": 4.0,
    "10 m out and back: PSNR of the start view on return": 20.0,
    "10 m out and back: gain of memory": 4.0,
    "drift over 3000 frames: theme kept, worst 500 frames": 0.95,
    "prompt adherence, first frame: theme": 0.90,
    "prompt adherence, first frame: time": 0.85,
    "prompt adherence, first frame: weather": 0.80,
    "prompt adherence, frame 100: theme": 0.90,
    "prompt adherence, frame 100: time": 0.85,
    "prompt adherence, frame 100: weather": 0.80,
    "correlation of commanded and measured motion, yaw": 0.95,
}
AT_MOST = {
    "90° turn, what it reveals: Fréchet distance, share of reconstructions'": 2.0,
    "drift over 3000 frames: colour shift, worst 500 frames": 0.05,
    "drift over 3000 frames: Fréchet distance, last span over first": 2.0,
    "geometry of turns: disagreement of overlapping frames, share of the ceiling": 2.0,
    "clips of 16 frames: Fréchet distance, share of true clips'": 5.0,
}
BETWEEN = {
    "90° turn, what it reveals: sharpness": (0.85, 1.15),
    "drift over 3000 frames: sharpness, worst 500 frames": (0.8, 1.25),
}
PROMISED = {*AT_LEAST, *AT_MOST, *BETWEEN}
MOST_MB = 45.0


def plain(name: str, value: float, unit: str = "") -> Figure:
    """A figure that promises nothing."""
    return Figure(name, value, unit)


def beside(
    figure: Figure, ceiling: float | None = None, copy_last: float | None = None, memory_off: float | None = None
) -> Figure:
    """With what it is held against."""
    return replace(figure, ceiling=ceiling, copy_last=copy_last, memory_off=memory_off)


def figure(name: str, r: Reading) -> Figure:
    """A reading, with the target of its name if it has one."""
    if name in AT_LEAST:
        bare = at_least(name, r.value, r.unit, AT_LEAST[name])
    elif name in AT_MOST:
        bare = at_most(name, r.value, r.unit, AT_MOST[name])
    elif name in BETWEEN:
        bare = between(name, r.value, r.unit, *BETWEEN[name])
    else:
        bare = plain(name, r.value, r.unit)
    return beside(bare, r.ceiling, r.copy_last, r.memory_off)


def reading_figures(readings: Readings) -> list[Figure]:
    """As they come; a share that divides by nothing (NaN) was not measured and is left out."""
    return [figure(name, r) for name, r in readings.items() if r.value == r.value]


def one_step_figures(v: Values) -> list[Figure]:
    """The next frame from true context, in dB."""
    out = []
    for key, name, over in (("turn", "turning", 5.0), ("walk", "walking", 3.0)):
        model, ceiling, copy = v[f"model {key}"], v[f"ceiling {key}"], v[f"copy {key}"]
        out.append(beside(at_least(f"one-step PSNR, {name}", model, "dB", 27.0), ceiling, copy))
        gain = at_least(f"one-step PSNR over copying the last frame, {name}", model - copy, "dB", over)
        out.append(beside(gain, ceiling - copy, 0.0))
        sharp = plain(f"one-step sharpness, share of reconstructed truth, {name}", v[f"sharpness {key}"])
        out.append(beside(sharp, 1.0, v[f"copy sharpness {key}"]))
    out.append(beside(plain("one-step PSNR, all", v["model all"], "dB"), v["ceiling all"], v["copy all"]))
    out.append(at_least("action sensitivity: loss with shuffled over true actions", v["sensitivity"], "", 1.5))
    return out


def command_figures(v: Values) -> list[Figure]:
    """Whether the world moves as told."""
    figures = [beside(at_least("action sign accuracy, mean", v["mean"], "", 0.95), v["mean ceiling"])]
    figures += [
        beside(at_least(f"action sign accuracy, {name}", v[name], "", 0.95), v[f"{name} ceiling"]) for name in COMMANDS
    ]
    for name in COMMANDS:
        raw, truth = v[f"{name} slope"], v[f"{name} slope ceiling"]
        # the judge reads less than the true motion in true pictures too: the share is what the model adds to that
        share = between(
            f"slope of motion, share of what the judge reads in the truth, {name}", raw / truth, "", 0.85, 1.15
        )
        figures.append(beside(share, 1.0))
        figures.append(beside(plain(f"slope of motion as the judge reads it, {name}", raw), truth))
    return figures


def walk_figures(v: Values) -> list[Figure]:
    """300 frames of a commanded walk."""
    figures = []
    if "sharpness 50-300" in v:  # the quick form walks less far
        name = "sharpness over frames 50-300, share of reconstructed truth"
        figures.append(beside(at_least(name, v["sharpness 50-300"], "", 0.7), 1.0))
    names = [k for k in v if k not in ("sharpness 50-300",)]
    return figures + [plain(f"300-frame walk, {k}", v[k]) for k in names]


def tokenizer_figures(v: Values) -> list[Figure]:
    """Unseen renders through the tokenizer, at the size that a person sees."""
    return [
        at_least("tokenizer PSNR", v["psnr"], "dB", 30.0),
        at_least("tokenizer SSIM", v["ssim"], "", 0.90),
        plain("tokenizer sharpness, share of the render", v["edges"]),
    ]


def judge_figures(v: Values) -> list[Figure]:
    """The judge on true pairs: it must be proved before it may measure."""
    out = []
    for key, value in v.items():
        name = f"judge on true renders, {key}"
        if key == "theme":
            out.append(at_least(name, value, "", 0.98))
        elif key.startswith("sign_"):
            out.append(at_least(name, value, "", 0.99))
        else:
            out.append(plain(name, value))
    return out
