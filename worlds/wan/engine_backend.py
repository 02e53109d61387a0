"""TensorRT for a Wan world, or torch with one line that says why not.

    decoder = decoder_or_torch(vae, 44, 80, EngineOptions(folder=cache), say)  # a VideoCodec either way
    chunk = open_chunk(model, ChunkShape(model.config, 44, 80, window=6), EngineOptions(folder=cache), say)  # or None

Engines are built once for a GPU, version, graph and set of weights and kept; see `engine_files`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from .. import tensorrt_edition
from ..engine_files import EngineKey, obtain, sources_hash
from ..tensorrt_edition import Device, Edition
from . import action_graph, decoder_graph, fp8, graph, graph_operators, pass_graph, tensorrt_graph
from .chunk_step import ChunkStep, EagerStep
from .codec import VideoCodec
from .decoder_graph import write_taehv, write_vae
from .engine_chunk import EngineChunk, Runner
from .engine_decoder import EngineDecoder
from .engine_step import EngineStep
from .graph import BUILT_FOR
from .live import LivePreset
from .pass_graph import ChunkShape, weights_hash, write_chunk
from .taehv import TAEHV
from .tensorrt_graph import TensorRTGraph
from .tensorrt_plugins import Plugins, plugins_here
from .tensorrt_run import TensorRTRun
from .transformer import WanTransformer
from .vae import WanVAE

Say = Callable[[str], None]
MakeStep = Callable[[WanTransformer, LivePreset, int, int, int], ChunkStep]
"""(transformer, preset, rows, columns, window) -> what draws the blocks of a walk."""
FILES = tuple(
    Path(str(module.__file__))
    for module in (graph, graph_operators, pass_graph, action_graph, decoder_graph, tensorrt_graph, fp8)
)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How engines are built."""

    folder: Path | None = None  # where they are kept; None: built anew each time
    name: str = "wan"  # of the world, in file names
    precision: Literal["fp16", "bf16"] = "bf16"
    amax: Mapping[str, float] | None = None  # with it the blocks' linear layers multiply in float8
    plugins: bool | None = None  # our kernels inside the transformer's engine where the edition takes them; None: not
    # in float8, where TensorRT scales a product's columns in the kernel after it, which would be ours

    @property
    def words(self) -> str:
        """For file names."""
        return f"{self.precision}{'-fp8' * (self.amax is not None)}"


def decoder_or_torch(
    codec: WanVAE | TAEHV, rows: int, columns: int, options: EngineOptions, say: Say
) -> VideoCodec[Any, Any]:
    """The codec with its decoder in an engine, or the codec itself. Latents have `rows` x `columns` cells."""
    why = tensorrt_edition.cannot_run(edition := tensorrt_edition.find())
    here = tensorrt_edition.device()
    if why is None and isinstance(edition, Edition) and here is not None:
        try:
            runners = [
                _decoder_run(edition, here, codec, rows, columns, options, first, say) for first in (True, False)
            ]
            return EngineDecoder(codec, *runners)
        except (RuntimeError, ValueError) as error:  # refused by us or by TensorRT, or no memory
            why = str(error).splitlines()[0]
    say(f"TensorRT decoder: {why}; torch decodes")
    return codec


def open_chunk(model: WanTransformer, shape: ChunkShape, options: EngineOptions, say: Say) -> EngineChunk | None:
    """The transformer's pass in an engine; None, after one line, where torch has to draw."""
    why = tensorrt_edition.cannot_run(edition := tensorrt_edition.find())
    here = tensorrt_edition.device()
    if why is None and isinstance(edition, Edition) and here is not None:
        try:
            return _opened_chunk(edition, here, model, shape, options, say)
        except (RuntimeError, ValueError) as error:  # refused by us or by TensorRT, or no memory
            why = str(error).splitlines()[0]
    say(f"TensorRT transformer: {why}; torch draws")
    return None


