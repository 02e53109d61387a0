"""The TensorRT side of `graph`: layers of the network API, strongly typed, and the builder that makes a plan of them.

Attention, cache writes and rotary positions become TensorRT's own layers. A plan for a named architecture is built
without a GPU by the RTX edition; by the other one, on the GPU that it is for.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..tensorrt_edition import AHEAD, Edition
from .graph import FLOAT8, Binary, Operator, Port, Shape, Unary
from .tensorrt_plugins import Plugins

TYPES = {
    torch.float32: "FLOAT",
    torch.float16: "HALF",
    torch.bfloat16: "BF16",
    FLOAT8: "FP8",
    torch.int32: "INT32",
    torch.int64: "INT64",
}
BINARY: dict[Binary, str] = {"add": "SUM", "sub": "SUB", "mul": "PROD", "div": "DIV", "max": "MAX", "min": "MIN"}
ACTIVATIONS: dict[Unary, str] = {"tanh": "TANH", "sigmoid": "SIGMOID", "relu": "RELU", "gelu": "GELU_TANH"}


class BuildError(RuntimeError):
    """TensorRT refused a network; the message is its own."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A serialized engine and what is known of it."""

    data: bytes
    seconds: float  # that the build took
    scratch: int  # bytes of activations on the device; -1 where the builder did not say
    layers: dict[str, int]  # how many of each kind the network had, by TensorRT's names
    aliased: tuple[tuple[str, str], ...]  # (input, output) at one address


