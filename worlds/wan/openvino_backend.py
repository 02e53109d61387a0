"""OpenVINO for a Wan world on a CPU, or torch with one line that says why not.

    make = openvino_step(OpenVINOOptions(folder=cache), say)  # a MakeStep

A pass is compiled once for a shape and shared by all walks of the process. It is kept on disk as TensorRT's engines are
(`engine_files`): for a CPU, version, graph and set of weights, and never loaded where one of these differs.

The graph has weights of its own beside torch's, in float32: about twice the memory of a model on a CPU. Where
that is not free, torch draws.
"""

from __future__ import annotations

import json
import logging
import platform
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..engine_files import EngineKey, obtain, sources_hash
from ..engines import OpenVINO, openvino_here
from ..machine import cpu_name, model_threads
from . import action_graph, graph, graph_operators, openvino_graph, pass_graph
from .actions import ActionRows
from .chunk_step import Block, ChunkStep, EagerStep, MakeStep
from .engine_chunk import EngineChunk
from .engine_step import EngineStep
from .live import LivePreset
from .memory import GIB, host_free_bytes
from .openvino_graph import OpenVINOGraph, OpenVINORun, exported, imported
from .pass_graph import ChunkShape, weights_hash, write_chunk
from .transformer import WanTransformer

logger = logging.getLogger(__name__)

Say = Callable[[str], None]
Size = tuple[WanTransformer, LivePreset, int, int, int]
"""What a `MakeStep` is given."""
FILES = tuple(Path(str(m.__file__)) for m in (graph, graph_operators, pass_graph, action_graph, openvino_graph))
MOST_KEPT = 2 << 30  # bytes of weights; a larger pass is compiled anew, which costs less than to read and hash it
COPIES = 2  # of the weights, beside torch's: the graph's, and as the CPU's products want them while it is compiled
TIMED = 3  # passes that count
MOST_SECONDS = 20.0  # that `quicker` takes, but for the pass at hand


@dataclass(frozen=True, slots=True)
class OpenVINOOptions:
    """How passes are compiled."""

    folder: Path | None = None  # where they are kept; None: compiled anew by each process
    name: str = "wan"  # of the world, in file names
    exact: bool = False  # float32 also where the CPU multiplies bfloat16
    find: Callable[[bool], OpenVINO] = openvino_here


