"""Which engine draws an embedded world on this machine: timed for about a second, printed, kept in a small file."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from . import engines
from .autoencoder import Decoder
from .engines import Engine, build, example_inputs, example_look
from .machine import cpu_name, model_threads
from .network import WorldNetwork


@dataclass(frozen=True, slots=True)
class Timing:
    """Median milliseconds of one look, one pass and one decode."""

    look_ms: float
    step_ms: float
    decode_ms: float

    def frame_ms(self, steps: int) -> float:
        return self.look_ms + self.step_ms * steps + self.decode_ms


def time_engine(engine: Engine, network: WorldNetwork, repeats: int = 12) -> Timing:
    """Median of `repeats` runs after a warm-up."""
    example, seen = example_inputs(network), example_look(network)
    latents = example[0][:, 0]
    calls: dict[str, Callable[[], object]] = {
        "look": lambda: engine.look(seen),
        "step": lambda: engine.step(example),
        "decode": lambda: engine.decode(latents),
    }
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(repeats + 3):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if i >= 3:
                spent[name].append(time.perf_counter() - started)
    return Timing(*(1e3 * sorted(s)[len(s) // 2] for s in spent.values()))


def choose(
    network: WorldNetwork, decoder: Decoder, steps: int, cache: Path | None, threads: int | None = None, key: str = ""
) -> Engine:
    """The fastest engine here, by a short benchmark that is printed, and kept in the JSON file `cache`."""
    threads = threads or model_threads()
    machine = f"{platform.machine()} {cpu_name()} x{threads} torch {torch.__version__} {key}"
    known = _read(cache)
    if isinstance(kept := known.get(machine), str) and kept in engines.ENGINES:
        try:
            return build(kept, network, decoder, threads)
        except (ImportError, RuntimeError) as error:
            _say(f"engine {kept}: chosen before, not here now ({error})")
    built: dict[str, tuple[Engine, Timing]] = {}
    for name in engines.ENGINES:
        try:
            engine = build(name, network, decoder, threads)
        except (ImportError, RuntimeError) as error:
            _say(f"engine {name}: not here ({error})")
            continue
        built[name] = (engine, time_engine(engine, network))
        timing = built[name][1]
        _say(
            f"engine {engine.name}: {timing.look_ms:.1f} ms to look, {timing.step_ms:.1f} ms a pass, "
            f"{timing.decode_ms:.1f} ms to decode, "
            f"{timing.frame_ms(steps):.1f} ms a frame at {steps} steps"
        )
    best = min(built, key=lambda name: built[name][1].frame_ms(steps))
    torch.set_num_threads(built[best][0].torch_threads)  # the others have set theirs
    _say(f"engine chosen: {built[best][0].name}, {threads} threads")
    if cache is not None:
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            cache.write_text(json.dumps({**known, machine: best}, indent=1))
        except OSError as error:
            _say(f"the choice cannot be kept in {cache} ({error.strerror}); it will be timed again next time")
    return built[best][0]


def _say(line: str) -> None:
    print(line)  # noqa: T201  a person started this program and waits for it


def _read(cache: Path | None) -> dict[str, Any]:
    try:
        kept = json.loads(cache.read_text()) if cache is not None else {}
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
