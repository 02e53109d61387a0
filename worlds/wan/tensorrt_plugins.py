"""Our kernels inside an engine: `graph_operators` as ahead-of-time plugins of TensorRT, where the edition has them.

TensorRT is told what goes in and out of each, and asks once while it builds for the compiled kernel, the grid as
expressions of the inputs' lengths, and the integers that the kernel is called with. All of it then lies in the engine:
no Python runs with it. No output shares memory with an input: TensorRT may copy around plugins that do, and its own
layer writes keys and values in place.

"Built and parity-checked on a CPU, not run inside TensorRT": what would be launched is executed on the CPU by the
tests, and by `benchmarks/plugins.py` as NVIDIA's own Python package describes it. Nobody has run it in an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, Signature
from pathlib import Path
from types import GenericAlias
from typing import Any

import torch

from ...kernels import build, plugins
from ...kernels.cubins import CubinCache, default_folder
from ...kernels.headers import own_headers
from ...kernels.launch import SOURCES, Kernel
from ...kernels.plugins import CeilDiv, L, PluginLaunch, Shape
from ..engine_files import sources_hash
from ..tensorrt_edition import Edition
from . import graph_operators
from .graph import Operator, Port

NAMESPACE = "worldstream"
Numbers = Mapping[str, Any]  # attributes of a plugin: `int` or `float`


class PluginError(RuntimeError):
    """A kernel cannot become a plugin here; the message is one line."""


@dataclass(frozen=True, slots=True)
class Form:
    """One kind of plugin. `launch` works from the lengths of the inputs, the width of a row and the attributes."""

    inputs: tuple[str, ...]
    attributes: tuple[str, ...]
    outputs: tuple[str, ...]  # "x": as the first input; "normed": the same or in float8; "heads": [B, H, N, d]
    launch: Callable[[Sequence[Shape[Any]], int, Numbers, CeilDiv[Any]], PluginLaunch[Any]]


ATTRIBUTES: dict[str, type[int] | type[float]] = {"gate": int, "first": int, "heads": int, "eps": float, "scale": float}
SIXTEEN_BITS = {"x", "added", "qkv", "product_bias"}  # inputs in bf16; all others are float32


def _norm_modulate(of: Sequence[Shape[L]], width: int, given: Numbers, ceil_div: CeilDiv[L]) -> PluginLaunch[L]:
    return plugins.norm_modulate(of[0], of[1], width, given["first"], given["eps"], given["scale"] or None, ceil_div)


def _residual_norm(gated: bool, affine: bool) -> Form:
    def launch(of: Sequence[Shape[L]], width: int, given: Numbers, ceil_div: CeilDiv[L]) -> PluginLaunch[L]:
        gates, conditions = of[3] if gated else None, None if affine else of[-1]
        numbers = given["gate"], given["first"], given["eps"], given["scale"] or None
        return plugins.residual_norm(of[0], gates, conditions, width, *numbers, ceil_div)

    inputs = ("x", "added", "product_bias", *["gates"] * gated, *(("weight", "bias") if affine else ("parts",)))
    return Form(inputs, ("gate", "first", "eps", "scale"), ("x", "normed"), launch)


def _qk_norm_rope(of: Sequence[Shape[L]], width: int, given: Numbers, ceil_div: CeilDiv[L]) -> PluginLaunch[L]:
    head = width // given["heads"]
    return plugins.qk_norm_rope(of[0], width, head, given["eps"], head**-0.5, ceil_div)


def _rms_norm(of: Sequence[Shape[L]], width: int, given: Numbers, ceil_div: CeilDiv[L]) -> PluginLaunch[L]:
    head = width // given["heads"]
    return plugins.rms_norm(of[0], width, head, given["eps"], head**-0.5, ceil_div)


def _gelu(of: Sequence[Shape[L]], width: int, given: Numbers, ceil_div: CeilDiv[L]) -> PluginLaunch[L]:
    return plugins.gelu(of[0], width, given["scale"] or None, ceil_div)


FORMS: dict[str, Form] = {
    "norm_modulate": Form(("x", "parts"), ("first", "eps", "scale"), ("normed",), _norm_modulate),
    "residual_norm": _residual_norm(gated=False, affine=False),
    "residual_norm_gated": _residual_norm(gated=True, affine=False),
    "residual_norm_gated_affine": _residual_norm(gated=True, affine=True),
    "qk_norm_rope": Form(
        ("qkv", "product_bias", "q_weight", "k_weight", "cos", "sin"), ("heads", "eps"), ("heads",) * 3, _qk_norm_rope
    ),
    "rms_norm": Form(("x", "product_bias", "weight"), ("heads", "eps"), ("heads",), _rms_norm),
    "gelu": Form(("x", "product_bias"), ("scale",), ("normed",), _gelu),
}
USED = frozenset(FORMS) - {"gelu"}
"""What becomes a plugin. Not GELU: TensorRT joins it to the product before, from which a plugin would separate it."""
FILES = (
    *(SOURCES / f"{source}.cu" for source in plugins.PLUGIN_SOURCES),
    *(Path(str(module.__file__)) for module in (plugins, graph_operators)),
    Path(__file__),
)


@dataclass
class Plugins:
    """The plugins of one edition and architecture. Registered when first used, once in a process."""

    api: Any  # the edition's module `plugin`
    trt: Any  # the edition's own module
    architecture: str  # "90a"
    compiler: build.Compiler
    cache: CubinCache
    used: frozenset[str] = USED
    _cubins: dict[Kernel, bytes] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Of an engine that holds them: sources, compiler and architecture."""
        told = (self.architecture, self.compiler.version, sorted(self.used), own_headers())
        return sources_hash(*told, files=FILES)

    def takes(self, operator: Operator, values: Sequence[Port]) -> bool:
        """Whether an operator on these inputs becomes a plugin: kernels are for bf16, and for whole pieces of a row."""
        form = FORMS.get(operator.name)
        if form is None or operator.name not in self.used:
            return False
        wanted = [torch.bfloat16 if name in SIXTEEN_BITS else torch.float32 for name in form.inputs]
        if [value.dtype for value in values] != wanted:
            return False
        try:
            self.launch(operator.name, [value.shape for value in values], given(operator), _ceil_div)
        except ValueError:
            return False
        return True

    def layer(self, network: Any, operator: Operator, values: Sequence[Port], tensors: Sequence[Any]) -> Any:
        """The plugin in a network. Raises PluginError where the kernel does not compile or the edition refuses it."""
        numbers = given(operator)
        launch = self.launch(operator.name, [value.shape for value in values], numbers, _ceil_div)
        self.cubin(launch.kernel)  # now: an error inside TensorRT's own call would be lost
        try:
            layer = network.add_plugin(self._definition(operator.name)(*tensors, **numbers), True)
        except Exception as error:  # of NVIDIA's experimental module: whatever it is, layers can do the work
            raise PluginError(f"plugin {operator.name}: {_line(error)}") from None
        if layer is None:
            raise PluginError(f"plugin {operator.name}: TensorRT refused it")
        return layer

    def launch(
        self, name: str, shapes: Sequence[Shape[L]], numbers: Numbers, ceil_div: CeilDiv[L], width: int | None = None
    ) -> PluginLaunch[L]:
        """How TensorRT launches a plugin. `width`, of a row, is worked out where lengths are integers."""
        if width is None:
            last = shapes[0][2]
            assert isinstance(last, int)
            width = last
        return FORMS[name].launch(shapes, width // 3 if name == "qk_norm_rope" else width, numbers, ceil_div)

    def cubin(self, kernel: Kernel) -> bytes:
        """The compiled kernel, as the `cuda` backend would load it. Raises PluginError."""
        if kernel not in self._cubins:
            try:
                self._cubins[kernel] = build.compiled(kernel, self.architecture, self.compiler, self.cache)
            except (build.CompileError, build.Unavailable) as error:
                raise PluginError(f"plugin {kernel}: {_line(error)}") from None
        return self._cubins[kernel]

    def _definition(self, name: str) -> Any:
        """NVIDIA's own record of a plugin, which is called with tensors and attributes."""
        known = f"{name}_sm{self.architecture}"
        namespace = getattr(self.api.op, NAMESPACE, None)
        if namespace is None or not hasattr(namespace, known):
            self._register(name, f"{NAMESPACE}::{known}")
        return getattr(getattr(self.api.op, NAMESPACE), known)

    def _register(self, name: str, plugin_id: str) -> None:
        form, api = FORMS[name], self.api

        def described(*tensors: Any, **numbers: Any) -> Any:
            told = dict(zip((*form.inputs, *form.attributes), tensors, strict=False)) | numbers
            return self._outputs(form, told)

        def compiled(*told: Any) -> Any:
            tensors, numbers = told[: len(form.inputs)], told[len(form.inputs) : -2]
            return self._kernel(name, tensors, dict(zip(form.attributes, numbers, strict=True)))

        tensors = [Parameter(n, Parameter.POSITIONAL_OR_KEYWORD, annotation=api.TensorDesc) for n in form.inputs]
        numbers = [Parameter(n, Parameter.POSITIONAL_OR_KEYWORD, annotation=ATTRIBUTES[n]) for n in form.attributes]
        last = [Parameter(n, Parameter.POSITIONAL_OR_KEYWORD) for n in ("outputs", "tactic")]
        gives = GenericAlias(tuple, (api.TensorDesc,) * len(form.outputs))
        answers = GenericAlias(tuple, (str, bytes, api.KernelLaunchParams, api.SymIntExprs))
        # the package reads names and types of arguments, which these functions take by their places
        described.__signature__ = Signature([*tensors, *numbers], return_annotation=gives)  # type: ignore[attr-defined]
        compiled.__signature__ = Signature(  # type: ignore[attr-defined]
            [*tensors, *numbers, *last], return_annotation=answers
        )
        api.register(plugin_id)(described)
        api.aot_impl(plugin_id)(compiled)

    def _outputs(self, form: Form, told: Mapping[str, Any]) -> tuple[Any, ...]:
        """Shapes and types of what comes out, as expressions of what goes in."""
        first = told[form.inputs[0]]
        made = []
        for output in form.outputs:
            if output == "heads":
                heads, parts = told["heads"], 3 if form.inputs[0] == "qkv" else 1
                batch, count, width = (first.shape_expr[i] for i in range(3))
                shape = (batch, heads, count, width // (heads * parts))
                made.append(self.api.from_shape_expr(shape, first.dtype))
                continue
            desc = first.like()
            if output == "normed" and told["scale"]:
                desc.dtype = self.trt.DataType.FP8
            made.append(desc)
        return tuple(made)

    def _kernel(self, name: str, tensors: Sequence[Any], numbers: Numbers) -> tuple[str, bytes, Any, Any]:
        """What TensorRT asks while it builds: name and code of the kernel, its grid, and its numbers."""
        api, shapes = self.api, [tensor.shape_expr for tensor in tensors]
        launch = self.launch(name, shapes, numbers, api.cdiv, width=int(tensors[0].shape[2]))
        params = api.KernelLaunchParams()
        params.grid_x, params.grid_y = launch.grid
        params.block_x = launch.block
        extra = api.SymIntExprs.from_tuple([api.SymInt32(number) for number in launch.numbers])
        return launch.kernel.entry, self.cubin(launch.kernel), params, extra


def plugins_here(edition: Edition, capability: str, say: Callable[[str], None]) -> Plugins | None:
    """Our kernels for an engine of this compute capability; None where the edition has no plugins, or, after one line,
    where nothing compiles."""
    api = edition.plugins()
    if isinstance(api, str):
        return None
    try:
        major, minor = (int(part) for part in capability.split("."))
        architecture = build.architecture_for((major, minor))
        return Plugins(api, edition.api, architecture, build.Nvrtc(), CubinCache(default_folder()))
    except build.Unavailable as why:
        say(f"TensorRT plugins: {_line(why)}; layers in their place")
        return None


def given(operator: Operator) -> dict[str, Any]:
    """An operator's attributes as TensorRT takes them; what is None is 0."""
    return {name: ATTRIBUTES[name](getattr(operator, name) or 0) for name in FORMS[operator.name].attributes}


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