@dataclass
class OpenVINOSteps:
    """A `MakeStep`: the steps of new walks by OpenVINO, or by torch (`otherwise`) after one line."""

    options: OpenVINOOptions
    say: Say
    otherwise: MakeStep = EagerStep
    _compiled: dict[ChunkShape, tuple[OpenVINO, Any] | str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(
        self, transformer: WanTransformer, preset: LivePreset, rows: int, columns: int, window: int
    ) -> ChunkStep:
        made = self.engine(transformer, preset, rows, columns, window)
        if isinstance(made, str):
            self.say(f"OpenVINO transformer: {made}; torch draws")
            return self.otherwise(transformer, preset, rows, columns, window)
        return made

    def engine(
        self, transformer: WanTransformer, preset: LivePreset, rows: int, columns: int, window: int
    ) -> EngineStep | str:
        """One walk's step, or one line that says why there is none."""
        try:
            shape = ChunkShape(transformer.config, rows, columns, preset.block, window, preset.sink, preset.actions)
        except ValueError as error:
            return str(error)
        with self._lock:
            if shape not in self._compiled:
                self._compiled[shape] = self._tried(transformer, shape)
            found = self._compiled[shape]
        if isinstance(found, str):
            return found
        return EngineStep(EngineChunk(transformer, shape, OpenVINORun(*found), "cpu"), preset, transformer.dtype)

    def _tried(self, transformer: WanTransformer, shape: ChunkShape) -> tuple[OpenVINO, Any] | str:
        try:
            library = self.options.find(self.options.exact)
            return library, self._made(library, transformer, shape)
        except ImportError:
            return "the package openvino is not installed"
        except (RuntimeError, ValueError, MemoryError) as error:  # refused by us or by OpenVINO, or no memory
            lines = str(error).splitlines()
            return next((line for line in lines if line.strip()), type(error).__name__).strip()[:200]

    def _made(self, library: OpenVINO, transformer: WanTransformer, shape: ChunkShape) -> Any:
        threads, options = model_threads(), self.options
        weights = weight_bytes(transformer)
        if (needed := COPIES * weights) > (free := host_free_bytes()):
            raise ValueError(f"its weights take {needed / GIB:.1f} GiB of memory, {free / GIB:.1f} are free")

        def compiled() -> Any:
            written = OpenVINOGraph(library)
            write_chunk(written, transformer, shape, torch.float32)
            return written.compiled(threads)

        if options.folder is None or weights > MOST_KEPT:
            return compiled()
        kind = f"chunk-{shape.rows}x{shape.columns}-{shape.chunk}-{shape.window}-{shape.sink}"
        capability = ",".join(library.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        key = EngineKey(
            f"{options.name}-{kind}-{library.precision}", f"{platform.machine()} {cpu_name()}", capability, "OpenVINO",
            library.version, sources_hash(shape, library.precision, files=FILES), weights_hash(transformer),
        )  # fmt: skip
        data = obtain(options.folder, key, lambda: exported(compiled()), self.say)
        return imported(library, data, threads)


def weight_bytes(transformer: WanTransformer) -> int:
    """Of the graph, in float32."""
    return 4 * sum(tensor.numel() for tensor in transformer.state_dict().values())


def opened_steps(steps: OpenVINOSteps, size: Size, measured: bool) -> tuple[MakeStep, str]:
    """What makes a world's steps, and what it is called: `steps`, compiled now, or torch, after one line where OpenVINO
    cannot. `measured`: torch also where it is the quicker one."""
    options, (transformer, preset, rows, columns, window) = steps.options, size

    def better() -> bool | None:
        ours = steps.engine(*size)
        if isinstance(ours, str):
            return None
        won, line = quicker(ours, steps.otherwise(*size), transformer, preset, (rows, columns), window)
        logger.info("%s: %s", options.name, line)
        return won

    what = f"{options.name} {rows}x{columns} window {window} {transformer.dtype}"
    if measured and not kept_choice(options, what, better, steps.say):
        return steps.otherwise, EagerStep.name
    made = steps.engine(*size)
    if isinstance(made, str):
        steps.say(f"OpenVINO transformer: {made}; torch draws")
        return steps.otherwise, EagerStep.name
    return steps, made.name


@torch.inference_mode()
def quicker(
    ours: ChunkStep,
    plain: ChunkStep,
    transformer: WanTransformer,
    preset: LivePreset,
    size: tuple[int, int],
    window: int,
) -> tuple[bool, str]:
    """Whether a pass by `ours` takes less time than by `plain`, and the line that says so; both are as new afterwards.

    The window is filled pass by pass, by both in turn; the last passes count, or what there is after `MOST_SECONDS`.
    """
    block, began = still(transformer, preset, size), time.perf_counter()
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(-(-window // preset.block) + TIMED):
        for step, times in zip((ours, plain), spent, strict=True):
            at = time.perf_counter()
            step.block(block)
            times.append(time.perf_counter() - at)
        if time.perf_counter() - began > MOST_SECONDS:
            break
    for step in (ours, plain):
        step.reset()
    a, b = (1e3 * statistics.median(times[-TIMED:]) for times in spent)
    return a < b, f"a pass takes {a:.1f} ms by {ours.name}, {b:.1f} ms by {plain.name}"


def kept_choice(options: OpenVINOOptions, what: str, measure: Callable[[], bool | None], say: Say) -> bool:
    """Whether OpenVINO was quicker: as measured before on this CPU with these versions, so that a server that starts
    again draws as it did; else as `measure` says now, or true where that found nothing to measure.

    `what`: all else that the answer is of.
    """
    key = f"{platform.machine()} {cpu_name()} x{model_threads()} torch {torch.__version__} {what}"
    path = None if options.folder is None else options.folder / "cpu-engines.json"
    try:
        known = json.loads(path.read_text()) if path is not None else {}
    except (OSError, ValueError):
        known = {}
    if isinstance(known, dict) and isinstance(known.get(key), bool):
        return bool(known[key])
    better = measure()
    if better is None:
        return True
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_text(json.dumps({**(known if isinstance(known, dict) else {}), key: better}, indent=1))
        except OSError as error:
            say(
                f"the choice of an engine cannot be kept in {path} ({error.strerror}); it will be timed again next time"
            )
    return better


def still(transformer: WanTransformer, preset: LivePreset, size: tuple[int, int]) -> Block:
    """A block of nothing, whose clean latents are given: one pass. `size`: cells of a latent frame."""
    c, frames = transformer.config, preset.block
    like = torch.zeros(1, c.out_channels, frames, *size, dtype=transformer.dtype)
    words = torch.zeros(1, 1, c.text_dim) if c.has_text else None
    image = torch.zeros(1, c.image_tokens, c.image_dim) if c.image_dim is not None else None
    seen = like.new_zeros(1, c.in_channels - c.out_channels, frames, *size) if c.in_channels > c.out_channels else None
    rows = None
    if (a := preset.actions) is not None:
        mouse = like.new_zeros(1, frames, a.rows, a.mouse) if a.mouse else None
        rows = ActionRows(like.new_zeros(1, frames, a.rows, a.keyboard), mouse)
    return Block((), transformer.context(words, image), seen, rows, given=like)
