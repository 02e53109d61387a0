"""cuDNN's attention through a stand-in for its frontend, which is told what cuDNN is: tensors as numbers, sizes and
steps, and when it runs, addresses alone. It reads and writes the memory there, so a wrong step is a wrong result."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import time
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from worldstream.kernels.reference import quantised
from worldstream.worlds.wan.attention import attend
from worldstream.worlds.wan.attention_choice import AttentionShape, choose, in_eight_bits
from worldstream.worlds.wan.cudnn_attention import CudnnAttention, PlanShape, lies_as, planned, why_not
from worldstream.worlds.wan.eight_attention import AttentionScales, EightRows, LayerScales, attend_eight

TYPES = {"e4m3": torch.float8_e4m3fn, "float": torch.float32}


class NotSupportedError(Exception):
    """As the frontend's: no RuntimeError."""


class Described:
    """A tensor of a graph."""

    def __init__(self, **told: Any) -> None:
        self.told = told

    def __getattr__(self, name: str) -> Any:
        def set_(value: Any) -> Described:
            self.told[name.removeprefix("set_")] = value
            return self

        return set_

    def at(self, address: int) -> Tensor:
        """The memory there, as described."""
        dim, stride, dtype = self.told["dim"], self.told["stride"], TYPES[self.told["data_type"]]
        size = sum((d - 1) * s for d, s in zip(dim, stride, strict=True)) + 1
        assert address % 16 == 0
        buffer = (ctypes.c_uint8 * (size * dtype.itemsize)).from_address(address)
        return torch.frombuffer(buffer, dtype=dtype).as_strided(dim, stride)


class Graph:
    """`pygraph` for one float8 attention."""

    def __init__(self, **told: Any) -> None:
        assert told.pop("handle", "deviceless") in ("handle", "deviceless")
        assert told == {"io_data_type": "e4m3", "intermediate_data_type": "float", "compute_data_type": "float"}
        self.tensors: dict[int, Described] = {}
        self.done: list[str] = []

    def tensor(self, **told: Any) -> Described:
        assert told["uid"] not in self.tensors
        self.tensors[told["uid"]] = Described(**told)
        return self.tensors[told["uid"]]

    def sdpa_fp8(self, **told: Any) -> tuple[Described, None, Described, Described]:
        assert told.pop("generate_stats") is False
        self.inputs, self.scale = told, told.pop("attn_scale")
        self.outputs = Described(), Described(), Described()
        return self.outputs[0], None, *self.outputs[1:]

    def build_plans(self) -> None:
        assert self.done == ["validate", "build_operation_graph", "create_execution_plans", "check_support"]
        for made in self.outputs:
            assert made.told["output"] is True
            self.tensors[made.told["uid"]] = made
        assert len(self.tensors) == 12

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.done.append(name)

    def get_workspace_size(self) -> int:
        return 256

    def execute(self, pointers: dict[int, int], workspace: int, handle: str) -> None:
        assert handle == "handle"
        assert workspace
        assert set(pointers) == set(self.tensors)

        def value(described: Described) -> Tensor:
            return described.at(pointers[described.told["uid"]])

        given = {name: value(described) for name, described in self.inputs.items()}
        assert all(t.dtype == torch.float8_e4m3fn for name, t in given.items() if len(name) == 1)
        q, k, v = (given[name].double() * given[f"descale_{name}"].double() for name in "qkv")
        scores = q @ k.transpose(2, 3) * self.scale
        weights = (scores - scores.amax(-1, keepdim=True)).exp()
        low = (weights * given["scale_s"].double()).float().clamp(-448, 448).to(torch.float8_e4m3fn).double()
        out = low @ v * given["descale_s"].double() / weights.sum(-1, keepdim=True)
        scaled = (out * given["scale_o"].double()).float().clamp(-448, 448)
        value(self.outputs[0]).copy_(scaled.to(torch.float8_e4m3fn))
        for most, of in zip(self.outputs[1:], (weights, out), strict=True):
            value(most).copy_(of.abs().max().float().reshape(1, 1, 1, 1))


def frontend(graph: type = Graph) -> Any:
    kinds = SimpleNamespace(FP8_E4M3="e4m3", FLOAT="float")
    return SimpleNamespace(
        pygraph=graph, data_type=kinds, heur_mode=SimpleNamespace(A="A", FALLBACK="B"), create_handle=lambda: "handle",
        set_stream=lambda handle, stream: None, backend_version_string=lambda: "9.19.0",
        cudnnGraphNotSupportedError=NotSupportedError,
    )  # fmt: skip


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU tensors taken for a Hopper GPU's."""
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: SimpleNamespace(cuda_stream=7))
    monkeypatch.setitem(sys.modules, "cudnn", frontend())


def given(queries: int, keys: int, ring: int) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, LayerScales]:
    """Bytes, the past of them a part of a longer ring; the exact result; the scales."""
    g = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(1, n, 3, 32, generator=g) for n in (queries, ring, ring))
    scales = AttentionScales(torch.tensor([12.0]), torch.tensor([40.0]))
    scales.fit(0, v)
    exact = attend(q, k[:, :keys], v[:, :keys])
    scales.fit_out(0, exact)
    layer = scales.layers[0]
    low = quantised(q, layer.queries), quantised(k, layer.keys)[:, :keys], quantised(v, layer.values)[:, :keys]
    return low, exact, layer


