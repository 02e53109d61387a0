"""What TensorRT would still generate around our plugins: kernels of a block, counted without a GPU.

    python benchmarks/plugin_cuts.py [--fp8]

No engine with plugins can be built here. But TensorRT-RTX, which has the other edition's code generator, builds the
network that is left when every operator that would be a plugin is cut out: where it was, the network ends in outputs
and begins anew with inputs. The kernels of its plan, of four layers less those of three, are a block's around plugins.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engine_walk import transformer
from benchmarks.engines import AHEAD_FOR, Case, chunk_shape
from worldstream.worlds.tensorrt_edition import Edition, find
from worldstream.worlds.wan.graph import FLOAT8, Operator, Port, Shape
from worldstream.worlds.wan.graph_operators import QkNormRope, RmsNorm
from worldstream.worlds.wan.pass_graph import LINEARS, write_chunk
from worldstream.worlds.wan.tensorrt_graph import TensorRTGraph
from worldstream.worlds.wan.tensorrt_plugins import FORMS, SIXTEEN_BITS, USED
from worldstream.worlds.wan.tensorrt_run import instructions

SETS: dict[str, frozenset[str]] = {
    "none": frozenset(),
    "those that are used": USED,
    "without qk_norm_rope": USED - {"qk_norm_rope"},
    "all, GELU too": frozenset(FORMS),
}


class Cut:
    """Stands where `Plugins` would: ends the network before an operator and begins it anew after it."""

    def __init__(self, used: frozenset[str]) -> None:
        self._used, self._cuts = used, 0
        self.graph: TensorRTGraph | None = None

    def takes(self, operator: Operator, values: Sequence[Port]) -> bool:
        return operator.name in self._used

    def layer(self, network: Any, operator: Operator, values: Sequence[Port], tensors: Sequence[Any]) -> Any:
        assert self.graph is not None
        form, self._cuts = FORMS[operator.name], self._cuts + 1
        for name, tensor in zip(form.inputs, tensors, strict=True):
            if name in SIXTEEN_BITS - {"product_bias"} and not (tensor.is_network_output or tensor.is_network_input):
                tensor.name = f"into_{self._cuts}_{name}"
                network.mark_output(tensor)
        made = []
        for i, output in enumerate(form.outputs):
            eight = output == "normed" and getattr(operator, "scale", None) is not None
            kind = FLOAT8 if eight else torch.bfloat16
            made.append(self.graph.input(f"out_of_{self._cuts}_{i}", _shape(operator, values[0].shape), kind))
        return SimpleNamespace(num_outputs=len(made), get_output=lambda i: made[i])


def _shape(operator: Operator, first: Shape) -> Shape:
    if not isinstance(operator, QkNormRope | RmsNorm):
        return first
    batch, tokens, width = first
    return batch, operator.heads, tokens, width // operator.heads // (3 if isinstance(operator, QkNormRope) else 1)


def kernels(edition: Edition, used: frozenset[str], fp8: bool, layers: int) -> Counter[str]:
    """Of a plan of so many layers, at 832×480 and window 12."""
    cut, case = Cut(used), Case("chunk", 480, 832, window=12)
    cut.graph = graph = TensorRTGraph(edition, cut if used else None)  # type: ignore[arg-type]
    amax = {f"blocks.{layer}.{name}": 8.0 for layer in range(layers) for name in LINEARS * fp8}
    shape = chunk_shape(case, layers)
    write_chunk(graph, transformer(shape, "cpu", torch.bfloat16), shape, torch.bfloat16, amax)
    return instructions(graph.build(AHEAD_FOR).data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fp8", action="store_true", help="linear layers in float8")
    options = parser.parse_args()
    edition = find()
    if isinstance(edition, str):
        print(f"nothing is counted: {edition}")
        return 1
    print(f"{edition}, kernels of a block at 832×480, linear layers in {'fp8' if options.fp8 else 'bf16'}")
    print(f"{'plugins':22} {'ours':>5} {'generated':>10} {'products':>9} {'attention':>10} {'all':>4}")
    for name, used in SETS.items():
        three, four = (kernels(edition, used, options.fp8, layers) for layers in (3, 4))
        block = four - three
        ours = sum(each in used for each in BLOCK)
        numbers = ours, block["generated"], block["fully_connected"], block["_gemm_mha_v2"]
        print(f"{name:22} {numbers[0]:5} {numbers[1]:10} {numbers[2]:9} {numbers[3]:10} {sum(numbers):4}", flush=True)
    return 0


BLOCK = (
    "residual_norm_gated", "qk_norm_rope", "residual_norm_gated_affine", "rms_norm", "residual_norm", "gelu",
)  # fmt: skip
"""The operators of a block that is not the first."""

if __name__ == "__main__":
    sys.exit(main())
