"""One call, several ways to run it: eager torch or OpenVINO, from one exported graph each for the step and the decoder.

Which of them a machine takes is decided in `engine_choice.py`.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .autoencoder import Decoder
from .conditioning import MOST_WORDS
from .graph_engine import GraphEngine
from .kv_cache import KVCache
from .machine import model_threads
from .memory import nothing
from .network import WorldNetwork
from .painter import Paint, Painter, example_painting
from .reprojection import Places

StepInputs = tuple[Tensor, ...]
"""The ten arguments of `WorldNetwork.step`, in its order."""
LookInputs = tuple[Tensor, ...]
"""Given, action, and the three tensors of `Places`: the arguments of `WorldNetwork.look`."""


class Engine(Protocol):
    """Runs one world's three graphs on one thread of the caller's."""

    name: str
    torch_threads: int  # that torch may use for the small work between the graphs
    device: torch.device  # where the cache of past frames lies

    def look(self, inputs: LookInputs) -> Tensor:
        """`WorldNetwork.look`."""
        ...

    def step(self, inputs: StepInputs) -> tuple[Tensor, Tensor, Tensor]:
        """`WorldNetwork.step`."""
        ...

    def decode(self, latents: Tensor) -> NDArray[np.uint8]:
        """Latents `[1, C, h, w]` to one picture `uint8[H, W, 3]`."""
        ...

    def painting(self, painter: Painter) -> Paint:
        """`Painter.forward` for one picture."""
        ...


class StepGraph(nn.Module):
    """The step as a module of its own, for export."""

    def __init__(self, network: WorldNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.network.step(*inputs)


class LookGraph(nn.Module):
    """What a new frame sees, as a module of its own."""

    def __init__(self, network: WorldNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, given: Tensor, action: Tensor, *places: Tensor) -> Tensor:
        return self.network.look(given, action, Places(*places))


class DecodeGraph(nn.Module):
    """Latents `[1, C, h, w]` to `uint8[1, H, W, 3]`."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latents: Tensor) -> Tensor:
        out: Tensor = self.decoder(latents)
        return (out.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1)


def example_inputs(network: WorldNetwork) -> StepInputs:
    """Zeros of the right shapes, for tracing and timing."""
    c = network.config
    cache = KVCache(network)
    pooled, words = torch.zeros(1, c.width), torch.zeros(1, MOST_WORDS if c.cross_attention else 1, c.width)
    frame = torch.zeros(1, 1, c.channels, c.rows, c.columns)
    seen = torch.zeros(1, 1, c.seen, c.channels, c.rows, c.columns)
    label = torch.full((1, 1), 0.5)
    action = torch.zeros(1, 1, c.action_size)
    return (frame, seen, label, label, action, pooled, words, *cache.view())


def example_look(network: WorldNetwork) -> LookInputs:
    """The same for `WorldNetwork.look`."""
    c = network.config
    given = torch.zeros(1, 1, c.given, c.channels, c.rows, c.columns)
    return (given, torch.zeros(1, 1, c.action_size), *nothing(c))


class EagerEngine:
    """Plain torch: on every machine, and the meaning that the others must match."""

    name, device = "eager", torch.device("cpu")

    def __init__(self, network: WorldNetwork, decoder: Decoder, threads: int) -> None:
        self._network, self._decode = network.eval(), DecodeGraph(decoder).eval()
        # A pass over 40 tokens is mostly call overhead: more threads make it slower (see docs/model.md).
        self.torch_threads = min(threads, 2)
        torch.set_num_threads(self.torch_threads)

    @torch.inference_mode()
    def look(self, inputs: LookInputs) -> Tensor:
        given, action, *places = inputs
        return self._network.look(given, action, Places(*places))

    @torch.inference_mode()
    def step(self, inputs: StepInputs) -> tuple[Tensor, Tensor, Tensor]:
        return self._network.step(*inputs)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> NDArray[np.uint8]:
        picture: NDArray[np.uint8] = self._decode(latents)[0].contiguous().numpy()
        return picture

    def painting(self, painter: Painter) -> Paint:
        paint: Paint = torch.inference_mode()(painter.eval().forward)
        return paint


@dataclass(frozen=True, slots=True)
class OpenVINO:
    """The library and this CPU: this module alone names the package, others are given its parts."""

    api: Any  # the package
    operations: Any  # what graphs are written with
    core: Any
    precision: str  # "bf16" where the CPU multiplies it, else "f32"

    @property
    def version(self) -> str:
        return str(self.api.get_version())

    def settings(self, threads: int) -> dict[str, str]:
        """Of a compiled model."""
        return {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads),
            "INFERENCE_PRECISION_HINT": self.precision,
        }


def openvino_here(exact: bool = False) -> OpenVINO:
    """`exact`: float32 on any CPU. Raises ImportError where the package is missing."""
    import openvino as ov
    from openvino import opset15

    core = ov.Core()
    quick = not exact and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return OpenVINO(ov, opset15, core, "bf16" if quick else "f32")


