"""One pass of the causal transformer over a chunk as a graph, the ring cache of its keys and values included.

Inputs, batch 1, T latent frames of N tokens, H heads of d channels, M = window * N rows of cache:

    latents      float32 [1, in_channels, T, h, w]
    modulation   float32 [1, T, 6, dim]   of the timestep of each frame, before a block adds its own
    time         float32 [1, T, dim]      the same for the head
    cos, sin     float32 [1, T * N, d / 2]
    write_index  int32 [1]                first row that the chunk's keys and values are written to
    kv_length    int32 [1]                rows that count, the chunk's included: a prefix
    keys_I, values_I                      [1, H, M, d] of block I; outputs next_keys_I, next_values_I lie on them
    text_keys_I, text_values_I            [1, H, S, d]; image_keys_I, image_values_I where the model has them
    velocity     float32 [1, out_channels, T, h, w], the output

and, where the model draws by actions, those of `action_graph`.

A write goes to consecutive rows (TensorRT's linear mode). Written at multiples of the chunk and over the oldest frames
that is a ring already: attention without a mask does not ask in which order its keys lie, once they are rotated. How
rows follow from frames is `engine_ring.EngineRing`'s, also where the chunk does not divide the window.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

import torch
from torch import Tensor, nn

from .action_graph import ActionWriter
from .actions import ActionConfig, ActionModule
from .block import Block
from .config import WanConfig
from .fp8 import Fp8Linear, quantised
from .graph import FLOAT8, LARGEST_FLOAT8, Graph, Shape, V, linear, through_float8
from .graph_operators import Gelu, NormModulate, QkNormRope, ResidualNorm, RmsNorm, gated
from .transformer import WanTransformer

ATTENDED = ("queries", "keys", "values")  # calibrated apart; queries already multiplied by the softmax's scale
LINEARS = ("self_attn.qkv", "self_attn.o", "cross_attn.q", "cross_attn.o", "ffn.0", "ffn.2")


@dataclass(frozen=True, slots=True)
class ChunkShape:
    """The static numbers of one graph. Raises ValueError where a chunk cannot be written in one piece."""

    config: WanConfig
    rows: int  # cells of a latent frame
    columns: int
    chunk: int = 3  # latent frames of a pass
    window: int = 21  # latent frames attended to, the chunk and the sink included
    sink: int = 0
    actions: ActionConfig | None = None

    def __post_init__(self) -> None:
        least = self.window - self.sink if self.actions is None else min(self.window - self.sink, self.actions.window)
        if self.chunk < 1 or self.sink < 0 or least < self.chunk or self.sink % self.chunk:
            raise ValueError(
                f"a chunk of {self.chunk} must divide the sink of {self.sink} and fit into what is left of the window "
                f"of {self.window}: the engine writes a chunk in one piece"
            )

    @property
    def shifts(self) -> bool:
        """Whether the chunk does not divide the ring: what is kept is then moved on by every commit."""
        return bool((self.window - self.sink) % self.chunk)

    @property
    def frame(self) -> int:
        """Tokens of a latent frame."""
        return self.config.tokens(self.rows, self.columns)

    @property
    def tokens(self) -> int:
        """Of a chunk."""
        return self.chunk * self.frame

    @property
    def text_rows(self) -> int:
        """That a block's cross-attention reads: of the prompt, or of the image where the model reads no words."""
        return self.config.text_len if self.config.has_text else self.config.image_tokens

    def cache(self) -> Shape:
        """Keys or values of one block."""
        return (1, self.config.heads, self.window * self.frame, self.config.head_width)


def cache_names(layer: int, following: bool = False) -> tuple[str, str]:
    """Keys and values of a block: as they come in, or as they lie after the pass."""
    return f"{'next_' * following}keys_{layer}", f"{'next_' * following}values_{layer}"


def cross_names(layer: int, image: bool = False) -> tuple[str, str]:
    kind = "image" if image else "text"
    return f"{kind}_keys_{layer}", f"{kind}_values_{layer}"


