"""The decoders' graphs through ONNX Runtime: the same streams as torch draws."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

from tests.worlds.wan.tiny_engines import COLUMNS, ROWS, TOLERANCE, error, normal, seeded, taehv, vae
from worldstream.worlds.wan.decoder_graph import LATENT, RGB, cache_name
from worldstream.worlds.wan.engine_backend import decoder_writer
from worldstream.worlds.wan.engine_decoder import EngineDecoder
from worldstream.worlds.wan.graph import nbytes
from worldstream.worlds.wan.onnx_graph import OnnxGraph, OnnxRun
from worldstream.worlds.wan.streaming import CodecStream
from worldstream.worlds.wan.taehv import TAEHV
from worldstream.worlds.wan.vae import WanVAE

CODECS: dict[str, Callable[[], WanVAE | TAEHV]] = {"vae": vae, "taehv": taehv, "taehv of 2x2 pixels": lambda: taehv(2)}


@cache
def runs(name: str) -> tuple[OnnxRun, OnnxRun]:
    """The graph of a stream's first latent, and of all others."""
    return made(CODECS[name](), True), made(CODECS[name](), False)


def made(codec: WanVAE | TAEHV, first: bool) -> OnnxRun:
    graph = OnnxGraph()
    decoder_writer(codec)(graph, codec, ROWS, COLUMNS, torch.float32, first)
    return OnnxRun(graph)


@pytest.mark.parametrize("name", CODECS)
def test_stream_equals_torch(name: str) -> None:
    codec: Any = CODECS[name]()
    g = seeded(2)
    ours = EngineDecoder(codec, *runs(name))
    state, wanted_state = None, None
    for number, count in enumerate((1, 1, 3, 2)):
        latents = normal(g, 1, 16, count, ROWS, COLUMNS)
        rgb, state = ours.decode(latents, state)
        wanted, wanted_state = codec.decode(latents, wanted_state)
        assert error(rgb, wanted) <= TOLERANCE
        assert wanted.std() > 0.1, "a picture of one colour would prove nothing"
        assert state.seen == wanted_state.seen
        assert type(state) is type(wanted_state)
        for cache_, theirs in zip(state.caches, wanted_state.caches, strict=True):
            assert error(cache_, theirs) <= TOLERANCE or (number == 0 and not theirs.any() and not cache_.any())


def test_a_state_stays_valid_and_streams_share_one_decoder() -> None:
    ours, g = EngineDecoder(vae(), *runs("vae")), seeded(3)
    streams = [CodecStream(ours), CodecStream(ours)]
    first, second = (normal(g, 1, 16, 2, ROWS, COLUMNS) for _ in range(2))
    streams[0].decode(first)
    kept = streams[0].snapshot()
    streams[1].decode(second)
    once = streams[0].decode(second)
    streams[0].restore(kept)
    assert torch.equal(streams[0].decode(second), once)
    assert not torch.equal(streams[1].decode(second), once)


def test_the_first_latent_takes_no_caches_and_leaves_those_that_double_time() -> None:
    first, steady = runs("vae")
    shapes = vae().config.decoder_caches(1, ROWS, COLUMNS)
    assert list(first.inputs) == [LATENT]
    assert [port.shape for port in steady.inputs.values()] == [(1, 16, 1, ROWS, COLUMNS), *shapes]
    assert set(steady.outputs) - set(first.outputs) == {cache_name(i, following=True) for i in (11, 18)}
    assert first.outputs[RGB].shape == (1, 3, 1, 32, 48)
    assert steady.outputs[RGB].shape == (1, 3, 4, 32, 48)
    held = sum(torch.zeros(shape).nbytes for shape in shapes)
    assert nbytes({n: p for n, p in steady.inputs.items() if n != LATENT}) == held


def test_other_sizes_are_refused() -> None:
    ours = EngineDecoder(vae(), *runs("vae"))
    with pytest.raises(ValueError, match="engine decodes latents of"):
        ours.decode(torch.zeros(2, 16, 1, ROWS, COLUMNS))
    with pytest.raises(ValueError, match="engine decodes latents of"):
        ours.decode(torch.zeros(1, 16, 1, ROWS, COLUMNS + 1))
    with pytest.raises(ValueError, match="16 channels"):
        ours.decode(torch.zeros(1, 4, 1, ROWS, COLUMNS))


def test_it_encodes_and_counts_as_the_codec_does() -> None:
    ours = EngineDecoder(vae(), *runs("vae"))
    rgb = normal(seeded(4), 1, 3, 5, 8 * ROWS, 8 * COLUMNS).clamp(-1, 1)
    assert torch.equal(ours.encode(rgb)[0], vae().encode(rgb)[0])
    assert [ours.frames(0, 2), ours.frames(3, 2), ours.group(0), ours.group(1)] == [5, 8, 1, 4]
