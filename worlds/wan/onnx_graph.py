"""The ONNX side of `graph`: nodes of the standard operators (opset 24), and ONNX Runtime on the CPU to run them.

This is the oracle of the TensorRT engines on machines without a GPU, not a product of its own. Package `onnx` (and
`onnxruntime` to run) is needed only when this is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor

from .graph import FLOAT8, Binary, Operator, Port, Shape, Unary, through_float8

OPSET = 24  # the first with TensorScatter and with lengths in Attention
DOMAIN = "worldstream"  # of our operators, each a function of the model with its layers as the body
TYPES = {
    torch.float32: TensorProto.FLOAT,
    torch.float16: TensorProto.FLOAT16,
    torch.bfloat16: TensorProto.BFLOAT16,
    FLOAT8: TensorProto.FLOAT8E4M3FN,
    torch.int32: TensorProto.INT32,
    torch.int64: TensorProto.INT64,
}
BINARY: dict[Binary, str] = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min"}
UNARY: dict[Unary, str] = {"sqrt": "Sqrt", "tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu", "gelu": "Gelu"}


@dataclass(frozen=True, slots=True)
class Value:
    """The result of a node."""

    name: str
    shape: Shape
    dtype: torch.dtype


@dataclass
class OnnxGraph:
    """A `Graph` of ONNX nodes; `model()` when all is written."""

    inputs: dict[str, Port] = field(default_factory=dict)
    outputs: dict[str, Port] = field(default_factory=dict)
    _nodes: list[Any] = field(default_factory=list)
    _weights: list[Any] = field(default_factory=list)
    _functions: dict[tuple[Operator, tuple[tuple[Shape, torch.dtype], ...]], _Function] = field(default_factory=dict)

    def input(self, name: str, shape: Shape, dtype: torch.dtype) -> Value:
        self.inputs[name] = Port(name, shape, dtype)
        return Value(name, shape, dtype)

    def output(self, name: str, value: Value) -> None:
        self.outputs[name] = Port(name, value.shape, value.dtype)
        self._nodes.append(helper.make_node("Identity", [value.name], [name]))

    def constant(self, value: Tensor) -> Value:
        return self._kept(_array(value), TYPES[value.dtype], tuple(value.shape), value.dtype)

    def shape(self, value: Value) -> Shape:
        return value.shape

    def dtype(self, value: Value) -> torch.dtype:
        return value.dtype

    def cast(self, value: Value, dtype: torch.dtype) -> Value:
        return value if value.dtype == dtype else self._node("Cast", [value], value.shape, dtype, to=TYPES[dtype])

    def binary(self, kind: Binary, a: Value, b: Value) -> Value:
        return self._node(BINARY[kind], [a, b], _broadcast(a.shape, b.shape), a.dtype)

    def unary(self, kind: Unary, value: Value) -> Value:
        how = {"approximate": "tanh"} if kind == "gelu" else {}
        return self._node(UNARY[kind], [value], value.shape, value.dtype, **how)

    def mean(self, value: Value, axis: int) -> Value:
        axis %= len(value.shape)
        shape = (*value.shape[:axis], 1, *value.shape[axis + 1 :])
        return self._node("ReduceMean", [value, self._integers(axis)], shape, value.dtype, keepdims=1)

    def matmul(self, a: Value, b: Value, transposed: bool = False) -> Value:
        if transposed:
            b = self.transpose(b, (*range(len(b.shape) - 2), len(b.shape) - 1, len(b.shape) - 2))
        shape = (*_broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
        return self._node("MatMul", [a, b], shape, a.dtype)

    def layer_norm(self, value: Value, scale: Value, bias: Value, eps: float) -> Value:
        flat = [self.reshape(v, v.shape[-1:]) for v in (scale, bias)]
        return self._node("LayerNormalization", [value, *flat], value.shape, value.dtype, axis=-1, epsilon=eps)

    def attention(
        self,
        q: Value,
        k: Value,
        v: Value,
        lengths: Value | None,
        fused: bool = True,
        weights_scale: float | None = None,
    ) -> Value:
        if weights_scale is not None:
            return self._rounded_attention(q, k, v, lengths, weights_scale)
        given: list[Value | None] = [q, k, v]
        if lengths is not None:
            given += [None, None, None, self.cast(lengths, torch.int64)]
        return self._node("Attention", given, (*q.shape[:3], v.shape[3]), q.dtype, scale=1.0)

    def _rounded_attention(self, q: Value, k: Value, v: Value, lengths: Value | None, scale: float) -> Value:
        """In parts, because ONNX's own Attention keeps its softmax to itself."""
        scores = self.matmul(q, k, transposed=True)
        if lengths is not None:
            place = self.constant(torch.arange(k.shape[2], dtype=torch.int32).view(1, 1, 1, -1))
            ends = self.reshape(lengths, (lengths.shape[0], 1, 1, 1))
            counts = self._node("Less", [place, ends], (lengths.shape[0], 1, 1, k.shape[2]), torch.bool)
            never = self.constant(torch.full((1, 1, 1, 1), -torch.inf, dtype=q.dtype))
            scores = self._node("Where", [counts, scores, never], scores.shape, q.dtype)
        weights = self._node("Softmax", [scores], scores.shape, q.dtype, axis=-1)
        return self.matmul(through_float8(self, weights, scale), v)

    def rotary(self, value: Value, cos: Value, sin: Value) -> Value:
        return self._node("RotaryEmbedding", [value, cos, sin], value.shape, value.dtype, interleaved=1)

    def cache_update(self, cache: Value, update: Value, index: Value) -> Value:
        rows = self.cast(index, torch.int64)
        return self._node("TensorScatter", [cache, update, rows], cache.shape, cache.dtype, axis=2, mode="linear")

    def reshape(self, value: Value, shape: Shape) -> Value:
        assert math.prod(shape) == math.prod(value.shape), f"{value.shape} cannot become {shape}"
        return self._node("Reshape", [value, self._integers(*shape)], shape, value.dtype)

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        shape = tuple(value.shape[axis] for axis in order)
        return self._node("Transpose", [value], shape, value.dtype, perm=list(order))

    def slice(self, value: Value, axis: int, start: int, size: int) -> Value:
        shape = (*value.shape[:axis], size, *value.shape[axis + 1 :])
        ends = [self._integers(n) for n in (start, start + size, axis)]
        return self._node("Slice", [value, *ends], shape, value.dtype)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        first = values[0]
        shape = (*first.shape[:axis], sum(v.shape[axis] for v in values), *first.shape[axis + 1 :])
        return self._node("Concat", list(values), shape, first.dtype, axis=axis)

    def zeros_before(self, value: Value, axis: int, count: int) -> Value:
        before = [count if a == axis else 0 for a in range(len(value.shape))]
        shape = tuple(size + more for size, more in zip(value.shape, before, strict=True))
        return self._node("Pad", [value, self._integers(*before, *(0 for _ in before))], shape, value.dtype)

    def conv(self, value: Value, weight: Value, bias: Value | None, padding: Shape) -> Value:
        spatial = zip(value.shape[2:], weight.shape[2:], padding, strict=True)
        shape = (value.shape[0], weight.shape[0], *(n + 2 * p - k + 1 for n, k, p in spatial))
        given = [value, weight] if bias is None else [value, weight, bias]
        return self._node("Conv", list(given), shape, value.dtype, pads=[*padding, *padding])

    def twice(self, value: Value) -> Value:
        shape = (*value.shape[:-2], 2 * value.shape[-2], 2 * value.shape[-1])
        scales = np.array([1.0] * (len(shape) - 2) + [2.0, 2.0], np.float32)
        factors = self._kept(scales, TensorProto.FLOAT, scales.shape, torch.float32)
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self._node("Resize", [value, None, factors], shape, value.dtype, **how)

    def quantize(self, value: Value, scale: Value) -> Value:
        return self._node("QuantizeLinear", [value, scale], value.shape, FLOAT8, output_dtype=TYPES[FLOAT8])

    def dequantize(self, value: Value, scale: Value, axis: int | None = None) -> Value:
        how = {} if axis is None else {"axis": axis}
        return self._node("DequantizeLinear", [value, scale], value.shape, scale.dtype, **how)

    def fused(self, operator: Operator, *values: Value) -> tuple[Value, ...]:
        """A node of our own domain, whose function readers put in its place: its layers stay together in the file."""
        key = (operator, tuple((v.shape, v.dtype) for v in values))
        if key not in self._functions:
            self._functions[key] = _function(f"{operator.name}_{len(self._functions)}", operator, values)
        function = self._functions[key]
        number = len(self._nodes)
        made = tuple(Value(f"v{number}_{i}", v.shape, v.dtype) for i, v in enumerate(function.outputs))
        names = [v.name for v in values], [v.name for v in made]
        self._nodes.append(helper.make_node(function.proto.name, *names, domain=DOMAIN))
        return made

    def model(self) -> onnx.ModelProto:
        """The whole, checked by ONNX's own rules."""
        inputs, outputs = ([_port(p) for p in group.values()] for group in (self.inputs, self.outputs))
        graph = helper.make_graph(self._nodes, "worldstream", inputs, outputs, self._weights)
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
        functions = [function.proto for function in self._functions.values()]
        model = helper.make_model(graph, opset_imports=imports, ir_version=11, functions=functions)
        onnx.checker.check_model(model)
        return model

    def _node(self, kind: str, given: Sequence[Value | None], shape: Shape, dtype: torch.dtype, **how: Any) -> Value:
        made = Value(f"v{len(self._nodes)}", shape, dtype)
        names = ["" if v is None else v.name for v in given]
        self._nodes.append(helper.make_node(kind, names, [made.name], **how))
        return made

    def _integers(self, *numbers: int) -> Value:
        return self._kept(np.array(numbers, np.int64), TensorProto.INT64, (len(numbers),), torch.int64)

    def _kept(self, array: Any, kind: int, shape: Shape, dtype: torch.dtype) -> Value:
        name = f"w{len(self._weights)}"
        self._weights.append(helper.make_tensor(name, kind, shape, array.tobytes(), raw=True))
        return Value(name, shape, dtype)