def write_chunk(
    graph: Graph[V],
    model: WanTransformer,
    shape: ChunkShape,
    dtype: torch.dtype,
    amax: Mapping[str, float] | None = None,
) -> None:
    """Write the pass, computed in `dtype`; residuals are kept in it, norms, modulation and rotation in float32.

    `amax`: the largest input of each linear layer of the blocks by name (`fp8_scales.calibrated`); those that have one
    multiply in float8, and so does a block's self-attention where `ATTENDED` is there. Raises ValueError on a model
    that this graph does not draw.
    """
    config = model.config
    blocks = [block for block in model.blocks if isinstance(block, Block)]
    if any(block.action_model is not None for block in blocks) != (shape.actions is not None):
        raise ValueError("a model with action modules needs their configuration in the shape, and only such a model")
    if config.vace_layers or config != shape.config:
        raise ValueError("the engine's graph is of another model, or of one with VACE hints")
    writer = _Writer(graph, model, shape, dtype, amax or {})
    tokens = _Tokens(writer.patches())
    for layer, block in enumerate(blocks):
        tokens = writer.block(layer, block, tokens)
    graph.output("velocity", writer.head(tokens))


Product = tuple[V, V]
"""Of a linear layer: the product, and its bias `[1, 1, out]`, which the operator after it adds."""


@dataclass(frozen=True, slots=True)
class _Tokens(Generic[V]):
    """Tokens between two sublayers: what the last one gave is still to be gated and added, so that the next one's norm
    can be worked out along with it."""

    x: V
    added: Product[V] | None = None
    gates: V | None = None  # `[1, T, 6, dim]`
    gate: int = 0


