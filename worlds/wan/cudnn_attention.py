"""Attention in eight bits by cuDNN, through its Python frontend (`nvidia-cudnn-frontend`), which nothing else imports.

On Hopper cuDNN gives the result of float8 attention as float8 too, with one scale, as `EightRows` are; heads lie beside
each other, `[B, N, H, d]`, in all four. A plan holds for one shape. It is made, and its kernel compiled and loaded, by
the first call, which is the one that measures it; later calls allocate their result and nothing else, run on torch's
current stream and never wait, so that a CUDA graph can hold them. Other shapes, as while a window fills, are attended
to in sixteen bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .eight_attention import PROBABILITIES, EightRows, LayerScales, attend_exactly

Q, K, V, OUT, DESCALE_Q, DESCALE_K, DESCALE_V, DESCALE_S, SCALE_S, SCALE_OUT, MOST_S, MOST_OUT = range(1, 13)
LEAST = (9, 0)  # compute capability


@dataclass(frozen=True, slots=True)
class PlanShape:
    """What a plan is made for."""

    batch: int
    queries: int
    keys: int
    heads: int
    width: int


def why_not(capability: tuple[int, int]) -> str | None:
    """Why a GPU cannot do this, in one line; None where cuDNN may be asked."""
    if capability >= LEAST:
        return None
    return f"compute capability {capability[0]}.{capability[1]}; cuDNN takes attention in float8 from 9.0 on"


def planned(cudnn: Any, shape: PlanShape, **where: Any) -> Any:
    """A graph whose plan is built. `where`: the `handle` of a GPU, or, to build without one, a `device_property` and
    its `sm_version`. Raises RuntimeError, one line, where cuDNN has no plan."""
    kind = cudnn.data_type
    graph = cudnn.pygraph(
        io_data_type=kind.FP8_E4M3, intermediate_data_type=kind.FLOAT, compute_data_type=kind.FLOAT, **where
    )
    try:
        _describe(graph, kind, shape)
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        graph.check_support()
        graph.build_plans()
    except (cudnn.cudnnGraphNotSupportedError, ValueError) as why:
        raise RuntimeError(f"cuDNN {cudnn.backend_version_string()} has no plan: {_reason(why)}") from None
    return graph


def _describe(graph: Any, kind: Any, shape: PlanShape) -> None:
    """Queries, keys, values, their scales and what comes out, each with a number of its own."""
    row = shape.heads * shape.width

    def heads(uid: int, tokens: int) -> dict[str, Any]:
        stride = [tokens * row, shape.width, row, 1]
        return {"uid": uid, "dim": [shape.batch, shape.heads, tokens, shape.width], "stride": stride}

    def tokens(uid: int, count: int) -> Any:
        return graph.tensor(**heads(uid, count), data_type=kind.FP8_E4M3)

    def number(uid: int) -> Any:
        return graph.tensor(uid=uid, dim=[1] * 4, stride=[1] * 4, data_type=kind.FLOAT)

    out, _, *most = graph.sdpa_fp8(
        q=tokens(Q, shape.queries), k=tokens(K, shape.keys), v=tokens(V, shape.keys), descale_q=number(DESCALE_Q),
        descale_k=number(DESCALE_K), descale_v=number(DESCALE_V), descale_s=number(DESCALE_S),
        scale_s=number(SCALE_S), scale_o=number(SCALE_OUT), attn_scale=shape.width**-0.5, generate_stats=False,
    )  # fmt: skip
    placed = heads(OUT, shape.queries)
    out.set_output(True).set_uid(OUT).set_dim(placed["dim"]).set_stride(placed["stride"]).set_data_type(kind.FP8_E4M3)
    for uid, largest in zip((MOST_S, MOST_OUT), most, strict=True):  # cuDNN writes them whether one asks or not
        largest.set_output(True).set_uid(uid).set_dim([1] * 4).set_stride([1] * 4).set_data_type(kind.FLOAT)


def _reason(why: BaseException) -> str:
    """The first reason among many lines, one for each engine that was asked."""
    lines = [line.strip() for line in str(why).splitlines() if line.strip()]
    reasons = [line.split("Reason:", 1)[1].strip() for line in lines if "Reason:" in line]
    return (reasons or lines or [type(why).__name__])[0][:160]


class Plan:
    """One shape on one GPU: the handle, the graph, and what it needs beside its inputs, allocated once."""

    def __init__(self, cudnn: Any, shape: PlanShape, device: torch.device) -> None:
        self.shape, self._cudnn, self._device = shape, cudnn, device
        with torch.cuda.device(device):
            self._handle = cudnn.create_handle()
            self._graph = planned(cudnn, shape, handle=self._handle)
            self._workspace = torch.empty(max(1, self._graph.get_workspace_size()), dtype=torch.uint8, device=device)
            levels = torch.tensor([1 / PROBABILITIES, PROBABILITIES, 0.0, 0.0], device=device)
            padded = torch.zeros(4, 4, device=device)  # each at a border of 16 bytes
            padded[:, 0] = levels
        own = zip((DESCALE_S, SCALE_S, MOST_S, MOST_OUT), padded.unbind(0), strict=True)
        self._padded, self._own = padded, {uid: row.data_ptr() for uid, row in own}

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, scales: LayerScales) -> EightRows:
        out = torch.empty_like(q)
        given = {
            Q: q, K: k, V: v, OUT: out, DESCALE_Q: scales.queries, DESCALE_K: scales.keys, DESCALE_V: scales.values,
            SCALE_OUT: scales.out_factor,
        }  # fmt: skip
        self._cudnn.set_stream(handle=self._handle, stream=torch.cuda.current_stream(self._device).cuda_stream)
        pointers = self._own | {uid: tensor.data_ptr() for uid, tensor in given.items()}
        self._graph.execute(pointers, self._workspace.data_ptr(), handle=self._handle)
        return EightRows(out.flatten(2), scales.out)


class CudnnAttention:
    """An `EightAttention`. The first call decides for which shape there is a plan."""

    def __init__(self) -> None:
        self._plan: Plan | None = None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, scales: LayerScales) -> Tensor | EightRows:
        """Raises RuntimeError at the first call where there is no such GPU, package or plan."""
        if self._plan is None:
            self._plan = self._made(q, k)
        if lies_as(q, k, v, self._plan.shape):
            return self._plan(q, k, v, scales)
        return attend_exactly(q, k, v, scales, torch.bfloat16)

    @staticmethod
    def _made(q: Tensor, k: Tensor) -> Plan:
        refused = why_not(torch.cuda.get_device_capability(q.device))
        if refused is not None:
            raise RuntimeError(refused)
        try:
            import cudnn  # type: ignore[import-not-found,import-untyped,unused-ignore] # pyright: ignore[reportMissingImports]
        except (ImportError, OSError, AssertionError) as why:  # the library, or one of its own, is not there
            raise RuntimeError(f"nvidia-cudnn-frontend cannot be imported: {_reason(why)}") from None
        return Plan(cudnn, PlanShape(q.shape[0], q.shape[1], k.shape[1], *q.shape[2:]), q.device)


def lies_as(q: Tensor, k: Tensor, v: Tensor, shape: PlanShape) -> bool:
    """Whether tensors are of that shape, tokens after tokens without a gap."""
    for x, tokens in ((q, shape.queries), (k, shape.keys), (v, shape.keys)):
        row = shape.heads * shape.width
        if x.shape != (shape.batch, tokens, shape.heads, shape.width) or x.stride()[1:] != (row, shape.width, 1):
            return False
        if shape.batch > 1 and x.stride(0) != tokens * row:
            return False
    return True
