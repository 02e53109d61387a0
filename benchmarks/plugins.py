"""Our TensorRT plugins, described by NVIDIA's own Python package and executed on this CPU.

TensorRT's libraries are not to be had here, but its Python bindings are a package of their own. Their extension asks
nine functions of those libraries, which are made here as stand-ins that end the process when they are called; so all of
the package's Python runs: registration, symbolic lengths, launch parameters, the integers that go along. What it says
of every plugin is then worked out for several numbers of tokens, and the kernel is executed on the CPU in TensorRT's
order of arguments, every access to memory watched, and held against float64. Nothing here is TensorRT itself: no engine
is built, and no GPU is used.

    pip download --no-deps -d wheels "tensorrt-cu13-bindings==11.4.*"
    python benchmarks/plugins.py wheels/tensorrt_cu13_bindings-*.whl
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.plugin_cases import Asked, PluginCase, error, executed, plugin_cases
from worldstream.kernels.build import Nvrtc
from worldstream.kernels.cubins import CubinCache
from worldstream.kernels.host import find_compiler
from worldstream.kernels.launch import Kernel
from worldstream.worlds.wan.tensorrt_graph import TYPES
from worldstream.worlds.wan.tensorrt_plugins import FORMS, Plugins

LIBRARIES = ("libnvinfer.so.11", "libnvinfer_plugin.so.11", "libnvonnxparser.so.11")
FUNCTIONS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL", "getBuilderPluginRegistry",
    "getPluginRegistry", "initLibNvInferPlugins", "getNvOnnxParserVersion",
)  # fmt: skip
Shapes = Sequence[Sequence[int]]  # of the inputs, when the kernel is launched


def stand_ins(folder: Path) -> None:
    """Load libraries that have the names and functions that the extension asks for, and can do nothing."""
    body = "\n".join(f'extern "C" void* {name}() {{ fputs("{name}\\n", stderr); abort(); }}' for name in FUNCTIONS)
    source = folder / "stand_in.cpp"
    source.write_text(f"#include <stdio.h>\n#include <stdlib.h>\n{body}\n")
    for name in LIBRARIES:
        made = folder / name
        options = ("-shared", "-fPIC", f"-Wl,-soname,{name}", str(source), "-o", str(made))
        subprocess.run([*find_compiler(), *options], check=True)
        ctypes.CDLL(str(made), mode=ctypes.RTLD_GLOBAL)


def bindings(wheel: Path, folder: Path) -> tuple[Any, Any]:
    """NVIDIA's package and its module of plugins, with what TensorRT would hand to them replaced by Python."""
    stand_ins(folder)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    sys.path.insert(0, str(folder))
    trt: Any = importlib.import_module("tensorrt_bindings")
    sys.modules["tensorrt"] = trt  # as its own package of that name does
    registry = Registry()
    trt.get_plugin_registry = lambda: registry
    trt.DimsExprs = lambda count: [None] * count
    api: Any = importlib.import_module("tensorrt_bindings.plugin")
    return trt, api


class Registry:
    """TensorRT's list of plugins."""

    def __init__(self) -> None:
        self.creators: dict[tuple[str, str], Any] = {}

    def register_creator(self, creator: Any, namespace: str) -> None:
        self.creators[creator.name, namespace] = creator

    def get_creator(self, name: str, version: str, namespace: str) -> Any:
        return self.creators[name, namespace]


