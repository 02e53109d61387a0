"""A stand-in of TensorRT's Python module `plugin` for tests: what it takes, and how it answers TensorRT.

It follows the module of tensorrt-cu13-bindings 11.4 in what our plugins meet: names and annotations are checked when a
plugin is registered, lengths are expressions, only 32-bit integers go along with a kernel. That NVIDIA's own module
gives the same is shown by `benchmarks/plugins.py`, which runs it through the very harness that the tests use.
"""

from __future__ import annotations

import enum
import inspect
import typing
from collections.abc import Callable
from copy import copy
from types import SimpleNamespace
from typing import Any


class ITensor:
    """Of a network."""


class Desc:
    """`PluginTensorDesc`, and in `DynamicPluginTensorDesc` as `desc`."""

    dims: Any
    type: Any
    format: Any
    desc: Any


class IDimensionExpr:
    """A length as TensorRT has it."""

    at: Callable[..., int]
    constant: int | None


class SymInt32:
    """A 32-bit integer that is worked out when a kernel is launched; arithmetic is TensorRT's."""

    builder: Any = None

    def __init__(self, value: Any) -> None:
        self.expr: Any = value.expr if isinstance(value, SymInt32) else value
        if isinstance(value, int):
            assert -(2**31) <= value < 2**31
            self.expr = SymInt32.builder.constant(value)
        assert isinstance(self.expr, IDimensionExpr), f"{value!r} is no integer"

    def _with(self, kind: str, other: Any) -> SymInt32:
        other = other if isinstance(other, SymInt32) else SymInt32(other)
        return SymInt32(SymInt32.builder.operation(getattr(Operation, kind), self.expr, other.expr))

    def __mul__(self, other: Any) -> SymInt32:
        return self._with("PROD", other)

    def __floordiv__(self, other: Any) -> SymInt32:
        return self._with("FLOOR_DIV", other)


class Operation(enum.Enum):
    SUM, SUB, PROD, FLOOR_DIV, CEIL_DIV = range(5)


class SymIntExprs(list[Any]):
    """Numbers for a kernel. An integer that is not a `SymInt32` is refused when the kernel is asked for."""

    @classmethod
    def from_tuple(cls, numbers: Any) -> SymIntExprs:
        return cls(numbers)


class TensorDesc:
    """A tensor that goes in or out: its type, expressions of its lengths, and numbers where a kernel is asked for."""

    def __init__(self, shape_expr: Any, dtype: Any) -> None:
        self.shape_expr, self.dtype = list(shape_expr), dtype
        self.shape: Any = None

    def like(self) -> TensorDesc:
        made = copy(self)
        made.shape = None
        return made


class KernelLaunchParams:
    """A number of blocks and threads; all lengths are `SymInt32`."""

    def __init__(self) -> None:
        for name in (*(f"{what}_{axis}" for what in ("grid", "block") for axis in "xyz"), "shared_mem"):
            setattr(self, name, 0 if name == "shared_mem" else 1)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = SymInt32(value)


class Definition:
    """A registered plugin: called with tensors and attributes, it gives what a network takes."""

    def __init__(self, described: Callable[..., Any]) -> None:
        signature = inspect.signature(described)
        kinds = {name: parameter.annotation for name, parameter in signature.parameters.items()}
        self.tensors = [name for name, kind in kinds.items() if kind is TensorDesc]
        self.attributes = {name: kind for name, kind in kinds.items() if kind is not TensorDesc}
        assert list(kinds) == [*self.tensors, *self.attributes], "tensors come first"
        assert set(self.attributes.values()) <= {int, float, str, bool, bytes}
        gives = signature.return_annotation
        assert typing.get_origin(gives) is tuple
        assert set(typing.get_args(gives)) == {TensorDesc}
        self.described, self.outputs = described, len(typing.get_args(gives))
        self.compiled: Callable[..., Any] | None = None

    def implement(self, compiled: Callable[..., Any]) -> None:
        signature = inspect.signature(compiled)
        assert list(signature.parameters) == [*self.tensors, *self.attributes, "outputs", "tactic"]
        answers = typing.get_args(signature.return_annotation)
        assert len(answers) == 4
        assert set(answers[:2]) <= {str, bytes}
        assert answers[2] is KernelLaunchParams
        assert issubclass(answers[3], SymIntExprs)
        self.compiled = compiled

    def __call__(self, *tensors: Any, **attributes: Any) -> Callable[..., Any]:
        if len(tensors) != len(self.tensors) or list(attributes) != list(self.attributes):
            raise ValueError(f"unexpected schema: {len(tensors)} tensors, {list(attributes)}")
        assert all(isinstance(tensor, ITensor) for tensor in tensors)
        for name, value in attributes.items():
            if type(value) is not self.attributes[name]:
                raise ValueError(f"unexpected type {type(value)} for attribute {name!r}")
        return lambda request: (tensors, [], AheadOfTime(self, attributes))


