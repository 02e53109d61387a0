"""The transformer's pass through ONNX Runtime: chunk after chunk the same as `WanTransformer.chunk` and its cache."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from tests.worlds.wan.tiny_engines import (
    COLUMNS,
    ROWS,
    TINY,
    TINY_GAME,
    TINY_I2V,
    TOLERANCE,
    error,
    normal,
    seeded,
    transformer,
)
from tests.worlds.wan.wan_reference import randomised
from worldstream.worlds.wan.action_walk import BlockActions
from worldstream.worlds.wan.actions import ActionCache, ActionConfig, ActionModule, ActionRows
from worldstream.worlds.wan.attention import Context
from worldstream.worlds.wan.config import WAN_1_3B, WanConfig
from worldstream.worlds.wan.engine_chunk import EngineChunk
from worldstream.worlds.wan.kv_cache import KVCache
from worldstream.worlds.wan.onnx_graph import OnnxGraph, OnnxRun
from worldstream.worlds.wan.pass_graph import ChunkShape, cache_names, weights_hash, write_chunk
from worldstream.worlds.wan.transformer import WanTransformer

HINTED = replace(TINY, vace_layers=(0,), vace_channels=4)


@cache
def runner(shape: ChunkShape) -> OnnxRun:
    graph = OnnxGraph()
    write_chunk(graph, transformer(shape.config), shape, torch.float32)
    return OnnxRun(graph)


def engine(shape: ChunkShape) -> EngineChunk:
    return EngineChunk(transformer(shape.config), shape, runner(shape), "cpu")


def context(config: WanConfig, seed: int = 5) -> Context:
    g = seeded(seed)
    text = normal(g, 1, 20, config.text_dim) if config.has_text else None
    image = None if config.image_dim is None else normal(g, 1, config.image_tokens, config.image_dim)
    return transformer(config).context(text, image)


def passes(shape: ChunkShape, number: int, g: torch.Generator) -> list[tuple[Tensor, Tensor, bool]]:
    """Two noisy passes over a chunk and the one over the clean chunk: latents, timestep, commit."""
    times = [torch.tensor([900.0]), 1000 * torch.rand(1, shape.chunk, generator=g), torch.tensor([0.0])]
    channels = shape.config.in_channels
    return [(normal(g, 1, channels, shape.chunk, ROWS, COLUMNS), t, i == 2) for i, t in enumerate(times)]


def worst(shape: ChunkShape, chunks: int) -> float:
    """The largest error of any pass over a walk of some chunks."""
    model, ours, seen, g = transformer(shape.config), engine(shape), context(shape.config), seeded(6)
    cache_ = KVCache(shape.config, ROWS, COLUMNS, shape.window, chunk=shape.chunk, sink=shape.sink)
    ours.show(seen)
    found = 0.0
    for number in range(chunks):
        for x, time, commit in passes(shape, number, g):
            wanted = model.chunk(x, time, seen, cache_, commit=commit)
            found = max(found, error(ours.chunk(x, time, commit=commit), wanted))
    return found


@pytest.mark.parametrize(
    ("chunk", "window", "sink"),
    [(3, 9, 0), (1, 4, 1), (2, 8, 2), (3, 12, 3), (3, 3, 0), (3, 4, 0), (2, 9, 2), (3, 8, 0)],
)
def test_walk_equals_torch_past_the_end_of_the_window(chunk: int, window: int, sink: int) -> None:
    shape = ChunkShape(TINY, ROWS, COLUMNS, chunk, window, sink)
    assert worst(shape, 3 + 2 * window // chunk) <= TOLERANCE


@pytest.mark.parametrize("config", [TINY_I2V, TINY_GAME], ids=["text and image", "image alone"])
def test_models_that_see_an_image(config: WanConfig) -> None:
    assert worst(ChunkShape(config, ROWS, COLUMNS, 1, 2), 4) <= TOLERANCE


@pytest.mark.parametrize("keep_sink", [True, False])
@pytest.mark.parametrize("before", [2, 9])
def test_new_words_are_shown_the_newest_frames_again(before: int, keep_sink: bool) -> None:
    shape, model, g = ChunkShape(TINY, ROWS, COLUMNS, 1, 5, 2), transformer(), seeded(10)
    ours, cache_ = engine(shape), KVCache(TINY, ROWS, COLUMNS, 5, chunk=1, sink=2)
    first, second, still = context(TINY, 1), context(TINY, 2), torch.tensor([0.0])
    ours.show(first)
    clean = [normal(g, 1, 4, 1, ROWS, COLUMNS) for _ in range(before + 4)]
    for x in clean[:before]:
        assert error(ours.chunk(x, still, commit=True), model.chunk(x, still, first, cache_, commit=True)) <= TOLERANCE
    newest = torch.cat(clean[max(0, before - 3) : before], 2)[:, :, -1 if before == 2 else 0 :]
    ours.recache(newest, second, keep_sink=keep_sink)
    model.recache(newest, second, cache_, keep_sink=keep_sink)
    for x in clean[before:]:
        wanted = model.chunk(x, still, second, cache_, commit=True)
        assert error(ours.chunk(x, still, commit=True), wanted) <= TOLERANCE
    with pytest.raises(ValueError, match="cannot be written again"):
        ours.recache(torch.zeros(1, 4, 99, ROWS, COLUMNS), second)


def test_snapshots_prompts_and_resets() -> None:
    shape, g = ChunkShape(TINY, ROWS, COLUMNS, 1, 4, 1), seeded(7)
    ours, first, second = engine(shape), context(TINY, 1), context(TINY, 2)
    ours.show(first)
    clean, time = normal(g, 1, 4, 1, ROWS, COLUMNS), torch.tensor([0.0])
    beginning = ours.chunk(clean, time)
    for _ in range(6):
        ours.chunk(normal(g, 1, 4, 1, ROWS, COLUMNS), time, commit=True)
    kept = ours.snapshot()
    once = ours.chunk(clean, time, commit=True)
    ours.show(second)
    other = ours.chunk(clean, time, commit=True)
    assert error(other, once) > 0.01
    ours.restore(kept)
    ours.show(first)
    assert torch.equal(ours.chunk(clean, time), once)
    ours.reset()
    assert torch.equal(ours.chunk(clean, time), beginning)
    assert error(once, beginning) > 0.01


def test_write_index_and_length_are_what_the_graph_attends_by() -> None:
    shape, g = ChunkShape(TINY, ROWS, COLUMNS, 1, 4), seeded(8)
    ours, run = engine(shape), runner(shape)
    ours.show(context(TINY))
    for _ in range(2):
        ours.chunk(normal(g, 1, 4, 1, ROWS, COLUMNS), torch.tensor([0.0]), commit=True)
    clean = normal(g, 1, 4, 1, ROWS, COLUMNS)
    wanted = ours.chunk(clean, torch.tensor([0.0]))
    given = ours._given  # what the last pass was told
    assert (int(given["write_index"]), int(given["kv_length"])) == (2 * shape.frame, 3 * shape.frame)
    for name, wrong in (("kv_length", 2 * shape.frame), ("write_index", shape.frame)):
        told = {**given, name: torch.tensor([wrong], dtype=torch.int32)}
        assert error(run.run(told)["velocity"], wanted) > 0.01


def test_a_rehearsal_leaves_no_trace() -> None:
    shape, g = ChunkShape(TINY, ROWS, COLUMNS, 1, 3), seeded(8)
    walk = [step for number in range(4) for step in passes(shape, number, g)]
    found = []
    for rehearsed in (False, True):
        ours = engine(shape)
        ours.show(context(TINY))
        for x, time, commit in walk:
            found.append(ours.chunk(x, time, commit=commit))
            if rehearsed:
                ours.rehearse()
    assert all(torch.equal(a, b) for a, b in zip(found[: len(walk)], found[len(walk) :], strict=True))
    ours.keys.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="first pass is not finite"):
        ours.rehearse()


def test_shapes_that_do_not_fit() -> None:
    for window, sink in ((7, 1), (2, 0), (6, 6), (9, -3)):
        with pytest.raises(ValueError, match="in one piece"):
            ChunkShape(TINY, ROWS, COLUMNS, 3, window, sink)
    ours = engine(ChunkShape(TINY, ROWS, COLUMNS, 1, 4))
    with pytest.raises(ValueError, match="takes chunks of"):
        ours.chunk(torch.zeros(1, 4, 2, ROWS, COLUMNS), torch.tensor([0.0]))
    with pytest.raises(ValueError, match="timestep must be"):
        ours.chunk(torch.zeros(1, 4, 1, ROWS, COLUMNS), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="of 2 prompts"):
        ours.show(transformer().context(torch.zeros(2, 3, TINY.text_dim)))


def test_models_that_have_no_graph() -> None:
    actions = ActionConfig(blocks=1, heads=2, width=16, hidden=8)
    with torch.device("meta"):
        playing = WanTransformer(TINY, lambda i: ActionModule(actions, TINY.dim) if i == 0 else None)
        hinted = WanTransformer(HINTED)
    with pytest.raises(ValueError, match="action modules"):
        write_chunk(OnnxGraph(), playing, ChunkShape(TINY, ROWS, COLUMNS, 1, 2), torch.float32)
    with pytest.raises(ValueError, match="VACE"):
        write_chunk(OnnxGraph(), hinted, ChunkShape(HINTED, ROWS, COLUMNS, 1, 2), torch.float32)


@pytest.mark.parametrize(("mouse", "window"), [(2, 6), (0, 6), (2, 4)], ids=["both", "keyboard", "window 4"])
def test_models_that_draw_by_actions(mouse: int, window: int) -> None:
    actions = ActionConfig(keyboard=4, mouse=mouse, blocks=1, heads=2, width=32, hidden=8, window=window)
    model, g = WanTransformer(TINY_GAME, lambda i: ActionModule(actions, TINY_GAME.dim) if i == 0 else None), seeded(11)
    randomised(model.eval().requires_grad_(False), 12)
    shape = ChunkShape(TINY_GAME, ROWS, COLUMNS, 3, window, actions=actions)
    graph = OnnxGraph()
    write_chunk(graph, model, shape, torch.float32)
    ours, cache_ = EngineChunk(model, shape, OnnxRun(graph), "cpu"), KVCache(TINY_GAME, ROWS, COLUMNS, window)
    seen = model.context(None, normal(g, 1, TINY_GAME.image_tokens, 20))
    ours.show(seen)
    frames = 3 * 6
    keyboard = torch.rand(1, 4 * frames, 4, generator=g).round()
    turns = normal(g, 1, 4 * frames, 2) if mouse else None
    remembered, kept, wanted = ActionCache(actions), ours.snapshot(), torch.empty(0)
    rows, x, time = ActionRows.at(actions, keyboard, turns, 0, 3), torch.empty(0), torch.empty(0)
    for first in range(0, frames, 3):
        rows = ActionRows.at(actions, keyboard, turns, first, 3)
        for x, time, commit in passes(shape, first, g):
            if commit and first == frames - 3:
                kept = ours.snapshot()
            wanted = model.chunk(x, time, seen, cache_, commit=commit, actions=BlockActions(rows, remembered))
            assert error(ours.chunk(x, time, commit=commit, actions=rows), wanted) <= TOLERANCE
    other = replace(rows, keyboard=1 - rows.keyboard)
    ours.restore(kept)
    assert error(ours.chunk(x, time, actions=rows), wanted) <= TOLERANCE
    assert error(ours.chunk(x, time, actions=other), wanted) > 1e-3, "what is pressed shows"
    with pytest.raises(ValueError, match="draws by actions"):
        ours.chunk(x, time)


def test_full_shape_of_the_cache() -> None:
    shape = ChunkShape(WAN_1_3B, 60, 104, 3, 21)
    assert (shape.frame, shape.tokens, shape.cache()) == (1560, 4680, (1, 12, 32760, 128))
    assert cache_names(3, following=True) == ("next_keys_3", "next_values_3")


def test_every_weight_shows_in_the_hash() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = weights_hash(model)
    assert weights_hash(model) == before
    for parameter in model.parameters():
        parameter.data.view(-1)[-1] += 1e-3
        assert weights_hash(model) != before
        before = weights_hash(model)