def step_maker(options: EngineOptions, say: Say, otherwise: MakeStep = EagerStep) -> MakeStep:
    """What makes the `ChunkStep` of a new walk: by an engine, or by torch (`otherwise`) after one line."""

    def make(transformer: WanTransformer, preset: LivePreset, rows: int, columns: int, window: int) -> ChunkStep:
        try:
            shape = ChunkShape(transformer.config, rows, columns, preset.block, window, preset.sink, preset.actions)
        except ValueError as error:
            say(f"TensorRT transformer: {error}; torch draws")
            return otherwise(transformer, preset, rows, columns, window)
        chunk = open_chunk(transformer, shape, options, say)
        if chunk is None:
            return otherwise(transformer, preset, rows, columns, window)
        return EngineStep(chunk, preset, transformer.dtype)

    return make


def decoder_writer(codec: WanVAE | TAEHV) -> Callable[..., None]:
    """`write_vae` or `write_taehv`."""
    return write_vae if isinstance(codec, WanVAE) else write_taehv


def _decoder_run(
    edition: Edition, here: Device, codec: WanVAE | TAEHV, rows: int, columns: int, options: EngineOptions,
    first: bool, say: Say,
) -> Runner:  # fmt: skip
    writer = decoder_writer(codec)

    def build() -> bytes:
        written = TensorRTGraph(edition)
        writer(written, codec, rows, columns, BUILT_FOR[options.precision], first)
        return written.build(here.capability).data

    kind = f"{type(codec).__name__.lower()}-{'first' if first else 'steady'}-{rows}x{columns}"
    numbers = sources_hash(codec.config, rows, columns, options.precision, first, files=FILES)
    return _run(edition, here, f"{options.name}-{kind}-{options.precision}", numbers, codec, options, build, say)


def _opened_chunk(
    edition: Edition, here: Device, model: WanTransformer, shape: ChunkShape, options: EngineOptions, say: Say
) -> EngineChunk:
    """With our kernels inside where the edition takes them and they run, else with its own layers."""
    wanted = options.amax is None if options.plugins is None else options.plugins
    ours = plugins_here(edition, here.capability, say) if wanted else None
    if ours is not None:
        try:
            made = EngineChunk(
                model, shape, _chunk_engine(edition, here, model, shape, options, say, ours), model.device
            )
            made.rehearse()
            return made
        except RuntimeError as error:  # of the plugins, the builder, the loader, or the first pass
            say(f"TensorRT transformer: {str(error).splitlines()[0]}; layers in place of our kernels")
    return EngineChunk(model, shape, _chunk_engine(edition, here, model, shape, options, say, None), model.device)


def _chunk_engine(
    edition: Edition, here: Device, model: WanTransformer, shape: ChunkShape, options: EngineOptions, say: Say,
    ours: Plugins | None,
) -> Runner:  # fmt: skip
    def build() -> bytes:
        written = TensorRTGraph(edition, ours)
        write_chunk(written, model, shape, BUILT_FOR[options.precision], options.amax)
        return written.build(here.capability).data

    kind = f"chunk-{shape.rows}x{shape.columns}-{shape.chunk}-{shape.window}-{shape.sink}"
    scales = sorted((options.amax or {}).items())
    numbers = sources_hash(shape, options.precision, scales, ours and ours.identity, files=FILES)
    name = f"{options.name}-{kind}-{options.words}{'-plugins' * (ours is not None)}"
    return _run(edition, here, name, numbers, model, options, build, say)


def _run(
    edition: Edition, here: Device, name: str, numbers: str, weights: torch.nn.Module, options: EngineOptions,
    build: Callable[[], bytes], say: Say,
) -> Runner:  # fmt: skip
    key = EngineKey(name, here.name, here.capability, edition.name, edition.version, numbers, weights_hash(weights))
    return TensorRTRun(edition, obtain(options.folder, key, build, say))
