"""Whole walks whose transformer and decoder are graphs: the same frames as torch draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.worlds.wan.test_rollout import HEIGHT_PX, WIDTH_PX, model, steps
from tests.worlds.wan.tiny_engines import error
from worldstream.worlds.core import Action, Frame
from worldstream.worlds.wan.chunk_step import ChunkStep, EagerStep
from worldstream.worlds.wan.engine_backend import EngineOptions, decoder_writer, step_maker
from worldstream.worlds.wan.engine_chunk import EngineChunk
from worldstream.worlds.wan.engine_decoder import EngineDecoder
from worldstream.worlds.wan.engine_step import EngineStep
from worldstream.worlds.wan.onnx_graph import OnnxGraph, OnnxRun
from worldstream.worlds.wan.pass_graph import ChunkShape, write_chunk
from worldstream.worlds.wan.rollout import WanModel, WanRollout
from worldstream.worlds.wan.vae import WanVAE

ROWS, COLUMNS = HEIGHT_PX // 8, WIDTH_PX // 8


def stepped(given: WanModel) -> ChunkStep:
    """What an engine would be on a GPU, run by ONNX Runtime."""
    network, preset = given.transformer, given.preset
    shape = ChunkShape(network.config, ROWS, COLUMNS, preset.block, given.window, preset.sink, preset.actions)
    graph = OnnxGraph()
    write_chunk(graph, network, shape, torch.float32)
    return EngineStep(EngineChunk(network, shape, OnnxRun(graph), "cpu"), preset, network.dtype)


def engines(given: WanModel) -> WanModel:
    codec = given.decoder
    assert isinstance(codec, WanVAE)
    graphs = [OnnxGraph(), OnnxGraph()]
    for graph, first in zip(graphs, (True, False), strict=True):
        decoder_writer(codec)(graph, codec, ROWS, COLUMNS, torch.float32, first)
    encoder = given.encoder or codec
    made = lambda *_: stepped(given)  # noqa: E731
    return replace(given, decoder=EngineDecoder(codec, *map(OnnxRun, graphs)), encoder=encoder, step=made)


def worst(ours: list[Frame], wanted: list[Frame]) -> int:
    """The largest difference of any colour, 0 to 255."""
    assert len(ours) == len(wanted)
    pairs = zip(ours, wanted, strict=True)
    return max(int(np.abs(a.rgb.astype(int) - b.rgb.astype(int)).max()) for a, b in pairs)


@pytest.mark.parametrize(
    "name",
    ["self-forcing", "causal-forcing-framewise", "longlive", "matrix-game-2-universal", "matrix-game-2-gta-drive"],
)
def test_a_walk_is_the_same(name: str) -> None:
    plain, graphs = WanRollout(model(name)), WanRollout(engines(model(name)))
    for rollout in (plain, graphs):
        rollout.reset(7, "a red forest")
    action = Action(forward_m=2.0, yaw_rad=0.2, input_id=3)
    count = 5 if model(name).preset.block > 1 else 8
    wanted = steps(plain, count, action)
    assert worst(steps(graphs, count, action), wanted) <= 1, "a colour may round the other way"
    assert np.ptp([frame.rgb for frame in wanted]) > 50
    kept = graphs.snapshot()
    once = steps(graphs, 2)
    graphs.restore(kept)
    assert worst(steps(graphs, 2), once) == 0


def test_new_words_are_read_chunk_by_chunk() -> None:
    given = model("longlive")
    ours, eager = stepped(given), EagerStep(given.transformer, given.preset, ROWS, COLUMNS, given.window)
    assert isinstance(ours, EngineStep)
    rollout = WanRollout(replace(given, step=lambda *_: ours))
    rollout.reset(7, "a red forest")
    steps(rollout, 3)
    before = rollout.snapshot()
    steps(rollout, 1, Action(prompt="a blue river", input_id=5))
    changed = ours.snapshot()
    rollout.restore(before)
    steps(rollout, 1)
    assert error(ours.snapshot().cache.keys, changed.cache.keys) > 1e-3
    with pytest.raises(ValueError, match="does not fit a ring"):
        ours.restore(eager.snapshot())


def test_a_window_that_no_engine_has_is_drawn_by_torch() -> None:
    given, said = model("longlive"), []  # type: ignore[var-annotated]
    preset = replace(given.preset, sink=1)  # which a block of 3 would have to be cut for
    make = step_maker(EngineOptions(), said.append)
    assert isinstance(make(given.transformer, preset, ROWS, COLUMNS, given.window), EagerStep)
    assert len(said) == 1
    assert said[0].startswith("TensorRT transformer: a chunk of 3 must divide the sink of 1")
