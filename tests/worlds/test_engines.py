"""Every engine means what eager torch means."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.worlds.tiny_world import NETWORK, WORLD, autoencoder, network, with_words
from worldstream.worlds.config import NetworkConfig
from worldstream.worlds.core import Action
from worldstream.worlds.engines import (
    EagerEngine,
    OpenVINOEngine,
    StepInputs,
    build,
    example_inputs,
    graph_engine,
)
from worldstream.worlds.graph_engine import GraphEngine
from worldstream.worlds.network import WorldNetwork
from worldstream.worlds.rollout import Rollout

# bfloat16 keeps 8 bits: a relative error of 2^-8 a product, some of which add up over the layers
STEP_TOLERANCE = {"f32": 1e-4, "bf16": 0.15}
PIXEL_TOLERANCE = {"f32": 1, "bf16": 6}


def inputs(model: WorldNetwork, seed: int = 0) -> StepInputs:
    """Random inputs of a step, half of the ring empty."""
    g = torch.Generator().manual_seed(seed)
    *most, bias = [torch.rand(t.shape, generator=g) for t in example_inputs(model)]
    return (*most, torch.where(torch.arange(len(bias)) < len(bias) // 2, 0.0, float("-inf")))


@cache
def compiled(config: NetworkConfig) -> tuple[WorldNetwork, OpenVINOEngine]:
    """Made once for all tests: an engine keeps nothing between two calls. Every block is the same to a compiler."""
    model = network(replace(config, blocks=1))
    return model, OpenVINOEngine(model, autoencoder().decoder, 1)


@pytest.mark.parametrize("config", [NETWORK, with_words()], ids=["pooled", "words"])
def test_openvino_equals_eager(config: NetworkConfig) -> None:
    model, other = compiled(config)
    eager = EagerEngine(model, autoencoder().decoder, 1)
    precision = other.name.split()[-1]
    given = inputs(model)
    for ours, theirs in zip(eager.step(given), other.step(given), strict=True):
        assert ours.std() > 0.1
        torch.testing.assert_close(theirs, ours, rtol=0, atol=STEP_TOLERANCE[precision])
    latents = torch.randn(1, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    a, b = eager.decode(latents), other.decode(latents)
    assert b.shape == a.shape
    assert b.dtype == np.uint8
    assert a.std() > 5
    assert np.abs(a.astype(int) - b).max() <= PIXEL_TOLERANCE[precision]


def test_pictures_decoded_beside_are_those_decoded_in_turn() -> None:
    model, engine = compiled(NETWORK)
    g = torch.Generator().manual_seed(2)
    latents = [torch.randn(1, 3, 4, 6, generator=g) for _ in range(6)]
    wanted = [engine.decode(each) for each in latents]
    steps = [engine.step(inputs(model, i))[0] for i in range(6)]
    with ThreadPoolExecutor(1) as other:  # one thread decodes while this one steps
        made = [other.submit(engine.decode_beside, each) for each in latents]
        again = [engine.step(inputs(model, i))[0] for i in range(6)]
        for future, picture in zip(made, wanted, strict=True):
            np.testing.assert_array_equal(future.result(), picture)
    for one, same in zip(steps, again, strict=True):
        torch.testing.assert_close(same, one)


@pytest.mark.parametrize("config", [NETWORK, with_words()], ids=["pooled", "words"])
def test_recorded_graphs_equal_eager(config: NetworkConfig) -> None:
    """On a CPU the recording is a trace that freezes what a CUDA graph freezes."""
    model, decoder = network(config), autoencoder().decoder
    eager, other = EagerEngine(model, decoder, 1), graph_engine(model, decoder, 1, "cpu")
    for seed in range(3):
        given = inputs(model, seed)
        for ours, theirs in zip(eager.step(given), other.step(given), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)
        again = (given[0] + 1.0, *given[1:])  # the next pass of the same frame
        for ours, theirs in zip(eager.step(again), other.step(again), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)
    g = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 3, 4, 6, generator=g)
    assert np.abs(eager.decode(latents).astype(int) - other.decode(latents)).max() <= 1


def test_a_walk_on_recorded_graphs_is_the_same_walk() -> None:
    """Resets, places and prompts included: nothing of an earlier frame is left on the device."""
    model, decoder = network(WORLD.network), autoencoder().decoder
    frames: list[list[NDArray[np.uint8]]] = []
    for engine in (EagerEngine(model, decoder, 1), graph_engine(model, decoder, 1, "cpu")):
        walk = Rollout(WORLD, model, engine, WORLD.step_lists[0])
        drawn = []
        for seed in (1, 2):
            walk.reset(seed, "forest")
            for i in range(6):
                action = Action(forward_m=0.2, yaw_rad=0.05, prompt="desert" if i == 4 else None)
                drawn += [frame.rgb for frame in walk.step(action)]
        frames.append(drawn)
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(*frames, strict=True))


def test_nothing_in_a_recorded_graph_waits() -> None:
    engine = graph_engine(network(WORLD.network), autoencoder().decoder, 1, "cpu")
    assert isinstance(engine, GraphEngine)
    for recorded in (engine._look, engine._step, engine._decode):
        assert recorded is not None
        assert recorded.recording.operations
        assert recorded.recording.syncs == ()


def test_without_a_gpu_the_recorded_engine_says_so() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="torch can use no GPU"):
            build("cuda", network(), autoencoder().decoder)


def test_eager_is_the_network_itself() -> None:
    model = network()
    given = inputs(model)
    for a, b in zip(EagerEngine(model, autoencoder().decoder, 1).step(given), model.step(*given), strict=True):
        assert torch.equal(a, b)


def test_unknown_engine_names_the_choices() -> None:
    with pytest.raises(ValueError, match=r"unknown engine 'warp'; use auto, eager, openvino, cuda"):
        build("warp", network(), autoencoder().decoder)