class _Body(OnnxGraph):
    """The inside of a function, which has no weights of its own: constants are nodes."""

    def _kept(self, array: Any, kind: int, shape: Shape, dtype: torch.dtype) -> Value:
        value = helper.make_tensor("", kind, shape, array.tobytes(), raw=True)
        return self._node("Constant", [], shape, dtype, value=value)

    def function(self, name: str, inputs: Sequence[Value], outputs: Sequence[Value]) -> _Function:
        given, gives = [v.name for v in inputs], [v.name for v in outputs]
        proto = helper.make_function(DOMAIN, name, given, gives, self._nodes, [helper.make_opsetid("", OPSET)])
        return _Function(proto, tuple(outputs))


@dataclass(frozen=True, slots=True)
class _Function:
    """An operator for inputs of certain shapes and types."""

    proto: Any
    outputs: tuple[Value, ...]


def _function(name: str, operator: Operator, given: Sequence[Value]) -> _Function:
    body = _Body()
    inputs = [Value(f"given_{i}", v.shape, v.dtype) for i, v in enumerate(given)]
    return body.function(name, inputs, operator.body(body, *inputs))


class OnnxRun:
    """A graph in ONNX Runtime on the CPU. `exact`: nothing is fused or folded, as quantised graphs need here."""

    name = "ONNX Runtime on the CPU"

    def __init__(self, graph: OnnxGraph, exact: bool = False, threads: int = 1) -> None:
        import onnxruntime  # type: ignore[import-untyped,import-not-found,unused-ignore]

        self.inputs, self.outputs = dict(graph.inputs), dict(graph.outputs)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if exact:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        model = graph.model().SerializeToString()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All outputs for all inputs, none of them changed."""
        feeds = {name: tensor.detach().contiguous().cpu().numpy() for name, tensor in given.items()}
        found = self._session.run(list(self.outputs), feeds)
        return {name: torch.from_numpy(np.asarray(out)) for name, out in zip(self.outputs, found, strict=True)}


def _array(value: Tensor) -> Any:
    value = value.detach().contiguous().cpu()
    if value.dtype in (torch.bfloat16, FLOAT8):  # numpy has neither, and only their bits are asked for
        value = value.view(torch.int16 if value.dtype is torch.bfloat16 else torch.uint8)
    return value.numpy()


def _port(port: Port) -> Any:
    return helper.make_tensor_value_info(port.name, TYPES[port.dtype], port.shape)


def _broadcast(a: Shape, b: Shape) -> Shape:
    assert len(a) == len(b), f"{a} and {b} have different numbers of axes"
    assert all(m == n or 1 in (m, n) for m, n in zip(a, b, strict=True)), f"{a} and {b} do not fit"
    return tuple(max(m, n) for m, n in zip(a, b, strict=True))