def compiled_graph(library: OpenVINO, graph: nn.Module, example: tuple[Tensor, ...], settings: dict[str, str]) -> Any:
    """A request that runs `graph` on the CPU, for inputs of the example's shapes."""
    ov = library.api
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.trace, which the converter reads
        # the converter would trace a second and a third time to compare; the graphs have no branches
        traced = torch.jit.trace(graph.eval(), example, check_trace=False)
        model = ov.convert_model(traced, example_input=example)
    for port, tensor in zip(model.inputs, example, strict=True):
        port.get_node().set_partial_shape(ov.PartialShape(list(tensor.shape)))
    model.validate_nodes_and_infer_types()
    return library.core.compile_model(model, "CPU", settings).create_infer_request()


def openvino_painting(library: OpenVINO, painter: Painter, settings: dict[str, str]) -> Paint:
    """`Painter.forward` for one picture, compiled."""
    request = compiled_graph(library, painter, example_painting(painter), settings)

    def paint(*inputs: Tensor) -> Tensor:
        out = request.infer([np.ascontiguousarray(t.numpy()) for t in inputs], share_inputs=True)
        return torch.from_numpy(out[0].copy())

    return paint


class OpenVINOEngine:
    """The same graphs compiled by OpenVINO for this CPU; bfloat16 where the CPU multiplies it."""

    name, device = "openvino", torch.device("cpu")

    def __init__(self, network: WorldNetwork, decoder: Decoder, threads: int) -> None:
        library = openvino_here()
        settings = library.settings(threads)
        self._library, self._settings = library, settings
        self.name = f"openvino {library.precision}"
        # torch's threads and these would wait for each other's cores: a fifth of a frame was lost in copies of 2 MB
        self.torch_threads = 1
        torch.set_num_threads(1)

        def compiled(graph: nn.Module, example: tuple[Tensor, ...], chosen: dict[str, str] = settings) -> Any:
            return compiled_graph(library, graph, example, chosen)

        def beside() -> Any:
            return compiled(DecodeGraph(decoder), (example[0][:, 0],), {**settings, "INFERENCE_NUM_THREADS": "1"})

        self._made_beside: Any = None
        self._make_beside: Callable[[], Any] = beside
        example = example_inputs(network)
        self._network = network
        self._look = compiled(LookGraph(network), example_look(network)) if network.config.recall else None
        self._step = compiled(StepGraph(network), example)
        self._decode = compiled(DecodeGraph(decoder), (example[0][:, 0],))

    @torch.inference_mode()
    def look(self, inputs: LookInputs) -> Tensor:
        if self._look is None:
            return self._network.look(inputs[0], inputs[1])
        out = self._look.infer([np.ascontiguousarray(t.numpy()) for t in inputs], share_inputs=True)
        return torch.from_numpy(out[0].copy())

    def step(self, inputs: StepInputs) -> tuple[Tensor, Tensor, Tensor]:
        out = self._step.infer([np.ascontiguousarray(t.numpy()) for t in inputs], share_inputs=True)
        clean, keys, values = (torch.from_numpy(out[i].copy()) for i in range(3))
        return clean, keys, values

    def decode(self, latents: Tensor) -> NDArray[np.uint8]:
        return self._pictured(self._decode, latents)

    def painting(self, painter: Painter) -> Paint:
        return openvino_painting(self._library, painter, self._settings)

    def decode_beside(self, latents: Tensor) -> NDArray[np.uint8]:
        """As `decode`, on one core, by any one thread while another calls `step`; made at the first use."""
        if self._made_beside is None:
            self._made_beside = self._make_beside()
        return self._pictured(self._made_beside, latents)

    @staticmethod
    def _pictured(request: Any, latents: Tensor) -> NDArray[np.uint8]:
        out = request.infer([np.ascontiguousarray(latents.numpy())], share_inputs=True)
        picture: NDArray[np.uint8] = out[0][0].copy()
        return picture


def graph_engine(network: WorldNetwork, decoder: Decoder, _: int, device: str = "cuda") -> Engine:
    """CUDA graphs. Copies of the modules go to the device: the caller's stay where they are. Raises RuntimeError where
    torch can use no GPU."""
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("torch can use no GPU here")
    there, drawn = copy.deepcopy(network), copy.deepcopy(decoder)
    step = example_inputs(network)
    look = LookGraph(there) if network.config.recall else None
    return GraphEngine(
        (look, StepGraph(there), DecodeGraph(drawn)),
        (example_look(network), step, (step[0][:, 0],)),
        torch.device(device),
        torch.inference_mode()(lambda given, action: network.look(given, action)),
    )


ENGINES: dict[str, Callable[[WorldNetwork, Decoder, int], Engine]] = {
    "eager": EagerEngine,
    "openvino": OpenVINOEngine,
    "cuda": graph_engine,
}


def build(name: str, network: WorldNetwork, decoder: Decoder, threads: int | None = None) -> Engine:
    """One engine by name. Raises ValueError on an unknown name, ImportError when its package is missing."""
    if name not in ENGINES:
        raise ValueError(f"unknown engine {name!r}; use auto, {', '.join(ENGINES)}")
    return ENGINES[name](network, decoder, threads or model_threads())