@dataclass
class TensorRTGraph:
    """A `Graph` of TensorRT layers; `build()` when all is written. Weights are read by the builder where they lie."""

    edition: Edition
    plugins: Plugins | None = None  # None: what one of our kernels could do is written as layers
    inputs: dict[str, Port] = field(default_factory=dict)
    outputs: dict[str, Port] = field(default_factory=dict)
    aliased: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._api: Any = self.edition.api
        self._log = _log(self._api)
        self._builder = self._api.Builder(self._log)
        flags = 1 << int(self._api.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self._network = self._builder.create_network(flags)
        self._held: list[Tensor] = []  # weights whose memory the network refers to
        self._caches: dict[str, str] = {}  # outputs of cache updates -> the input that they lie on
        self._torch = {getattr(self._api.DataType, name): kind for kind, name in TYPES.items()}

    def input(self, name: str, shape: Shape, dtype: torch.dtype) -> Any:
        self.inputs[name] = Port(name, shape, dtype)
        return self._network.add_input(name, self._type(dtype), shape)

    def output(self, name: str, value: Any) -> None:
        if value.name in self._caches:
            self.aliased.append((self._caches[value.name], name))
        elif value.is_network_input or value.is_network_output:
            value = self._network.add_identity(value).get_output(0)
        self.outputs[name] = Port(name, self.shape(value), self.dtype(value))
        value.name = name
        self._network.mark_output(value)

    def constant(self, value: Tensor) -> Any:
        value = value.detach().contiguous().cpu()
        self._held.append(value)
        weights = self._api.Weights(self._type(value.dtype), value.data_ptr(), value.numel())
        return self._made(self._network.add_constant(tuple(value.shape), weights))

    def shape(self, value: Any) -> Shape:
        return tuple(value.shape)

    def dtype(self, value: Any) -> torch.dtype:
        return self._torch[value.dtype]

    def cast(self, value: Any, dtype: torch.dtype) -> Any:
        if self.dtype(value) == dtype:
            return value
        return self._made(self._network.add_cast(value, self._type(dtype)))

    def binary(self, kind: Binary, a: Any, b: Any) -> Any:
        how = getattr(self._api.ElementWiseOperation, BINARY[kind])
        return self._made(self._network.add_elementwise(a, b, how))

    def unary(self, kind: Unary, value: Any) -> Any:
        if kind in ACTIVATIONS:
            how = getattr(self._api.ActivationType, ACTIVATIONS[kind])
            return self._made(self._network.add_activation(value, how))
        return self._made(self._network.add_unary(value, getattr(self._api.UnaryOperation, kind.upper())))

    def mean(self, value: Any, axis: int) -> Any:
        mask = 1 << (axis % len(value.shape))
        return self._made(self._network.add_reduce(value, self._api.ReduceOperation.AVG, mask, True))

    def matmul(self, a: Any, b: Any, transposed: bool = False) -> Any:
        how = self._api.MatrixOperation
        right = how.TRANSPOSE if transposed else how.NONE
        return self._made(self._network.add_matrix_multiply(a, how.NONE, b, right))

    def layer_norm(self, value: Any, scale: Any, bias: Any, eps: float) -> Any:
        add = getattr(self._network, "add_normalization_v2", None) or self._network.add_normalization
        layer = add(value, scale, bias, 1 << (len(value.shape) - 1))
        layer.epsilon = eps
        return self._made(layer)

    def attention(
        self, q: Any, k: Any, v: Any, lengths: Any, fused: bool = True, weights_scale: float | None = None
    ) -> Any:
        softmax, none = self._api.AttentionNormalizationOp.SOFTMAX, self._api.CausalMaskKind.NONE
        layer = self._network.add_attention_v2(q, k, v, softmax, none)
        layer.decomposable = not fused
        if lengths is not None:
            layer.key_value_lengths = lengths
        if weights_scale is not None:
            layer.normalization_quantize_to_type = self._api.DataType.FP8
            layer.normalization_quantize_scale = self.constant(torch.tensor(weights_scale))
        return layer.get_output(0)

    def rotary(self, value: Any, cos: Any, sin: Any) -> Any:
        return self._made(self._network.add_rotary_embedding(value, cos, sin, True, value.shape[-1]))

    def cache_update(self, cache: Any, update: Any, index: Any) -> Any:
        layer = self._network.add_kv_cache_update(cache, update, index, self._api.KVCacheMode.LINEAR)
        made = self._made(layer)
        self._caches[made.name] = cache.name
        return made

    def reshape(self, value: Any, shape: Shape) -> Any:
        layer = self._network.add_shuffle(value)
        layer.reshape_dims = shape
        return self._made(layer)

    def transpose(self, value: Any, order: Sequence[int]) -> Any:
        layer = self._network.add_shuffle(value)
        layer.first_transpose = self._api.Permutation(list(order))
        return self._made(layer)

    def slice(self, value: Any, axis: int, start: int, size: int) -> Any:
        begin, shape = [0] * len(value.shape), list(value.shape)
        begin[axis], shape[axis] = start, size
        return self._made(self._network.add_slice(value, begin, shape, [1] * len(shape)))

    def concat(self, values: Sequence[Any], axis: int) -> Any:
        layer = self._network.add_concatenation(list(values))
        layer.axis = axis
        return self._made(layer)

    def zeros_before(self, value: Any, axis: int, count: int) -> Any:
        begin, shape = [0] * len(value.shape), list(value.shape)
        begin[axis], shape[axis] = -count, shape[axis] + count
        layer = self._network.add_slice(value, begin, shape, [1] * len(shape))
        layer.mode = self._api.SampleMode.FILL
        layer.set_input(4, self.constant(torch.zeros((), dtype=self.dtype(value))))
        return self._made(layer)

    def conv(self, value: Any, weight: Any, bias: Any, padding: Shape) -> Any:
        out, _, *size = weight.shape
        layer = self._network.add_convolution_nd(value, out, size, self._api.Weights(), self._api.Weights())
        layer.set_input(1, weight)
        if bias is not None:
            layer.set_input(2, bias)
        layer.padding_nd = padding
        return self._made(layer)

    def twice(self, value: Any) -> Any:
        layer = self._network.add_resize(value)
        layer.scales = [1.0] * (len(value.shape) - 2) + [2.0, 2.0]
        layer.resize_mode = self._api.InterpolationMode.NEAREST
        layer.coordinate_transformation = self._api.ResizeCoordinateTransformation.ASYMMETRIC
        layer.nearest_rounding = self._api.ResizeRoundMode.FLOOR
        return self._made(layer)

    def quantize(self, value: Any, scale: Any) -> Any:
        return self._made(self._network.add_quantize(value, scale, self._api.DataType.FP8))

    def dequantize(self, value: Any, scale: Any, axis: int | None = None) -> Any:
        layer = self._network.add_dequantize(value, scale, scale.dtype)
        if axis is not None:
            layer.axis = axis
        return self._made(layer)

    def fused(self, operator: Operator, *values: Any) -> tuple[Any, ...]:
        ports = [Port(value.name, self.shape(value), self.dtype(value)) for value in values]
        if self.plugins is None or not self.plugins.takes(operator, ports):
            return operator.body(self, *values)
        layer = self.plugins.layer(self._network, operator, ports, values)
        return tuple(layer.get_output(i) for i in range(layer.num_outputs))

    def layers(self) -> dict[str, int]:
        """How many layers of each kind were written."""
        kinds = (self._network.get_layer(i).type for i in range(self._network.num_layers))
        return dict(Counter(kind.name for kind in kinds))

    def parsed(self, model: bytes) -> dict[str, int]:
        """Read an ONNX model into this still empty network; its layers. Raises BuildError on what is not understood."""
        parser = self._api.OnnxParser(self._network, self._log)
        if not parser.parse(model):
            raise BuildError(parser.get_error(0).desc())
        return self.layers()

    def build(self, capability: str) -> Plan:
        """The plan for GPUs of a compute capability such as "8.9".

        Raises BuildError where the edition refuses, and ValueError where it cannot build for that capability here.
        """
        if not self.edition.builds_for(capability):
            raise ValueError(f"{self.edition} cannot build for compute capability {capability} on this machine")
        config = self._builder.create_builder_config()
        config.profiling_verbosity = self._api.ProfilingVerbosity.DETAILED
        if self.edition.rtx:
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(self._api.ComputeCapability, AHEAD[capability]), 0)
        kinds, started = self.layers(), time.perf_counter()
        plan = self._builder.build_serialized_network(self._network, config)
        if plan is None:
            raise BuildError(self._log.errors[-1] if self._log.errors else f"{self.edition} gave no plan and no reason")
        seconds = time.perf_counter() - started
        return Plan(bytes(plan), seconds, self._log.scratch, kinds, tuple(self.aliased))

    def _type(self, dtype: torch.dtype) -> Any:
        return getattr(self._api.DataType, TYPES[dtype])

    def _made(self, layer: Any) -> Any:
        if layer is None:
            raise BuildError(self._log.errors[-1] if self._log.errors else "TensorRT refused a layer")
        return layer.get_output(0)


def _log(api: Any) -> Any:
    """A logger that keeps the errors, and the memory that the builder planned."""

    class Log(api.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            api.ILogger.__init__(self)
            self.errors: list[str] = []
            self.scratch = -1

        def log(self, severity: Any, message: str) -> None:
            if severity in (api.ILogger.ERROR, api.ILogger.INTERNAL_ERROR):
                self.errors.append(message.splitlines()[0])
            elif found := re.search(r"Total Activation Memory: (\d+)", message):
                self.scratch = int(found[1])

    return Log()
