"""Running, keeping and falling back, without a GPU: against a stand-in of TensorRT's classes, and the real builder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.worlds.wan.tiny_engines import COLUMNS, ROWS, TINY, TOLERANCE, error, normal, seeded, taehv, transformer
from worldstream.worlds import tensorrt_edition
from worldstream.worlds.tensorrt_edition import Device, Edition
from worldstream.worlds.wan import engine_backend, tensorrt_run
from worldstream.worlds.wan.decoder_graph import write_taehv
from worldstream.worlds.wan.engine_backend import EngineOptions, decoder_or_torch, open_chunk
from worldstream.worlds.wan.engine_chunk import EngineChunk
from worldstream.worlds.wan.engine_decoder import EngineDecoder
from worldstream.worlds.wan.onnx_graph import OnnxGraph, OnnxRun
from worldstream.worlds.wan.pass_graph import ChunkShape, write_chunk
from worldstream.worlds.wan.taehv import TAEHV, TAEHVConfig
from worldstream.worlds.wan.tensorrt_run import CannotRun, TensorRTRun

PORTS = {"x": (2, 3), "keys": (4,), "next_keys": (4,), "y": (2,)}


class Engine:
    """What TensorRT gives for a plan: two inputs, two outputs, one of which lies on an input."""

    num_io_tensors = len(PORTS)

    def __init__(self, context: Any, host: str = "") -> None:
        self._context, self._host = context, host

    def get_tensor_name(self, index: int) -> str:
        return list(PORTS)[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return PORTS[name]

    def get_tensor_location(self, name: str) -> str:
        return "host" if name == self._host else "device"

    def get_tensor_dtype(self, name: str) -> str:
        return "float"

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name in ("x", "keys") else "out"

    def get_aliased_input_tensor(self, name: str) -> str | None:
        return "keys" if name == "next_keys" else None

    def create_execution_context(self) -> Any:
        return self._context


class Context:
    """Records addresses and runs."""

    def __init__(self, works: bool = True) -> None:
        self.works, self.addresses, self.bindings, self.streams = works, {}, 0, []  # type: ignore[var-annotated]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        self.bindings += 1
        return True

    def execute_async_v3(self, stream: int) -> bool:
        self.streams.append(stream)
        return self.works


def stand_in(monkeypatch: pytest.MonkeyPatch, engine: object) -> Edition:
    """An edition that accepts a plan as `engine`, on a machine that seems to have a GPU."""
    runtime = SimpleNamespace(deserialize_cuda_engine=lambda plan: engine)
    names = dict.fromkeys(("HALF", "BF16", "FP8", "INT32", "INT64"))
    api = SimpleNamespace(
        Runtime=lambda log: runtime,
        Logger=SimpleNamespace,
        DataType=SimpleNamespace(FLOAT="float", **{name: name for name in names}),
        TensorIOMode=SimpleNamespace(OUTPUT="out"),
        TensorLocation=SimpleNamespace(DEVICE="device"),
    )
    api.Logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None})
    monkeypatch.setattr(tensorrt_run, "cannot_run", lambda edition: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=77))
    return Edition("TensorRT", "11.4", api, rtx=False)


def test_addresses_are_bound_once_and_aliases_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context()
    run = TensorRTRun(stand_in(monkeypatch, Engine(context)), b"plan")
    given = {"x": torch.ones(2, 3), "keys": torch.zeros(4)}
    found = run.run(given)
    assert found["next_keys"] is given["keys"]
    assert context.addresses["next_keys"] == context.addresses["keys"] == given["keys"].data_ptr()
    assert context.addresses["y"] == found["y"].data_ptr()
    assert found["y"].shape == (2,)
    assert context.streams == [77]
    before = context.bindings
    again = run.run(given)
    assert context.bindings - before == (again["y"].data_ptr() != found["y"].data_ptr())
    other = {**given, "x": torch.ones(2, 3)}
    run.run(other)
    assert context.addresses["x"] == other["x"].data_ptr()


def test_the_default_stream_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    class Stream:
        def __init__(self, number: int = 5) -> None:
            self.cuda_stream = number

        def wait_stream(self, other: Any) -> None:
            order.append(f"{self.cuda_stream} after {other.cuda_stream}")

    context = Context()
    run = TensorRTRun(stand_in(monkeypatch, Engine(context)), b"plan")
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream(0))
    for _ in range(2):
        run.run({"x": torch.ones(2, 3), "keys": torch.zeros(4)})
    assert context.streams == [5, 5]
    assert order == ["5 after 0", "0 after 5"] * 2


@pytest.mark.parametrize("wrong", [torch.ones(3, 2), torch.ones(2, 3).half(), torch.ones(3, 2).T])
def test_inputs_that_do_not_fit_never_reach_the_engine(monkeypatch: pytest.MonkeyPatch, wrong: Tensor) -> None:
    context = Context()
    run = TensorRTRun(stand_in(monkeypatch, Engine(context)), b"plan")
    with pytest.raises(AssertionError, match="x must be contiguous"):
        run.run({"x": wrong, "keys": torch.zeros(4)})
    assert context.streams == []


def test_what_tensorrt_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CannotRun, match="does not accept the engine"):
        TensorRTRun(stand_in(monkeypatch, None), b"plan")
    with pytest.raises(CannotRun, match="no memory"):
        TensorRTRun(stand_in(monkeypatch, Engine(None)), b"plan")
    with pytest.raises(CannotRun, match="reads keys on the host"):
        TensorRTRun(stand_in(monkeypatch, Engine(Context(), host="keys")), b"plan")
    run = TensorRTRun(stand_in(monkeypatch, Engine(Context(works=False))), b"plan")
    with pytest.raises(RuntimeError, match="the engine stopped"):
        run.run({"x": torch.ones(2, 3), "keys": torch.zeros(4)})


def test_nothing_is_loaded_where_nothing_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    edition = stand_in(monkeypatch, None)
    edition.api.Runtime = None  # calling it would be an error
    monkeypatch.setattr(tensorrt_run, "cannot_run", lambda edition: "no GPU here")
    with pytest.raises(CannotRun, match="no GPU here"):
        TensorRTRun(edition, b"plan")


@pytest.mark.parametrize("reason", ["no package", "no GPU"])
def test_torch_takes_over_with_one_line(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    monkeypatch.setattr(tensorrt_edition, "find", lambda: reason)
    said: list[str] = []
    assert decoder_or_torch(taehv(), ROWS, COLUMNS, EngineOptions(), said.append) is taehv()
    assert open_chunk(transformer(), ChunkShape(TINY, ROWS, COLUMNS, 1, 2), EngineOptions(), said.append) is None
    assert said == [f"TensorRT decoder: {reason}; torch decodes", f"TensorRT transformer: {reason}; torch draws"]


@pytest.fixture
def rtx_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that seems to have an L4: plans are really built for it, and their ONNX twins are run."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX has no wheel for this machine")
    monkeypatch.setattr(tensorrt_edition, "find", tensorrt_edition._rtx)
    monkeypatch.setattr(tensorrt_edition, "device", lambda: Device("NVIDIA L4", "8.9"))


def twins(monkeypatch: pytest.MonkeyPatch, *writers: Callable[[OnnxGraph], None]) -> list[bytes]:
    """The runner of each plan is the ONNX twin of that graph; the plans that were loaded."""
    loaded: list[bytes] = []

    def run(edition: Edition, plan: bytes) -> OnnxRun:
        graph = OnnxGraph()
        writers[len(loaded) % len(writers)](graph)
        loaded.append(plan)
        return OnnxRun(graph)

    monkeypatch.setattr(engine_backend, "TensorRTRun", run)
    return loaded


@pytest.mark.usefixtures("rtx_card")
def test_engines_are_built_kept_found_again_and_refused_when_touched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def written(first: bool) -> Callable[[OnnxGraph], None]:
        return lambda graph: write_taehv(graph, taehv(), ROWS, COLUMNS, torch.float32, first)

    loaded = twins(monkeypatch, written(True), written(False))
    options, said = EngineOptions(tmp_path, "tiny"), []  # type: ignore[var-annotated]
    decoder = decoder_or_torch(taehv(), ROWS, COLUMNS, options, said.append)
    assert isinstance(decoder, EngineDecoder)
    latents = normal(seeded(1), 1, 16, 2, ROWS, COLUMNS)
    assert error(decoder.decode(latents)[0], taehv().decode(latents)[0]) <= TOLERANCE
    assert [line.endswith("none was built here yet; building it") for line in said] == [True, True]
    decoder_or_torch(taehv(), ROWS, COLUMNS, options, said.append)
    assert len(said) == 2, "found again, nothing was built"
    assert loaded[2:] == loaded[:2]
    steady = next(tmp_path.glob("*steady*.engine"))
    steady.write_bytes(b"x" + steady.read_bytes()[1:])
    decoder_or_torch(taehv(), ROWS, COLUMNS, options, said.append)
    assert len(said) == 3
    assert "sha256 differs" in said[2]
    assert not any(plan.startswith(b"x") and plan[1:] == loaded[1][1:] for plan in loaded)
    other = TAEHV(TAEHVConfig(widths=(16, 8, 8, 8))).eval().requires_grad_(False)
    decoder_or_torch(other, ROWS, COLUMNS, options, said.append)
    assert [line.split(": ")[1].split(";")[0].endswith("another set of weights") for line in said[3:]] == [True, True]


@pytest.mark.usefixtures("rtx_card")
def test_transformer_opens_and_what_it_cannot_do_falls_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shape = ChunkShape(TINY, ROWS, COLUMNS, 1, 2)
    twins(monkeypatch, lambda graph: write_chunk(graph, transformer(), shape, torch.float32))
    said: list[str] = []
    opened = open_chunk(transformer(), shape, EngineOptions(tmp_path), said.append)
    assert isinstance(opened, EngineChunk)
    assert opened.name == OnnxRun.name
    assert next(tmp_path.glob("wan-chunk-4x6-1-2-0-bf16-*.engine")).stat().st_size > 100_000

    def refuse(edition: Edition, plan: bytes) -> OnnxRun:
        raise CannotRun("it does not accept the engine")

    monkeypatch.setattr(engine_backend, "TensorRTRun", refuse)
    assert open_chunk(transformer(), shape, EngineOptions(tmp_path), said.append) is None
    assert said[-1] == "TensorRT transformer: it does not accept the engine; torch draws"
    monkeypatch.setattr(tensorrt_edition, "device", lambda: Device("NVIDIA H100 80GB HBM3", "9.0"))
    assert open_chunk(transformer(), shape, EngineOptions(), said.append) is None
    assert "does not run on NVIDIA H100" in said[-1]