class _Writer(Generic[V]):
    """The parts of a pass, and the inputs that all blocks share."""

    def __init__(
        self, graph: Graph[V], model: WanTransformer, shape: ChunkShape, dtype: torch.dtype, amax: Mapping[str, float]
    ) -> None:
        self.g, self.model, self.shape, self.dtype, self.amax = graph, model, shape, dtype, amax
        c, f32 = shape.config, torch.float32
        self.latents = graph.input("latents", (1, c.in_channels, shape.chunk, shape.rows, shape.columns), f32)
        self.modulation = graph.input("modulation", (1, shape.chunk, 6, c.dim), f32)
        self.time = graph.input("time", (1, shape.chunk, c.dim), f32)
        turned = (1, shape.tokens, c.head_width // 2)
        self.cos, self.sin = (graph.input(name, turned, f32) for name in ("cos", "sin"))
        self.index, self.length = (graph.input(name, (1,), torch.int32) for name in ("write_index", "kv_length"))
        self.actions = (
            None if shape.actions is None else ActionWriter(graph, shape.actions, shape.chunk, shape.frame, dtype)
        )

    def patches(self) -> V:
        """Latents to tokens `[1, N, dim]`."""
        s, (_, p, q) = self.shape, self.shape.config.patch
        channels = s.config.in_channels
        cells = self.g.reshape(self.latents, (1, channels, s.chunk, s.rows // p, p, s.columns // q, q))
        cells = self.g.transpose(cells, (0, 2, 3, 5, 1, 4, 6))
        flat = self.g.cast(self.g.reshape(cells, (1, s.tokens, channels * p * q)), self.dtype)
        embedding = self.model.patch_embedding
        return linear(self.g, flat, embedding.weight.flatten(1), embedding.bias)

    def block(self, layer: int, block: Block, tokens: _Tokens[V]) -> _Tokens[V]:
        g = self.g
        own = g.constant(block.modulation.float()[:, None])
        parts = g.binary("add", self.modulation, own)  # [1, T, 6, dim]
        x, normed = self._modulated(tokens, parts, 0, block.eps, self._scale(layer, "self_attn.qkv"))
        attended = self._self_attention(layer, block, normed)
        x, normed = self._between(layer, block, x, attended, parts)
        crossed = self._cross_attention(layer, block, normed)
        tokens = _Tokens(x, crossed)
        if isinstance(block.action_model, ActionModule) and self.actions is not None:
            whole = g.binary("add", x, g.binary("add", *crossed))
            tokens = _Tokens(self.actions.write(layer, block.action_model, whole))
        x, normed = self._modulated(tokens, parts, 3, block.eps, self._scale(layer, "ffn.0"))
        (y,) = g.fused(Gelu(self._scale(layer, "ffn.2")), *self._linear(layer, "ffn.0", [block.ffn[0]], normed))
        return _Tokens(x, self._linear(layer, "ffn.2", [block.ffn[2]], y), parts, 5)

    def head(self, tokens: _Tokens[V]) -> V:
        """Tokens to velocity."""
        g, s, head = self.g, self.shape, self.model.head
        own = g.constant(head.modulation.float()[:, None])  # [1, 1, 2, dim]
        time = g.reshape(self.time, (1, s.chunk, 1, s.config.dim))
        _, normed = self._modulated(tokens, g.binary("add", own, time), 0, head.eps, None)
        flat = linear(g, normed, head.head.weight, head.head.bias)
        (_, p, q), out = s.config.patch, s.config.out_channels
        cells = g.reshape(flat, (1, s.chunk, s.rows // p, s.columns // q, p, q, out))
        cells = g.transpose(cells, (0, 6, 1, 2, 4, 3, 5))
        return g.cast(g.reshape(cells, (1, out, s.chunk, s.rows, s.columns)), torch.float32)

    def _modulated(self, tokens: _Tokens[V], parts: V, first: int, eps: float, scale: float | None) -> tuple[V, V]:
        """The tokens with what was still to be added, and their norm, modulated by two of the parts."""
        x, added, gates = tokens.x, tokens.added, tokens.gates
        if added is None:
            return x, self.g.fused(NormModulate(first, eps, scale), x, parts)[0]
        operator = ResidualNorm(None if gates is None else tokens.gate, first, eps, scale)
        x, normed = self.g.fused(operator, x, *added, *([] if gates is None else [gates]), parts)
        return x, normed

    def _between(self, layer: int, block: Block, x: V, attended: Product[V], parts: V) -> tuple[V, V]:
        """Tokens after self-attention, and what the cross-attention reads of them."""
        g = self.g
        if not isinstance(block.norm3, nn.LayerNorm):
            x = gated(g, x, g.binary("add", *attended), parts, 2)
            return x, x
        weight, bias = (g.constant(t.float()[None, None]) for t in (block.norm3.weight, block.norm3.bias))
        operator = ResidualNorm(2, None, block.norm3.eps, self._scale(layer, "cross_attn.q"))
        x, normed = g.fused(operator, x, *attended, parts, weight, bias)
        return x, normed

    def _self_attention(self, layer: int, block: Block, x: V) -> Product[V]:
        g, attention = self.g, block.self_attn
        qkv = self._linear(layer, "self_attn.qkv", [attention.q, attention.k, attention.v], x)
        weights, eps = zip(*(self._weighted(norm) for norm in (attention.norm_q, attention.norm_k)), strict=True)
        assert eps[0] == eps[1]
        q, k, v = g.fused(QkNormRope(self.shape.config.heads, eps[0]), *qkv, *weights, self.cos, self.sin)
        names, following = cache_names(layer), cache_names(layer, following=True)
        cache = [g.input(name, self.shape.cache(), self.dtype) for name in names]
        keys, values = (g.cache_update(kept, new, self.index) for kept, new in zip(cache, (k, v), strict=True))
        y = self._attended(layer, q, keys, values)
        g.output(following[0], keys)
        g.output(following[1], values)
        return self._linear(layer, "self_attn.o", [attention.o], self._joined(y))

    def _attended(self, layer: int, q: V, keys: V, values: V) -> V:
        """Self-attention; in float8 where queries, keys and values have been calibrated."""
        largest = [self.amax.get(f"blocks.{layer}.self_attn.{name}") for name in ATTENDED]
        scales = [max(x, 1e-6) / LARGEST_FLOAT8 for x in largest if x is not None]
        if len(scales) < len(ATTENDED):
            return self.g.attention(q, keys, values, self.length)
        q, keys, values = (through_float8(self.g, x, s) for x, s in zip((q, keys, values), scales, strict=True))
        return self.g.attention(q, keys, values, self.length, weights_scale=1 / LARGEST_FLOAT8)

    def _cross_attention(self, layer: int, block: Block, x: V) -> Product[V]:
        g, s, attention = self.g, self.shape, block.cross_attn
        weight, eps = self._weighted(attention.norm_q)
        product = self._linear(layer, "cross_attn.q", [attention.q], x)
        (q,) = g.fused(RmsNorm(s.config.heads, eps), *product, weight)
        heads, width = s.config.heads, s.config.head_width
        counts = [(False, s.text_rows)] + ([(True, s.config.image_tokens)] if attention.image else [])
        seen = []
        for image, count in counts:
            k, v = (g.input(n, (1, heads, count, width), self.dtype) for n in cross_names(layer, image))
            seen.append(g.attention(q, k, v, None))
        out = seen[0] if len(seen) == 1 else g.binary("add", seen[0], seen[1])
        return self._linear(layer, "cross_attn.o", [attention.o], self._joined(out))

    def _weighted(self, norm: nn.Module) -> tuple[V, float]:
        """Of an RMSNorm: its weight `[1, 1, dim]` and eps."""
        weight, eps = norm.weight, norm.eps
        assert isinstance(weight, Tensor)
        assert isinstance(eps, float)
        return self.g.constant(weight.float()[None, None]), eps

    def _joined(self, x: V) -> V:
        _, heads, count, width = self.g.shape(x)
        return self.g.reshape(self.g.transpose(x, (0, 2, 1, 3)), (1, count, heads * width))

    def _scale(self, layer: int, name: str) -> float | None:
        """That the input of a linear layer is quantised with; None where the layer stays in 16 bits. As it is in the
        graph's type, in which quantising and dequantising read it."""
        largest = self.amax.get(f"blocks.{layer}.{name}")
        if largest is None:
            return None
        return float(torch.tensor(max(largest, 1e-6) / LARGEST_FLOAT8, dtype=self.dtype))

    def _linear(self, layer: int, name: str, linears: list[nn.Module], x: V) -> Product[V]:
        """Linear layers of one input, which may be quantised already, as one product: outputs beside each other."""
        x_scale = self._scale(layer, name)
        weight, scale = _weights(linears, eight_bits=x_scale is not None)
        biases = [m.bias for m in linears]
        row = torch.cat([b for b in biases if isinstance(b, Tensor)])
        bias = self.g.constant(row.to(self.dtype)[None, None])
        if x_scale is None or scale is None:
            return linear(self.g, x, weight, None), bias
        if self.g.dtype(x) != FLOAT8:
            return linear(self.g, x, weight, None, (scale, x_scale)), bias
        x = self.g.dequantize(x, self.g.constant(torch.tensor(x_scale, dtype=self.dtype)))
        return linear(self.g, x, weight, None, (scale, None)), bias


def _weights(linears: list[nn.Module], eight_bits: bool) -> tuple[Tensor, Tensor | None]:
    """Rows of several layers, and their scales where they are eight bits. Raises ValueError on another kind."""
    if not eight_bits:
        return torch.cat([_exact(m) for m in linears]), None
    pairs = [(m.weight, m.scale) if isinstance(m, Fp8Linear) else quantised(_exact(m)) for m in linears]
    rows = torch.cat([weight.view(torch.uint8) for weight, _ in pairs]).view(pairs[0][0].dtype)
    return rows, torch.cat([scale for _, scale in pairs])


def _exact(module: nn.Module) -> Tensor:
    """A layer's weight as numbers."""
    if isinstance(module, Fp8Linear):
        return module.dequantised(torch.float32)
    if not isinstance(module, nn.Linear):
        raise ValueError(f"no engine of a model whose layers are {type(module).__name__}: build it from the plain one")
    return module.weight.detach()


def weights_hash(module: nn.Module) -> str:
    """sha256 over names, types, shapes and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