@dataclass
class Network:
    """Takes plugins as a network does, and asks them what TensorRT asks while it builds."""

    trt: Any
    api: Any
    types: list[torch.dtype]  # of the inputs
    plugin: Any = None

    def add_plugin(self, create: Callable[..., Any], aot: bool) -> object:
        assert aot
        _, _, self.plugin = create(self.trt.QuickPluginCreationRequest.STRICT_AOT)
        return self

    def asked(self, built: Shapes, run: Shapes) -> Asked:
        """What is launched for inputs of the shapes `run`; the number of tokens is open while it is built, and the
        network's other lengths are those of `built`."""
        trt, plugin, expressions = self.trt, self.plugin, Expressions(self.trt)
        inputs = [
            [expressions.length(i, axis, open_=axis == 1 and len(shape) > 2 and shape[1] != run[i][1], built=n)
             for axis, n in enumerate(shape)]
            for i, shape in enumerate(built)
        ]  # fmt: skip
        in_types = [getattr(trt.DataType, TYPES[kind]) for kind in self.types]
        out_types = plugin.get_output_data_types(in_types, [len(shape) for shape in built])
        aliased = [plugin.get_aliased_input(i) for i in range(len(out_types))]
        assert aliased == [-1] * len(out_types), "no output lies on an input"
        out_lengths = plugin.get_output_shapes(inputs, [], expressions)
        lengths = [*inputs, *out_lengths]
        descs = [_desc(trt, [-1 if e.constant is None else e.constant for e in shape], kind)
                 for shape, kind in zip(lengths, [*in_types, *out_types], strict=True)]  # fmt: skip
        dynamic = [_dynamic(trt, desc) for desc in descs]
        count = len(built)
        combination = plugin.get_supported_format_combinations(dynamic, count)
        assert [d.type for d in combination] == [*in_types, *out_types], "one combination of types: the network's"
        assert {d.format for d in combination} == {trt.TensorFormat.LINEAR}
        plugin.configure_plugin(dynamic[:count], dynamic[count:])
        assert plugin.get_valid_tactics() == []
        plugin.set_tactic(0)
        params, numbers = Parameters(), Numbers()
        plugin.get_launch_params(inputs, dynamic, count, params, numbers, expressions)
        entry, cubin = plugin.get_kernel(descs[:count], descs[count:])
        found = {name: told.python.at(run) for name, told in vars(params).items()}
        kinds = {getattr(trt.DataType, name): kind for kind, name in TYPES.items()}
        return Asked(
            entry,
            cubin,
            grid=(found["grid_x"], found["grid_y"], found["grid_z"]),
            block=(found["block_x"], found["block_y"], found["block_z"]),
            shared=found["shared_mem"],
            numbers=tuple(number.python.at(run) for number in numbers.held),
            outputs=tuple(
                (tuple(length.at(run) for length in shape), kinds[kind])
                for shape, kind in zip(out_lengths, out_types, strict=True)
            ),
        )


class Parameters:
    """Where a plugin puts its launch parameters."""


@dataclass
class Numbers:
    """Where a plugin puts the integers that its kernel is called with."""

    nbSymExprs: int = 0
    held: list[Any] = field(default_factory=list)

    def __setitem__(self, place: int, number: Any) -> None:
        assert place == len(self.held) < self.nbSymExprs
        self.held.append(number)


class Expressions:
    """TensorRT's builder of expressions: each is a function of the shapes that a kernel is launched for."""

    def __init__(self, trt: Any) -> None:
        class Expression(trt.IDimensionExpr):  # type: ignore[misc]
            at: Callable[[Shapes], int]
            constant: int | None

            def is_constant(self) -> bool:
                return self.constant is not None

            def get_constant_value(self) -> int:
                assert self.constant is not None
                return self.constant

        self._trt, self._kind = trt, Expression

    def length(self, place: int, axis: int, open_: bool, built: int) -> Any:
        return self._made(lambda run: run[place][axis], None if open_ else built)

    def constant(self, number: int) -> Any:
        assert isinstance(number, int)
        return self._made(lambda _: number, number)

    def operation(self, kind: Any, a: Any, b: Any) -> Any:
        do = self._trt.DimensionOperation
        work: dict[Any, Callable[[int, int], int]] = {
            do.SUM: lambda m, n: m + n, do.SUB: lambda m, n: m - n, do.PROD: lambda m, n: m * n,
            do.FLOOR_DIV: lambda m, n: m // n, do.CEIL_DIV: lambda m, n: -(-m // n),
        }  # fmt: skip
        known = None if None in (a.constant, b.constant) else work[kind](a.constant, b.constant)
        return self._made(lambda run: work[kind](a.at(run), b.at(run)), known)

    def _made(self, at: Callable[[Shapes], int], constant: int | None) -> Any:
        # the extension has no constructor of it: TensorRT's own are made in C++
        made = self._trt.IDimensionExpr.__new__(self._kind)
        made.at, made.constant = at, constant
        return made


