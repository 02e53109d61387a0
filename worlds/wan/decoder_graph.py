"""The streaming decoders as graphs: one latent frame in, its video frames and all causal caches out.

There are two graphs of each decoder. The `first` is for the first latent of a stream: it takes no caches, because what
lies before is zeros. The `steady` one takes the caches as inputs `cache_0…`. Both give back `next_cache_0…`, in the
order of `VAEDecoderState` and `TAEHVDecoderState`. The caches that the first latent of the full decoder leaves alone
(time is not doubled there) are missing in the first graph: they stay zeros.
"""

from __future__ import annotations

from typing import Generic

import torch
from torch import Tensor, nn

from .graph import Graph, V, normalised, scalar, silu
from .taehv import TAEHV, MemBlock, SoftClamp, TGrow, fewest_pixels_first
from .vae import LATENT_MEAN, LATENT_STD, WanVAE
from .vae_layers import AttentionBlock, ResidualBlock, RMSNorm, Upsample

LATENT, RGB = "latent", "rgb"
LEAST_LENGTH = 1e-12  # of a pixel's channels, as in `vae_layers.RMSNorm`


def cache_name(index: int, following: bool = False) -> str:
    """Of a cache as it is read, or as the `following` latent is to read it."""
    return f"{'next_' * following}cache_{index}"


class Caches(Generic[V]):
    """The causal caches of one graph, in the order in which the layers meet them. The twin of `codec.Past`."""

    def __init__(self, graph: Graph[V], shapes: list[tuple[int, ...]], dtype: torch.dtype, first: bool, time: int):
        self.first, self._graph, self._time = first, graph, time
        self._shapes, self._met = shapes, 0
        names = [cache_name(i) for i in range(len(shapes))]
        self._old = [] if first else [graph.input(n, s, dtype) for n, s in zip(names, shapes, strict=True)]

    def join(self, x: V) -> V:
        """x with its past in front; the newest frames are an output."""
        index, g, axis = self._met, self._graph, self._time
        self._met += 1
        count = self._shapes[index][axis]
        joined = g.zeros_before(x, axis, count) if self.first else g.concat([self._old[index], x], axis)
        g.output(cache_name(index, following=True), g.slice(joined, axis, g.shape(joined)[axis] - count, count))
        return joined

    def skip(self) -> None:
        """Leave a cache as it was."""
        self._met += 1

    def done(self) -> None:
        assert self._met == len(self._shapes), f"{self._met} caches were met, {len(self._shapes)} exist"


def write_vae(graph: Graph[V], vae: WanVAE, rows: int, columns: int, dtype: torch.dtype, first: bool) -> None:
    """The decoder of the full autoencoder for latents of `rows` x `columns` cells, batch 1, computed in `dtype`.

    Input `latent` float32 `[1, 16, 1, rows, columns]`, output `rgb` `[1, 3, 1 or 4, 8 rows, 8 columns]` in [-1, 1].
    """
    latent = graph.input(LATENT, (1, vae.channels, 1, rows, columns), torch.float32)
    caches = Caches(graph, vae.config.decoder_caches(1, rows, columns), dtype, first, time=2)
    std, mean = (graph.constant(torch.tensor(x).view(1, -1, 1, 1, 1)) for x in (LATENT_STD, LATENT_MEAN))
    x = graph.cast(graph.binary("add", graph.binary("mul", latent, std), mean), dtype)
    x = _conv(graph, x, vae.conv2)
    x = _conv(graph, caches.join(x), vae.decoder.conv1)
    for layers in (vae.decoder.middle, vae.decoder.upsamples, vae.decoder.head):
        x = _walk(graph, layers, x, caches)
    caches.done()
    graph.output(RGB, clamped(graph, x, -1.0, 1.0))


def clamped(graph: Graph[V], x: V, low: float, high: float) -> V:
    return graph.binary("min", graph.binary("max", x, scalar(graph, low, x)), scalar(graph, high, x))


def _walk(graph: Graph[V], layers: nn.Sequential, x: V, caches: Caches[V]) -> V:
    for layer in layers:
        if isinstance(layer, nn.Conv3d):
            x = _conv(graph, caches.join(x), layer)
        elif isinstance(layer, ResidualBlock):
            short = x if isinstance(layer.shortcut, nn.Identity) else _conv(graph, x, layer.shortcut)
            x = graph.binary("add", short, _walk(graph, layer.residual, x, caches))
        elif isinstance(layer, AttentionBlock):
            x = _attended(graph, layer, x)
        elif isinstance(layer, Upsample):
            x = _upsampled(graph, layer, x, caches)
        elif isinstance(layer, RMSNorm):
            x = _normed(graph, layer, x)
        elif isinstance(layer, nn.SiLU):
            x = silu(graph, x)
        else:
            assert isinstance(layer, nn.Identity), f"no graph of {type(layer).__name__}"
    return x


def _conv(graph: Graph[V], x: V, layer: nn.Module) -> V:
    """A convolution over `[B, C, T, H, W]`; one over pictures does not look along time."""
    assert isinstance(layer, nn.Conv2d | nn.Conv3d)
    weight, padding = layer.weight, layer.padding
    assert isinstance(padding, tuple)
    if isinstance(layer, nn.Conv2d):
        weight, padding = weight[:, :, None], (0, *padding)
    return convolved(graph, x, weight, layer.bias, padding)