class AheadOfTime:
    """What TensorRT asks while it builds."""

    def __init__(self, definition: Definition, attributes: dict[str, Any]) -> None:
        self._definition, self._attributes = definition, attributes

    def get_output_data_types(self, types: Any, ranks: Any) -> list[Any]:
        self._types = types
        assert [rank > 0 for rank in ranks] == [True] * len(types)
        described = self._definition.described
        shapes = [[SymInt32(_unknown())] * rank for rank in ranks]
        SymInt32.builder = SimpleNamespace(constant=lambda _: _unknown(), operation=lambda *_: _unknown())
        inputs = [TensorDesc(shape, kind) for shape, kind in zip(shapes, types, strict=True)]
        return [out.dtype for out in described(*inputs, **self._attributes)]

    def get_aliased_input(self, index: int) -> int:
        return -1

    def get_output_shapes(self, inputs: Any, shapes: Any, builder: Any) -> list[Any]:
        SymInt32.builder = builder
        of = [[SymInt32(length) for length in lengths] for lengths in inputs]
        self._inputs = [TensorDesc(shape, kind) for shape, kind in zip(of, self._types, strict=True)]
        self._outputs = self._definition.described(*self._inputs, **self._attributes)
        return [[SymInt32(length).expr for length in out.shape_expr] for out in self._outputs]

    def get_supported_format_combinations(self, in_out: Any, count: int) -> list[Any]:
        return [each.desc for each in in_out]

    def configure_plugin(self, inputs: Any, outputs: Any) -> None: ...
    def get_valid_tactics(self) -> list[int]:
        return []

    def set_tactic(self, tactic: int) -> None:
        self._tactic = tactic

    def get_launch_params(self, _: Any, in_out: Any, count: int, params: Any, numbers: Any, builder: Any) -> None:
        SymInt32.builder = builder
        for told, desc in zip([*self._inputs, *self._outputs], in_out, strict=True):
            told.shape = desc.desc.dims
        assert self._definition.compiled is not None
        answer = self._definition.compiled(*self._inputs, *self._attributes.values(), self._outputs, self._tactic)
        self._name, self._code, told_params, extra = answer
        assert isinstance(self._name, str | bytes)
        assert isinstance(self._code, str | bytes)
        for name, value in vars(told_params).items():
            setattr(params, name, SimpleNamespace(python=value.expr))
        numbers.nbSymExprs = len(extra)
        for i, number in enumerate(extra):
            if not isinstance(number, SymInt32):
                raise TypeError(f"extra arguments must be SymInt32, got {type(number)}")
            numbers[i] = SimpleNamespace(python=number.expr)

    def get_kernel(self, inputs: Any, outputs: Any) -> tuple[Any, Any]:
        return self._name, self._code


def _unknown() -> IDimensionExpr:
    return IDimensionExpr()


def quick_plugins() -> tuple[Any, Any]:
    """The package and its module of plugins, with nothing registered."""
    names = ("FLOAT", "HALF", "BF16", "FP8", "INT32", "INT64")
    trt = SimpleNamespace(
        ITensor=ITensor,
        IDimensionExpr=IDimensionExpr,
        DimensionOperation=Operation,
        DataType=enum.Enum("DataType", names),
        TensorFormat=enum.Enum("TensorFormat", ("LINEAR",)),
        QuickPluginCreationRequest=SimpleNamespace(STRICT_AOT=4),
        PluginTensorDesc=Desc,
        DynamicPluginTensorDesc=Desc,
    )
    op = SimpleNamespace()

    def register(plugin_id: str) -> Callable[..., Any]:
        namespace, name = plugin_id.split("::")
        space = op.__dict__.setdefault(namespace, SimpleNamespace())
        if hasattr(space, name):
            raise ValueError(f"{name} is registered already")
        return lambda described: setattr(space, name, Definition(described))

    def aot_impl(plugin_id: str) -> Callable[..., Any]:
        namespace, name = plugin_id.split("::")
        return getattr(getattr(op, namespace), name).implement

    return trt, SimpleNamespace(
        op=op,
        register=register,
        aot_impl=aot_impl,
        TensorDesc=TensorDesc,
        SymInt32=SymInt32,
        SymIntExprs=SymIntExprs,
        KernelLaunchParams=KernelLaunchParams,
        cdiv=lambda a, b: a._with("CEIL_DIV", b),
        from_shape_expr=TensorDesc,
    )
