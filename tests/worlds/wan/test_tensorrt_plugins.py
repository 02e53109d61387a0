"""Our kernels as TensorRT's plugins: what TensorRT is told of each, and what it would launch, executed on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.plugin_cases import PluginCase, error, executed, plugin_cases
from benchmarks.plugins import Network
from tests.worlds.wan.quick_plugins import ITensor, quick_plugins
from tests.worlds.wan.tiny_engines import COLUMNS, ROWS, TINY, transformer
from worldstream.kernels import build
from worldstream.kernels.build import CompileError, Unavailable
from worldstream.kernels.cubins import CubinCache
from worldstream.kernels.launch import Kernel
from worldstream.kernels.plugins import bits
from worldstream.worlds import tensorrt_edition
from worldstream.worlds.tensorrt_edition import Device, Edition
from worldstream.worlds.wan import engine_backend, tensorrt_plugins
from worldstream.worlds.wan.engine_backend import EngineOptions, open_chunk
from worldstream.worlds.wan.graph import FLOAT8, Operator, Port
from worldstream.worlds.wan.graph_operators import Gelu, NormModulate, ResidualNorm
from worldstream.worlds.wan.onnx_graph import OnnxGraph, OnnxRun
from worldstream.worlds.wan.pass_graph import LINEARS, ChunkShape, write_chunk
from worldstream.worlds.wan.tensorrt_graph import TensorRTGraph
from worldstream.worlds.wan.tensorrt_plugins import FORMS, PluginError, Plugins, given, plugins_here
from worldstream.worlds.wan.tensorrt_plugins import _ceil_div as ceil_div

SHAPE = ChunkShape(TINY, ROWS, COLUMNS, 3, 9)
AMAX = {f"blocks.{layer}.{name}": 4.0 for layer in range(TINY.layers) for name in LINEARS}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="CUDA's headers are wheels for Linux")


@dataclass
class Compiler:
    """Remembers what it was asked for, and gives the entry's name as its code."""

    refuses: str = ""
    version: str = "13.0"
    kernels: dict[str, Kernel] = field(default_factory=dict)

    def __call__(self, kernel: Kernel, architecture: str) -> bytes:
        if self.refuses == kernel.source:
            raise CompileError("rows.cuh(7): error: no")
        self.kernels[kernel.entry] = kernel
        return f"{kernel.entry} for {architecture}".encode()


def made(folder: Path, compiler: Compiler, used: frozenset[str] = frozenset(FORMS)) -> Plugins:
    trt, api = quick_plugins()
    return Plugins(api, trt, "90a", compiler, CubinCache(folder / "cubins"), used)


def network(ours: Plugins, case: PluginCase) -> Network:
    """With the case's plugin in it."""
    assert ours.takes(case.operator, case.ports), case.label
    found = Network(ours.trt, ours.api, [t.dtype for t in case.inputs])
    ours.layer(found, case.operator, case.ports, [ITensor() for _ in case.inputs])
    return found


@pytest.fixture(scope="module")
def compiled_folder(request: pytest.FixtureRequest) -> Path:
    """That of the kernels' own tests."""
    cache = request.config.cache
    assert cache is not None
    return cache.mkdir("worldstream-kernels")


@pytest.mark.parametrize(
    ("dim", "head", "eight"), [(256, 64, False), (256, 64, True), (320, 80, False)], ids=["bf16", "fp8", "odd"]
)
def test_what_tensorrt_would_launch_gives_what_it_should(
    dim: int, head: int, eight: bool, tmp_path: Path, compiled_folder: Path
) -> None:
    """As built, and for other numbers of tokens: the grid and the integers are expressions of them."""
    compiler = Compiler()
    ours = made(tmp_path, compiler)
    tokens = (8, 5, 11)
    for case, *others in zip(*(plugin_cases(dim, head, 3, n, eight, seed=n) for n in tokens), strict=True):
        found = network(ours, case)
        for each in (case, *others):
            asked = found.asked([t.shape for t in case.inputs], [t.shape for t in each.inputs])
            assert asked.cubin == f"{asked.entry} for 90a".encode()
            outputs = executed(asked, compiler.kernels[asked.entry], each.inputs, compiled_folder)
            assert error(each, outputs) <= 1, each.label