def _desc(trt: Any, shape: Sequence[int], kind: Any) -> Any:
    desc = trt.PluginTensorDesc()
    desc.dims, desc.type, desc.format = shape, kind, trt.TensorFormat.LINEAR
    return desc


def _dynamic(trt: Any, desc: Any) -> Any:
    made = trt.DynamicPluginTensorDesc()
    made.desc = desc
    return made


def readable(api: Any) -> None:
    """Let the package's symbolic numbers, which only TensorRT reads, be read from Python as well."""
    kind = importlib.import_module(f"{api.__name__}._tensor").SymExprImpl
    before = kind.__init__

    def remembered(self: Any, expr: Any) -> None:
        before(self, expr)
        self.python = expr._expr

    kind.__init__ = remembered


@dataclass
class Compiler:
    """NVRTC, and which kernel an entry was compiled of."""

    kernels: dict[str, Kernel] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._nvrtc = Nvrtc()
        self.version = self._nvrtc.version

    def __call__(self, kernel: Kernel, architecture: str) -> bytes:
        self.kernels[kernel.entry] = kernel
        return self._nvrtc(kernel, architecture)


def rows(wheel: Path, architecture: str) -> list[tuple[str, Asked, float]]:
    """Every plugin at three numbers of tokens: label, what is launched, and its error."""
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        trt, api = bindings(wheel, folder)
        readable(api)
        compiler = Compiler()
        ours = Plugins(api, trt, architecture, compiler, CubinCache(folder / "cubins"), used=frozenset(FORMS))
        for case, others in cases():
            network = Network(trt, api, [t.dtype for t in case.inputs])
            assert ours.takes(case.operator, case.ports)
            ours.layer(network, case.operator, case.ports, [trt.ITensor.__new__(trt.ITensor) for _ in case.inputs])
            built = [tuple(t.shape) for t in case.inputs]
            for each in (case, *others):
                run = [tuple(t.shape) for t in each.inputs]
                asked = network.asked(built, run)
                assert asked.cubin[:4] == b"\x7fELF"
                outputs = executed(asked, compiler.kernels[asked.entry], each.inputs, folder, watched=True)
                found.append((f"{case.label}, {run[0][1]} tokens", asked, error(each, outputs)))
    return found


def cases() -> list[tuple[PluginCase, list[PluginCase]]]:
    """Each operator as it is built, and the same for other numbers of tokens."""
    found = []
    for eight in (False, True):
        made = [list(plugin_cases(256, 64, 3, tokens, eight, seed=tokens)) for tokens in (8, 5, 11)]
        found += [(first, list(others)) for first, *others in zip(*made, strict=True)]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="tensorrt_cu13_bindings-….whl of this Python")
    parser.add_argument("--architecture", default="90a", help="that the kernels are compiled for")
    options = parser.parse_args()
    found = rows(options.wheel, options.architecture)
    print(f"{'plugin':44} {'entry':32} {'grid':12} {'block':>5} {'cubin':>7}  error / allowed")
    for label, asked, off in found:
        grid = " x ".join(map(str, asked.grid[:2]))
        print(f"{label:44} {asked.entry:32} {grid:12} {asked.block[0]:5} {len(asked.cubin):7}  {off:.3f}")
    wrong = [label for label, _, off in found if off > 1]
    print(
        f"{len(found) - len(wrong)} of {len(found)} within one rounding of float64" + "".join(f"; {w}" for w in wrong)
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
