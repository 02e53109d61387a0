"""OpenVINO on this CPU: the passes and walks that torch draws; where the cache lies; what is kept; what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.worlds.wan import test_onnx_chunk as onnx
from tests.worlds.wan.test_onnx_rollout import COLUMNS as WALKED_COLUMNS
from tests.worlds.wan.test_onnx_rollout import ROWS as WALKED_ROWS
from tests.worlds.wan.test_onnx_rollout import worst
from tests.worlds.wan.test_rollout import model, steps
from tests.worlds.wan.tiny_engines import (
    COLUMNS,
    ROWS,
    TINY,
    TINY_GAME,
    TINY_I2V,
    TOLERANCE,
    error,
    normal,
    seeded,
    taehv,
    transformer,
    vae,
)
from worldstream.worlds.core import Action
from worldstream.worlds.engines import OpenVINO, openvino_here
from worldstream.worlds.wan import openvino_backend
from worldstream.worlds.wan.chunk_step import EagerStep
from worldstream.worlds.wan.engine_backend import decoder_writer
from worldstream.worlds.wan.engine_chunk import EngineChunk
from worldstream.worlds.wan.engine_decoder import EngineDecoder
from worldstream.worlds.wan.engine_step import EngineStep
from worldstream.worlds.wan.kv_cache import KVCache
from worldstream.worlds.wan.openvino_backend import OpenVINOOptions, OpenVINOSteps, kept_choice, quicker
from worldstream.worlds.wan.openvino_graph import OpenVINOGraph, OpenVINORun
from worldstream.worlds.wan.pass_graph import ChunkShape, write_chunk
from worldstream.worlds.wan.rollout import WanRollout

EXACT = OpenVINOOptions(exact=True)


@cache
def here() -> OpenVINO:
    return openvino_here(exact=True)


@cache
def compiled(shape: ChunkShape) -> Any:
    graph = OpenVINOGraph(here())
    write_chunk(graph, transformer(shape.config), shape, torch.float32)
    return graph.compiled(1)


def engine(shape: ChunkShape) -> EngineChunk:
    return EngineChunk(transformer(shape.config), shape, OpenVINORun(here(), compiled(shape)), "cpu")


def sized(name: str) -> tuple[Any, ...]:
    m = model(name)
    return m.transformer, m.preset, WALKED_ROWS, WALKED_COLUMNS, m.window


@pytest.mark.parametrize(
    ("config", "chunk", "window", "sink"),
    [(TINY, 1, 4, 1), (TINY, 3, 8, 0), (TINY_I2V, 1, 2, 0), (TINY_GAME, 1, 2, 0)],
)
def test_passes_equal_torch_past_the_end_of_the_window(
    config: Any, chunk: int, window: int, sink: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "engine", engine)
    assert onnx.worst(ChunkShape(config, ROWS, COLUMNS, chunk, window, sink), 3 + 2 * window // chunk) <= TOLERANCE


@pytest.mark.parametrize("name", ["self-forcing", "longlive", "matrix-game-2-universal", "matrix-game-2-gta-drive"])
def test_a_walk_is_the_same(name: str) -> None:
    """The first chunk is shorter in frames; new words are read on the way; jumps back; two walks side by side."""
    said: list[str] = []
    made = OpenVINOSteps(EXACT, said.append)
    plain, ours, beside = (WanRollout(replace(model(name), step=step)) for step in (EagerStep, made, made))
    assert ours._step.name.startswith("openvino")
    action = Action(forward_m=2.0, yaw_rad=0.2, input_id=3)
    for rollout, seed in ((plain, 7), (ours, 7), (beside, 8)):
        rollout.reset(seed, "a red forest")
    wanted = steps(plain, 1, action)
    assert len(wanted) == model(name).preset.frames - 3
    assert worst(steps(ours, 1, action), wanted) <= 1, "a colour may round the other way"
    others = steps(beside, 1, action)
    assert worst(others, wanted) > 20
    wanted = steps(plain, 4, action)
    assert worst(steps(ours, 4, action), wanted) <= 1, "and the walk beside has changed nothing"
    kept = ours.snapshot()
    once = steps(ours, 2)
    ours.restore(kept)
    assert worst(steps(ours, 2), once) == 0
    assert said == []


def test_new_words_are_read_by_all_frames_that_are_kept() -> None:
    """As torch does, but chunk by chunk: LongLive's recache through one layer of cache is compared on passes."""
    shape, g = ChunkShape(TINY, ROWS, COLUMNS, 1, 5, 2), seeded(10)
    ours, theirs, network = engine(shape), KVCache(TINY, ROWS, COLUMNS, 5, chunk=1, sink=2), transformer()
    first, second, still = onnx.context(TINY, 1), onnx.context(TINY, 2), torch.tensor([0.0])
    clean = [normal(g, 1, 4, 1, ROWS, COLUMNS) for _ in range(13)]
    ours.show(first)
    for x in clean[:9]:
        ours.chunk(x, still, commit=True)
        network.chunk(x, still, first, theirs, commit=True)
    newest = torch.cat(clean[6:9], 2)
    ours.recache(newest, second)
    network.recache(newest, second, theirs)
    for x in clean[9:]:
        wanted = network.chunk(x, still, second, theirs, commit=True)
        assert error(ours.chunk(x, still, commit=True), wanted) <= TOLERANCE