def test_arguments_in_another_order_are_found(tmp_path: Path, compiled_folder: Path) -> None:
    """Planted errors: what TensorRT launches with inputs, integers or outputs exchanged is not within the bound."""
    compiler = Compiler()
    ours = made(tmp_path, compiler)
    for case in plugin_cases(256, 64, 3, 8, eight=False):
        if not isinstance(case.operator, ResidualNorm) or case.operator.gate != 5:
            continue
        shapes = [t.shape for t in case.inputs]
        asked, kernel = network(ours, case).asked(shapes, shapes), compiler.kernels["residual_norm_w256_f3"]
        x, added, bias, gates, parts = case.inputs
        assert error(case, executed(asked, kernel, case.inputs, compiled_folder)) <= 1
        assert error(case, executed(asked, kernel, (added, x, bias, gates, parts), compiled_folder)) > 10
        gate, count, *rest = asked.numbers
        wrong = replace(asked, numbers=(gate - 1, count, *rest))
        assert error(case, executed(wrong, kernel, case.inputs, compiled_folder)) > 10
        few = replace(asked, grid=(asked.grid[0] - 1, 1, 1))
        assert error(case, executed(few, kernel, case.inputs, compiled_folder)) == float("inf")
        new, normed = executed(asked, kernel, case.inputs, compiled_folder)
        assert error(case, (normed, new)) > 10
        return
    pytest.fail("no such case")


@pytest.mark.parametrize("eight", [False, True], ids=["exact", "fp8"])
def test_the_layers_that_stand_for_a_kernel_give_the_same(eight: bool) -> None:
    """An operator's body through ONNX Runtime in float32, its function put in place by it, against the same float64."""
    for case in plugin_cases(256, 64, 3, 8, eight):
        graph = OnnxGraph()
        inputs = [graph.input(f"in_{i}", tuple(t.shape), torch.float32) for i, t in enumerate(case.inputs)]
        found = graph.fused(case.operator, *inputs)
        for i, (value, scale) in enumerate(zip(found, case.scales, strict=True)):
            assert (value.dtype == FLOAT8) == (scale is not None)
            out = value if scale is None else graph.dequantize(value, graph.constant(torch.tensor(scale)))
            graph.output(f"out_{i}", out)
        run = OnnxRun(graph, exact=True)
        outputs = run.run({f"in_{i}": t.float() for i, t in enumerate(case.inputs)})
        values = [outputs[f"out_{i}"] for i in range(len(found))]
        eights = [v if s is None else (v / s).to(FLOAT8) for v, s in zip(values, case.scales, strict=True)]
        assert error(case, eights) <= 1, case.label


def test_each_specialisation_has_a_name_of_its_own() -> None:
    """TensorRT takes the kernel that has the name, whichever plugin brought it."""
    ours = made(Path("nowhere"), Compiler())
    kernels = set()
    for dim, head, eight in ((256, 64, False), (256, 64, True), (256, 128, False), (512, 128, False), (512, 64, True)):
        for case in plugin_cases(dim, head, 3, 8, eight):
            shapes = [t.shape for t in case.inputs]
            kernels.add(ours.launch(case.operator.name, shapes, given(case.operator), ceil_div).kernel)
    names = [kernel.entry for kernel in kernels]
    assert len(set(names)) == len(names) == 26
    assert all(name.isidentifier() for name in names)


def test_what_is_no_plugin() -> None:
    ours = made(Path("nowhere"), Compiler(), used=tensorrt_plugins.USED)
    x, parts = Port("x", (1, 24, 256), torch.bfloat16), Port("parts", (1, 3, 6, 256), torch.float32)
    bias, operator = Port("bias", (1, 1, 256), torch.bfloat16), NormModulate(0, 1e-6)
    assert ours.takes(operator, [x, parts])
    assert not ours.takes(operator, [replace(x, dtype=torch.float16), parts])
    assert not ours.takes(operator, [replace(x, shape=(1, 24, 250)), replace(parts, shape=(1, 3, 6, 250))])
    assert not ours.takes(ResidualNorm(None, None, 1e-6), [x, x, bias, parts, parts])
    assert not ours.takes(Gelu(), [x, bias]), "TensorRT joins it to the product before"
    with pytest.raises(ValueError, match="0 or more, got -1"):
        bits(-1.0)