@pytest.mark.usefixtures("gpu")
def test_what_cudnn_is_told_is_the_attention() -> None:
    attends = CudnnAttention()
    for keys in (40, 40, 24):  # the first decides; others are attended to without a plan
        low, exact, layer = given(20, keys, 64)
        out = attends(*low, layer)
        assert isinstance(out, EightRows) == (keys == 40)
        numbers = out.exact(torch.float32) if isinstance(out, EightRows) else out.float()
        assert numbers.shape == exact.shape
        assert (numbers - exact).norm() / exact.norm() < 0.1


@pytest.mark.usefixtures("gpu")
def test_it_is_measured_like_the_others() -> None:
    said: list[str] = []
    ways = in_eight_bits(lambda package: package == "cudnn")
    choice = choose(AttentionShape(20, 40, 3, 32, torch.float32), torch.device("cpu"), ways, said.append)
    assert (choice.name, said) == ("cuDNN fp8", [])
    low, exact, layer = given(20, 40, 64)
    assert choice.eight is not None
    out = choice.eight(*low, layer)
    assert isinstance(out, EightRows)
    assert (out.exact(torch.float32) - exact).norm() / exact.norm() < 0.1


@pytest.mark.usefixtures("gpu")
def test_what_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses(Graph):
        def create_execution_plans(self, modes: object) -> None:
            raise NotSupportedError("No valid engine configs\nWarning: STATUS; Reason: too wide\nWarning; Reason: b")

    shape, cpu = AttentionShape(20, 40, 3, 32, torch.float32), torch.device("cpu")

    def refusal() -> str:
        said: list[str] = []
        choose(shape, cpu, in_eight_bits(lambda package: package == "cudnn"), said.append)
        assert said[1].endswith("no candidate is right here; torch's own choice")
        return said[0].split(": ", 1)[1]

    monkeypatch.setitem(sys.modules, "cudnn", frontend(Refuses))
    assert refusal() == "not by cuDNN fp8 (cuDNN 9.19.0 has no plan: too wide)"
    monkeypatch.setitem(sys.modules, "cudnn", None)
    assert refusal().startswith("not by cuDNN fp8 (nvidia-cudnn-frontend cannot be imported: ")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 9))
    assert "compute capability 8.9; cuDNN takes attention in float8 from 9.0 on" in refusal()


def test_a_plan_can_be_described_without_a_gpu() -> None:
    graph = planned(frontend(), PlanShape(1, 4680, 32760, 12, 128))
    q = graph.inputs["q"].told
    assert (q["dim"], q["stride"]) == ([1, 12, 4680, 128], [4680 * 1536, 128, 1536, 1])
    assert why_not((9, 0)) is why_not((10, 0)) is None


def test_only_tensors_that_lie_as_planned_go_to_cudnn() -> None:
    shape = PlanShape(2, 4, 6, 3, 8)
    q, k = torch.zeros(2, 4, 3, 8), torch.zeros(2, 6, 3, 8)
    assert lies_as(q, k, k, shape)
    assert not lies_as(q, k[:1], k[:1], shape)
    assert not lies_as(q, k, k[:, :5], shape)
    assert not lies_as(q, torch.zeros(2, 9, 3, 8)[:, :6], k, shape), "the second batch lies elsewhere"
    assert not lies_as(q.transpose(1, 2).contiguous().transpose(1, 2), k, k, shape)
    assert lies_as(torch.zeros(1, 4, 3, 8), torch.zeros(1, 9, 3, 8)[:, :6], k[:1], PlanShape(1, 4, 6, 3, 8))


MISSING = None if torch.cuda.is_available() and importlib.util.find_spec("cudnn") else "no GPU, or no cuDNN frontend"


@pytest.mark.gpu
@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
@pytest.mark.parametrize(("queries", "keys"), [(4680, 32_760), (2640, 5280)])
def test_cudnn_itself(queries: int, keys: int) -> None:
    """At the worlds' shapes, fresh numbers, beside the twin and beside sixteen bits; then held by a CUDA graph, whose
    replay reads other bytes and other scales at the same addresses."""
    seed = time.time_ns() % 100_000
    low, exact, layer = on_gpu(queries, keys, seed)
    attends, asked = CudnnAttention(), 64

    def compare(out: Tensor | EightRows, low: tuple[Tensor, Tensor, Tensor], exact: Tensor) -> None:
        assert isinstance(out, EightRows)
        numbers = out.exact(torch.float32)
        twin = attend_eight(low[0][:, :asked], *low[1:], layer).exact(torch.float32)
        assert (numbers - exact).norm() / exact.norm() < 0.12, f"seed {seed}"
        assert (numbers[:, :asked] - twin).norm() / twin.norm() < 0.06, f"seed {seed}"

    compare(attends(*low, layer), low, exact)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = attends(*low, layer)
    others, exact, scales = on_gpu(queries, keys, seed + 1, 3.0)
    for old, new in zip(low, others, strict=True):
        old.view(torch.uint8).copy_(new.view(torch.uint8))
    for field in ("queries", "keys", "values", "out", "out_factor"):
        getattr(layer, field).copy_(getattr(scales, field))
    graph.replay()
    compare(recorded, others, exact)


def on_gpu(
    queries: int, keys: int, seed: int, size: float = 1.0
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, LayerScales]:
    g = torch.Generator("cuda").manual_seed(seed)
    q, k, v = (torch.randn(1, n, 12, 128, generator=g, device="cuda") for n in (queries, keys, keys))
    scales = AttentionScales(*torch.tensor([[40.0], [50.0]], device="cuda"))
    scales.fit(0, v * size)
    exact = attend(*(x.bfloat16() for x in (q, k, v * size))).float()
    scales.fit_out(0, exact)
    layer = scales.layers[0]
    return (quantised(q, layer.queries), quantised(k, layer.keys), quantised(v * size, layer.values)), exact, layer