def test_the_cache_stays_where_it_is_and_gets_the_rows_of_the_chunk_alone() -> None:
    shape, g = ChunkShape(TINY, ROWS, COLUMNS, 1, 4), seeded(8)
    ours, run = engine(shape), OpenVINORun(here(), compiled(shape))
    ours.show(onnx.context(TINY))
    at, n, still = ours.keys.data_ptr(), shape.frame, torch.tensor([0.0])
    for i in range(6):
        before = ours.keys.clone()
        ours.chunk(normal(g, 1, 4, 1, ROWS, COLUMNS), still, commit=True)
        changed = (ours.keys != before).flatten(0, 1).any(-1).any(0)
        assert changed.nonzero().flatten().tolist() == list(range(i % 4 * n, (i % 4 + 1) * n))
    assert ours.keys.data_ptr() == at
    found = run.run(ours._given)
    assert found["next_keys_0"].data_ptr() == ours._given["keys_0"].data_ptr() == at
    given = {**ours._given, "kv_length": torch.tensor([2 * n], dtype=torch.int32)}
    assert error(run.run(given)["velocity"], found["velocity"]) > 0.01, "the length is what it attends by"
    elsewhere = {**ours._given, "keys_0": ours._given["keys_0"].clone()}
    moved = run.run(elsewhere)
    assert torch.equal(moved["velocity"], found["velocity"])
    assert moved["next_keys_0"] is elsewhere["keys_0"]
    with pytest.raises(AssertionError, match="latents must be contiguous"):
        run.run({**ours._given, "latents": torch.zeros(1, 4, 1, ROWS, COLUMNS, dtype=torch.float64)})


@pytest.mark.parametrize("codec", [vae, taehv], ids=["vae", "taehv"])
def test_the_decoders_graphs_are_the_same(codec: Any) -> None:
    network: Any = codec()
    runs = []
    for first in (True, False):
        graph = OpenVINOGraph(here())
        decoder_writer(network)(graph, network, ROWS, COLUMNS, torch.float32, first)
        runs.append(OpenVINORun(here(), graph.compiled(1)))
    ours, g, state, wanted_state = EngineDecoder(network, *runs), seeded(2), None, None
    for count in (1, 3):
        latents = normal(g, 1, 16, count, ROWS, COLUMNS)
        rgb, state = ours.decode(latents, state)
        wanted, wanted_state = network.decode(latents, wanted_state)
        assert error(rgb, wanted) <= TOLERANCE