def test_what_a_plugin_cannot_become_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(plugin_cases(256, 64, 3, 8, eight=False))
    with pytest.raises(PluginError, match=r"plugin norm_modulate_w256_f1\(.*\): rows.cuh\(7\): error: no$"):
        network(made(tmp_path, Compiler("norm_modulate")), case)

    ours = made(tmp_path / "refused", Compiler())
    monkeypatch.setattr(ours.api, "register", lambda _: lambda described: 1 // 0)
    with pytest.raises(PluginError, match=r"^plugin norm_modulate: integer division or modulo by zero$"):
        network(ours, case)

    ours = made(tmp_path / "none", Compiler())
    with pytest.raises(PluginError, match="TensorRT refused it"):
        ours.layer(SimpleNamespace(add_plugin=lambda *_: None), case.operator, case.ports, [ITensor(), ITensor()])


def test_one_registration_serves_all_layers_of_a_kind(tmp_path: Path) -> None:
    compiler = Compiler()
    ours = made(tmp_path, compiler)
    of_kind = [case for case in plugin_cases(256, 64, 3, 8, eight=False) if isinstance(case.operator, NormModulate)]
    found = [network(ours, case).asked(*[[t.shape for t in case.inputs]] * 2) for case in of_kind]
    assert [asked.numbers[0] for asked in found] == [0, 3], "the first of the parts is the layer's own"
    assert list(vars(ours.api.op.worldstream)) == ["norm_modulate_sm90a"]


def test_an_engine_is_of_the_sources_that_are_in_it(tmp_path: Path) -> None:
    ours, other = made(tmp_path, Compiler()), made(tmp_path, Compiler(version="13.1"))
    assert ours.identity == made(tmp_path, Compiler()).identity
    assert len({ours.identity, other.identity, replace(ours, architecture="89").identity}) == 3
    names = {path.name for path in tensorrt_plugins.FILES}
    assert {"norm_modulate.cu", "plugins.py", "graph_operators.py", "tensorrt_plugins.py"} <= names
    assert all(path.is_file() for path in tensorrt_plugins.FILES)


def test_editions_without_plugins_and_machines_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    trt, api = quick_plugins()
    said: list[str] = []
    bare = Edition("TensorRT", "11.4", SimpleNamespace(__name__="no_such_tensorrt"), rtx=False)
    assert bare.plugins() == "TensorRT 11.4 has no ahead-of-time plugins (no IPluginV3QuickAOTBuild)"
    assert plugins_here(bare, "9.0", said.append) is None
    whole = SimpleNamespace(__name__="no_such_tensorrt", IPluginV3QuickAOTBuild=1, **vars(trt))
    edition = Edition("TensorRT", "11.4", whole, rtx=False)
    assert "No module named 'no_such_tensorrt'" in edition.plugins()
    assert plugins_here(edition, "9.0", said.append) is None
    assert said == []
    monkeypatch.setitem(sys.modules, "no_such_tensorrt", whole)
    monkeypatch.setitem(sys.modules, "no_such_tensorrt.plugin", api)
    found = plugins_here(edition, "9.0", said.append)
    assert isinstance(found, Plugins)
    assert (found.architecture, found.api) == ("90a", api)
    assert plugins_here(edition, "7.0", said.append) is None
    monkeypatch.setattr(build, "Nvrtc", refusing)
    assert plugins_here(edition, "9.0", said.append) is None
    assert [line.split(";")[0] for line in said] == [
        "TensorRT plugins: compute capability 7.0 is not among 8.0, 8.6, 8.7, 8.9, 9.0, 10.0, 10.3, 12.0, 12.1",
        "TensorRT plugins: no NVRTC",
    ]


def refusing() -> None:
    raise Unavailable("no NVRTC")


@dataclass
class Written(Plugins):
    """Remembers what becomes a plugin, and writes its layers in its place."""

    graph: Any = None
    told: list[tuple[Operator, Sequence[Port]]] = field(default_factory=list)

    def layer(self, network: Any, operator: Operator, values: Sequence[Port], tensors: Sequence[Any]) -> Any:
        self.told.append((operator, values))
        plain = copy(self.graph)
        plain.plugins = None
        found = operator.body(plain, *tensors)
        return SimpleNamespace(num_outputs=len(found), get_output=lambda i: found[i])


def written(folder: Path) -> Written:
    trt, api = quick_plugins()
    return Written(api, trt, "89", Compiler(), CubinCache(folder))


@pytest.mark.parametrize("eight", [False, True], ids=["bf16", "fp8"])
def test_a_pass_gives_its_kernels_to_the_plugins(eight: bool, tmp_path: Path) -> None:
    """In a network of the real TensorRT-RTX, which takes the layers that stand for them: the same as without."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX has no wheel for this machine")
    ours, amax, rtx = written(tmp_path), AMAX if eight else None, tensorrt_edition._rtx()
    assert isinstance(rtx, Edition)
    ours.graph, plain = TensorRTGraph(rtx, ours), TensorRTGraph(rtx)
    for graph in (ours.graph, plain):
        write_chunk(graph, transformer(), SHAPE, torch.bfloat16, amax)
    assert ours.graph.layers() == plain.layers()
    names = [operator.name for operator, _ in ours.told]
    between = ["residual_norm_gated", "qk_norm_rope", "residual_norm_gated_affine", "rms_norm", "residual_norm"]
    assert names == ["norm_modulate", *between[1:], *between, "residual_norm_gated"]
    scales = [operator.scale for operator, _ in ours.told if isinstance(operator, NormModulate | ResidualNorm)]
    assert [scale is not None for scale in scales] == [eight] * (len(scales) - 1) + [False]
    for operator, values in ours.told:
        launch = ours.launch(operator.name, [value.shape for value in values], given(operator), ceil_div)
        assert launch.grid[0] * (launch.block // 32) == -(-SHAPE.tokens // 4) * 4


def test_an_engine_with_plugins_is_kept_apart_and_a_refused_one_is_built_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a machine that seems to have an H100 and TensorRT, whose builder is not here."""
    monkeypatch.setattr(tensorrt_edition, "find", lambda: Edition("TensorRT", "11.4", SimpleNamespace(), rtx=False))
    monkeypatch.setattr(tensorrt_edition, "device", lambda: Device("NVIDIA H100 80GB HBM3", "9.0"))
    compiler, said = Compiler(), []  # type: ignore[var-annotated]
    ours, shape, twin = made(tmp_path, compiler), ChunkShape(TINY, ROWS, COLUMNS, 1, 2), OnnxGraph()
    write_chunk(twin, transformer(), shape, torch.float32)
    stops: list[str] = []

    class Run(OnnxRun):
        def run(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
            if stops:
                raise RuntimeError(stops[0])
            return super().run(given)

    monkeypatch.setattr(engine_backend, "TensorRTRun", lambda *_: Run(twin))
    monkeypatch.setattr(engine_backend, "plugins_here", lambda *_: ours)
    built: list[Plugins | None] = []

    def graph(edition: Edition, plugins: Plugins | None) -> Any:
        built.append(plugins)
        return SimpleNamespace(build=lambda _: SimpleNamespace(data=b"an engine"))

    def write(*_: Any) -> None:
        if built[-1] is not None and compiler.refuses:
            raise PluginError("the plugin is refused")

    monkeypatch.setattr(engine_backend, "TensorRTGraph", graph)
    monkeypatch.setattr(engine_backend, "write_chunk", write)

    def opened() -> list[str]:
        said.clear()
        assert open_chunk(transformer(), shape, EngineOptions(tmp_path), said.append) is not None
        return said

    assert [line.split("; ")[-1] for line in opened()] == ["building it"]
    (engine,) = tmp_path.glob("*.engine")
    assert engine.name.startswith("wan-chunk-4x6-1-2-0-bf16-plugins-")
    assert opened() == []
    compiler.version = "13.1"  # which other cubins come from
    assert [line.split(": ")[1].split(";")[0] for line in opened()] == [f"{engine.name} is of another graph"]
    assert built == [ours, ours]

    compiler.refuses, compiler.version = "all", "13.2"
    first, why, last = opened()
    assert why == "TensorRT transformer: the plugin is refused; layers in place of our kernels"
    assert "bf16-plugins: " in first
    assert "bf16: " in last
    assert built[2:] == [ours, None]
    assert sorted("plugins" in path.name for path in tmp_path.glob("*.engine")) == [False, True]
    assert open_chunk(transformer(), shape, EngineOptions(tmp_path, plugins=False), said.append) is not None
    assert len(said) == 3, "found again, and no plugin was asked for"
    eight = EngineOptions(tmp_path, amax=AMAX)
    assert open_chunk(transformer(), shape, eight, said.append) is not None
    assert built[-1:] == [None], "in float8 only where they are asked for"
    compiler.refuses = ""
    assert open_chunk(transformer(), shape, replace(eight, plugins=True), said.append) is not None
    assert built[-1:] == [ours]

    stops.append("TensorRT 11.4: the engine stopped")  # a kernel that cannot be loaded shows when it is launched
    why = "TensorRT transformer: TensorRT 11.4: the engine stopped; layers in place of our kernels"
    assert opened()[-1] == why
