"""`worldstream train STAGE`: the stages in order, each resumable by the same command.

data → judge → tokenizer → encode → dynamics → refine → distil, decoder → export → drift, familiarity →
look, painter → evaluate → recordings
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

STAGES = (
    "data", "judge", "tokenizer", "encode", "dynamics", "refine", "distil", "decoder", "export", "drift", "familiarity",
    "look", "painter", "evaluate",
    "recordings",
)  # fmt: skip
MINUTES = {
    "judge": 12.0,
    "dynamics": 100.0,
    "refine": 30.0,
    "distil": 30.0,
    "decoder": 30.0,
    "look": 35.0,
    "painter": 60.0,
}


@dataclass(frozen=True, slots=True)
class Request:
    """The command line, checked."""

    stage: str
    runs: Path
    preset: str
    minutes: float
    processes: int
    episodes: int
    stills: int
    start_from: Path | None
    out: Path | None
    device: str = "cpu"
    views: int = 20_480

    @property
    def data(self) -> Path:
        return self.runs / "data"

    @property
    def test(self) -> Path:
        return self.runs / "test"


def parse(argv: Sequence[str]) -> Request:
    """Exits with a message on bad arguments."""
    from ..config import PRESETS
    from ..machine import model_threads

    parser = argparse.ArgumentParser(
        "worldstream train", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--runs", type=Path, default=Path("runs/nano"), help="folder of data, checkpoints, sheets")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="nano")
    parser.add_argument("--minutes", type=float, help="training time of the stage, over all resumptions")
    parser.add_argument("--processes", type=int, default=model_threads(), help="one thread each")
    parser.add_argument("--episodes", type=int, default=2048, help="walks to render (data)")
    parser.add_argument("--stills", type=int, default=16_384, help="stills to render (data)")
    parser.add_argument("--views", type=int, default=20_480, help="first views to render (painter)")
    parser.add_argument("--start-from", type=Path, help="checkpoint or shipped world to go on from")
    parser.add_argument("--out", type=Path, help="folder of the exported world, or JSON of the evaluation")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where data, dynamics and decoder are made"
    )
    a = parser.parse_args(list(argv))
    if a.processes < 1 or (a.minutes is not None and not a.minutes > 0):
        parser.error("--processes and --minutes must be positive")
    if a.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            parser.error("--device cuda: torch finds no CUDA device on this machine")
        a.processes = 1
    minutes = MINUTES.get(a.stage, 0.0) if a.minutes is None else a.minutes
    return Request(
        a.stage, a.runs, a.preset, minutes, a.processes, a.episodes, a.stills, a.start_from, a.out, a.device, a.views
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one stage; returns the exit code. Errors of the operator's are one line."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    request = parse(sys.argv[1:] if argv is None else argv)
    request.runs.mkdir(parents=True, exist_ok=True)
    stages: dict[str, Callable[[Request], None]] = {
        "data": _data, "judge": _judge, "tokenizer": _tokenizer, "encode": _encode, "dynamics": _dynamics,
        "refine": _refine,
        "distil": _distil, "decoder": _decoder, "export": _export, "drift": _drift, "familiarity": _familiarity,
        "look": _look, "painter": _painter, "evaluate": _evaluate, "recordings": _recordings,
    }  # fmt: skip
    try:
        require(request)
        stages[request.stage](request)
    except (ValueError, FileNotFoundError) as error:
        print(f"worldstream train {request.stage}: {error}", file=sys.stderr)
        return 2
    return 0


def require(r: Request) -> None:
    """Raises ValueError when an input of the stage is missing: in one line, before any process starts."""
    walks, stills = (r.data / "walks", "data"), (r.data / "stills", "data")
    latents, tokenizer = (r.data / "latents.npy", "encode"), (r.runs / "tokenizer.pt", "tokenizer")
    inputs = {
        "judge": [walks, (r.test / "walks", "data")],
        "tokenizer": [] if r.start_from is not None else [stills, (r.test / "stills", "data")],
        "encode": [walks, tokenizer],
        "dynamics": [walks, latents, tokenizer],
        "refine": [walks, latents, (r.runs / "dynamics.pt", "dynamics")],
        "distil": [walks, latents, (r.runs / "dynamics.pt", "dynamics")],
        "decoder": [stills, (r.test / "stills", "data"), tokenizer],
        "familiarity": [walks, (r.test / "walks", "data")],
    }
    for path, stage in inputs.get(r.stage, []):
        replaced = r.start_from is not None and path.name == "dynamics.pt"
        if not replaced and (not path.exists() or (path.is_dir() and not any(path.iterdir()))):
            raise ValueError(f"{path} is missing: run `worldstream train {stage} --runs {r.runs}` first")
    if r.start_from is not None and not r.start_from.is_file():
        raise ValueError(f"--start-from {r.start_from} is not a file")


def _data(r: Request) -> None:
    from ..autoencoder import UPSCALE
    from ..config import PRESETS
    from .data import DataConfig, render_stills, render_walks, timed

    world = PRESETS[r.preset]
    size = (world.width_px // UPSCALE, world.height_px // UPSCALE)
    for folder, config in (
        (
            r.test,
            DataConfig(*size, test=True, stills=min(512, r.stills), episodes=min(256, r.episodes), device=r.device),
        ),
        (r.data, DataConfig(*size, stills=r.stills, episodes=r.episodes, device=r.device)),
    ):
        timed(f"{folder.name}: stills", render_stills(folder, config), config.stills)
        timed(f"{folder.name}: walks", render_walks(folder, config), config.episodes)


def _judge(r: Request) -> None:
    from .judge import JudgeConfig, train_judge
    from .loop import LoopConfig, launch

    loop = LoopConfig(r.runs, "judge", r.minutes, learning_rate=1e-3, decay_from=0.5)
    launch(train_judge, r.processes, (JudgeConfig(r.data, r.test, loop, start_from=r.start_from),))


def _tokenizer(r: Request) -> None:
    import torch

    from ..config import PRESETS
    from .export import starting_weights
    from .tokenizer import evaluate, fit_tokenizer

    if r.start_from is not None:  # the latents of a shipped world, so that its network can go on
        kept = starting_weights(r.start_from, "autoencoder")
        torch.save({"ema": kept}, r.runs / "tokenizer.pt")
        return
    model = fit_tokenizer(r.data, r.runs / "tokenizer.pt", PRESETS[r.preset].autoencoder)
    print("tokenizer, linear maps alone, unseen worlds:", evaluate(model, r.test))


def _encode(r: Request) -> None:
    from .clips import encode_walks
    from .export import load_tokenizer

    encode_walks(r.data, load_tokenizer(r.runs / "tokenizer.pt", r.preset))


def _dynamics(r: Request) -> None:
    from ..config import PRESETS
    from .dynamics import DynamicsConfig, train_dynamics
    from .loop import LoopConfig, launch

    loop = LoopConfig(r.runs, "dynamics", r.minutes, device=r.device, learning_rate=1e-3, matrix_rate=0.01)
    config = DynamicsConfig(r.data, loop, PRESETS[r.preset], r.start_from, r.runs / "tokenizer.pt")
    launch(train_dynamics, r.processes, (config,))


def _refine(r: Request) -> None:
    """More of the closed loop, from finished dynamics, at a lower rate."""
    from ..config import PRESETS
    from .dynamics import DynamicsConfig, train_dynamics
    from .loop import LoopConfig, launch

    loop = LoopConfig(
        r.runs,
        "refine",
        r.minutes,
        device=r.device,
        learning_rate=6e-4,
        matrix_rate=0.007,
        decay_from=0.5,
        warmup_steps=20,
        ema=0.995,
    )
    start = r.start_from or r.runs / "dynamics.pt"
    config = DynamicsConfig(r.data, loop, PRESETS[r.preset], start, closed_from=0.0, closed_turns=(0, 2, 4, 6))
    launch(train_dynamics, r.processes, (config,))


def _distil(r: Request) -> None:
    from ..config import PRESETS
    from .distil import DistilConfig, train_distil
    from .loop import LoopConfig, launch

    loop = LoopConfig(
        r.runs, "distil", r.minutes, device=r.device, learning_rate=3e-4, matrix_rate=0.003, decay_from=0.4
    )
    teacher = r.start_from or r.runs / "dynamics.pt"
    launch(train_distil, r.processes, (DistilConfig(r.data, loop, PRESETS[r.preset], teacher),))


def _decoder(r: Request) -> None:
    from ..config import PRESETS
    from .loop import LoopConfig, launch
    from .tokenizer import DecoderConfig, train_decoder

    loop = LoopConfig(
        r.runs, "decoder", r.minutes, device=r.device, learning_rate=1e-3, weight_decay=0.0, decay_from=0.5
    )
    shapes = PRESETS[r.preset].autoencoder
    launch(train_decoder, r.processes, (DecoderConfig(r.data, r.test, loop, r.runs / "tokenizer.pt", shapes),))


def _export(r: Request) -> None:
    from .export import export_world

    card = export_world(r.runs, r.preset, r.out)
    print(f"wrote {card.weights} ({card.weights.stat().st_size / 1e6:.1f} MB) and {card.path}")


def _drift(r: Request) -> None:
    from .drift import measure_drift

    measure_drift(r.out)


def _familiarity(r: Request) -> None:
    """Of the shipped world, or of the one in the folder `--out`."""
    from .familiarity import make_familiarity

    path, rates = make_familiarity(r.data, r.test, r.preset, r.out)
    for name, rate in rates.items():
        print(f"{name:28} called far: {100 * rate:5.1f} %")
    print(f"wrote {path} ({path.stat().st_size / 1e3:.0f} kB)")


def _look(r: Request) -> None:
    from ..weights import SHIPPED
    from .look import train_look

    begun = None if r.start_from is None else r.start_from.parent
    out = r.out or SHIPPED
    out.mkdir(parents=True, exist_ok=True)
    print("looks:", train_look(r.runs, out, r.minutes, start_from=begun))


def _painter(r: Request) -> None:
    """Of the shipped world, or of the one in the folder `--out`."""
    from ..weights import SHIPPED, WorldCard
    from .painter import make_painter

    card = WorldCard.read((r.out or SHIPPED) / f"{r.preset}.json")
    made = make_painter(r.runs, card, r.minutes, r.processes, r.views)
    print(f"wrote {made.painter_weights} ({made.painter_weights.stat().st_size / 1e6:.1f} MB)")


def _evaluate(r: Request) -> None:
    from .evaluate import evaluate_world

    evaluate_world(r.runs, r.preset, r.out)


def _recordings(r: Request) -> None:
    from .recordings import write_recordings

    folder = r.out or Path("clients/browser/recordings")
    written = write_recordings(folder, Path("docs/world.png"))
    print(f"wrote {len(written)} recordings to {folder} and the sheet docs/world.png")