def test_what_was_compiled_is_kept_and_nothing_foreign_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    options, size = replace(EXACT, folder=tmp_path), sized("self-forcing")
    first = OpenVINOSteps(options, said.append).engine(*size)
    assert isinstance(first, EngineStep)
    assert [line.split(": ", 1)[1] for line in said] == ["none was built here yet; building it"]
    monkeypatch.setattr(OpenVINOGraph, "compiled", lambda *_: pytest.fail("compiled again"))
    again = OpenVINOSteps(options, said.append)
    assert isinstance(again.engine(*size), EngineStep)
    assert isinstance(again.engine(*size), EngineStep), "a second walk shares it"
    monkeypatch.undo()
    assert len(said) == 1
    (manifest,), (file,) = tmp_path.glob("*.json"), tmp_path.glob("*.engine")
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**told, "key": {**told["key"], "version": "2025.0"}}))
    assert isinstance(OpenVINOSteps(options, said.append).engine(*size), EngineStep)
    assert said.pop().endswith("is of another OpenVINO version; building it")
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    assert isinstance(OpenVINOSteps(options, said.append).engine(*size), EngineStep)
    assert "sha256 differs" in said.pop()
    monkeypatch.setattr(openvino_backend, "weights_hash", lambda _: "0" * 64)
    assert isinstance(OpenVINOSteps(options, said.append).engine(*size), EngineStep)
    assert "another set of weights" in said.pop()


def _missing(_: bool) -> OpenVINO:
    raise ImportError("No module named 'openvino'")


def _refusing(exact: bool) -> OpenVINO:
    class Core:
        def compile_model(self, *_: Any) -> Any:
            raise RuntimeError("\nException from src/core.cpp:1:\nCheck failed\n")

    return replace(openvino_here(exact), core=Core())


def test_torch_draws_after_one_line_where_openvino_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    size = sized("longlive")
    cut: tuple[Any, ...] = (size[0], replace(size[1], sink=1), *size[2:])
    for options, given, why in (
        (replace(EXACT, find=_missing), size, "the package openvino is not installed"),
        (replace(EXACT, find=_refusing), size, "Exception from src/core.cpp:1:"),
        (EXACT, cut, "a chunk of 3 must divide the sink of 1"),
    ):
        said: list[str] = []
        made = OpenVINOSteps(options, said.append)
        assert isinstance(made(*given), EagerStep)
        assert len(said) == 1
        assert said[0].startswith(f"OpenVINO transformer: {why}")
        assert said[0].endswith("; torch draws")
        assert "\n" not in said[0]
    monkeypatch.setattr(openvino_backend, "host_free_bytes", lambda: 1000)
    assert "are free" in str(OpenVINOSteps(EXACT, print).engine(*size))


@pytest.mark.parametrize("name", ["matrix-game-2-universal"])
def test_the_quicker_one_is_measured_and_both_are_as_new(name: str) -> None:
    network, preset, rows, columns, window = sized(name)
    ours, plain = OpenVINOSteps(EXACT, print).engine(*sized(name)), EagerStep(*sized(name))
    assert isinstance(ours, EngineStep)

    class Slow(EagerStep):
        name = "slow"

        def block(self, block: Any) -> Any:
            for _ in range(19):
                state = self.snapshot()
                super().block(block)
                self.restore(state)
            state = self.snapshot()
            made = super().block(block)
            self.restore(state)
            return made

    better, line = quicker(ours, Slow(*sized(name)), network, preset, (rows, columns), window)
    assert better
    assert "by openvino f32" in line
    assert not quicker(Slow(*sized(name)), plain, network, preset, (rows, columns), window)[0]
    assert plain.cache.next == 0
    assert ours._chunk.ring.next == 0


def test_the_choice_is_kept(tmp_path: Path) -> None:
    options, asked, said = replace(EXACT, folder=tmp_path / "engines"), list[str](), list[str]()

    def measure() -> bool:
        asked.append("once")
        return True

    assert kept_choice(options, "a", lambda: None, said.append)
    assert kept_choice(options, "a", measure, said.append)
    assert kept_choice(options, "a", lambda: False, said.append)
    assert not kept_choice(options, "b", lambda: False, said.append)
    (tmp_path / "engines" / "cpu-engines.json").write_text("[")
    assert kept_choice(options, "a", measure, said.append)
    assert (asked, said) == (["once", "once"], [])