def convolved(graph: Graph[V], x: V, weight: Tensor, bias: Tensor | None, padding: tuple[int, ...]) -> V:
    dtype = graph.dtype(x)
    given = None if bias is None else graph.constant(bias.to(dtype))
    return graph.conv(x, graph.constant(weight.to(dtype)), given, padding)


def _normed(graph: Graph[V], layer: RMSNorm, x: V) -> V:
    channels = graph.shape(x)[1]
    gamma = layer.gamma.view(1, channels, 1, 1, 1)
    return normalised(graph, x, gamma, axis=1, least=LEAST_LENGTH * channels**-0.5)


def _attended(graph: Graph[V], layer: AttentionBlock, x: V) -> V:
    batch, channels, frames, rows, columns = graph.shape(x)
    assert frames == 1, "the middle of the decoder sees one frame"
    qkv = _conv(graph, _normed(graph, layer.norm, x), layer.to_qkv)
    cells = graph.transpose(graph.reshape(qkv, (batch, 1, 3 * channels, rows * columns)), (0, 1, 3, 2))
    q, k, v = (graph.slice(cells, 3, i * channels, channels) for i in range(3))
    q = graph.binary("mul", q, scalar(graph, channels**-0.5, q))
    y = graph.attention(q, k, v, None, fused=False)  # one head as wide as the channels: no fused kernel is that wide
    y = graph.reshape(graph.transpose(y, (0, 1, 3, 2)), (batch, channels, 1, rows, columns))
    return graph.binary("add", x, _conv(graph, y, layer.proj))


def _upsampled(graph: Graph[V], layer: Upsample, x: V, caches: Caches[V]) -> V:
    if layer.time_conv is not None:
        if caches.first:
            caches.skip()
        else:
            batch, channels, frames, rows, columns = graph.shape(x)
            pairs = _conv(graph, caches.join(x), layer.time_conv)
            pairs = graph.reshape(pairs, (batch, 2, channels, frames, rows, columns))
            x = graph.transpose(pairs, (0, 2, 3, 1, 4, 5))
            x = graph.reshape(x, (batch, channels, 2 * frames, rows, columns))
    return _conv(graph, graph.twice(x), layer.resample[1])


def write_taehv(graph: Graph[V], codec: TAEHV, rows: int, columns: int, dtype: torch.dtype, first: bool) -> None:
    """The tiny decoder, batch 1. Input `latent` float32 `[1, C, 1, rows, columns]`, output `rgb`
    `[1, 3, 1 or 4, H, W]` in [-1, 1]. Frames are a batch of pictures inside."""
    config = codec.config
    latent = graph.input(LATENT, (1, config.channels, 1, rows, columns), torch.float32)
    x = graph.cast(graph.reshape(latent, (1, config.channels, rows, columns)), dtype)
    shapes = [shape[1:] for shape in config.decoder_caches(1, rows, columns)]
    caches = Caches(graph, shapes, dtype, first, time=0)
    for layer in fewest_pixels_first(codec.decoder):
        x = _tiny_layer(graph, layer, x, caches)
    caches.done()
    if first:
        x = graph.slice(x, 0, graph.shape(x)[0] - 1, 1)  # the others stand for frames before the stream
    x = _shuffled(graph, clamped(graph, x, 0.0, 1.0), config.patch)
    x = graph.binary("sub", graph.binary("mul", x, scalar(graph, 2.0, x)), scalar(graph, 1.0, x))
    frames, _, height, width = graph.shape(x)
    graph.output(RGB, graph.reshape(graph.transpose(x, (1, 0, 2, 3)), (1, 3, frames, height, width)))


def _tiny_layer(graph: Graph[V], layer: nn.Module, x: V, caches: Caches[V]) -> V:
    if isinstance(layer, SoftClamp):
        three = scalar(graph, 3.0, x)
        return graph.binary("mul", graph.unary("tanh", graph.binary("div", x, three)), three)
    if isinstance(layer, nn.Conv2d):
        assert isinstance(layer.padding, tuple)
        return convolved(graph, x, layer.weight, layer.bias, layer.padding)
    if isinstance(layer, nn.ReLU):
        return graph.unary("relu", x)
    if isinstance(layer, MemBlock):
        before = graph.slice(caches.join(x), 0, 0, graph.shape(x)[0])
        y = graph.concat([x, before], 1)
        for inner in layer.conv:
            y = _tiny_layer(graph, inner, y, caches)
        return graph.unary("relu", graph.binary("add", y, x))
    if isinstance(layer, TGrow):
        frames, *picture = graph.shape(x)
        return graph.reshape(_tiny_layer(graph, layer.conv, x, caches), (frames * layer.stride, *picture))
    assert isinstance(layer, nn.Upsample), f"no graph of {type(layer).__name__}"
    return graph.twice(x)


def _shuffled(graph: Graph[V], x: V, patch: int) -> V:
    if patch == 1:
        return x
    frames, channels, rows, columns = graph.shape(x)
    x = graph.reshape(x, (frames, channels // patch**2, patch, patch, rows, columns))
    x = graph.transpose(x, (0, 1, 4, 2, 5, 3))
    return graph.reshape(x, (frames, channels // patch**2, rows * patch, columns * patch))
