"""From actions and words to tensors: play says what training said, whatever a player sends."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldstream.worlds.conditioning import (
    IDS_PER_WORD,
    MOST_WORDS,
    PoseTracker,
    TextEncoder,
    action_vector,
    led,
    path_vectors,
    word_ids,
)
from worldstream.worlds.core import Action
from worldstream.worlds.procedural.paths import MAX_PITCH_RAD, MAX_STEP_M, MAX_TURN_RAD, limited, walk

BIG = st.floats(-1e308, 1e308)
ACTIONS = st.builds(Action, right_m=BIG, up_m=BIG, forward_m=BIG, yaw_rad=BIG, pitch_rad=BIG)
PROMPTS = ("a foggy forest at night", "", "🌲🌲 naïve Žižek", "a" * 5000, "\x00\u202e\ud800"[:2], "1 2 3 " * 500)


def tracker() -> PoseTracker:
    return PoseTracker(MAX_STEP_M, MAX_TURN_RAD, MAX_PITCH_RAD)


@pytest.mark.parametrize("seed", range(12))
def test_play_says_what_training_said(seed: int) -> None:
    """The vectors of a walk, action by action, are the rows that the training computes from its path at once."""
    path = walk(np.random.default_rng(seed), 64)
    path[0] = 0
    path = limited(path)
    rows = path_vectors(torch.from_numpy(path))
    pose = tracker()
    for i in range(1, len(path)):
        right, forward, yaw, pitch = (float(x) for x in path[i])
        action = pose.clip(Action(right_m=right, forward_m=forward, yaw_rad=yaw, pitch_rad=pitch))
        torch.testing.assert_close(torch.tensor(pose.move(action)), rows[i], rtol=0, atol=2e-5)


def test_path_vectors_ignore_the_first_pitch_and_batch() -> None:
    paths = torch.from_numpy(np.stack([walk(np.random.default_rng(seed), 20) for seed in range(3)]))
    rows = path_vectors(paths)
    assert rows.shape == (3, 20, 7)
    assert torch.equal(rows[1], path_vectors(paths[1]))
    assert (rows[:, 0, 5] == 0).all(), "the walk starts level"
    assert torch.equal(paths[0, :, 3], torch.from_numpy(walk(np.random.default_rng(0), 20))[:, 3]), "input untouched"


def test_action_vector_has_unit_size() -> None:
    row = action_vector(Action(0.3, 0.0, -0.3, math.radians(3), math.radians(-3)), math.radians(15))
    assert row == pytest.approx([1, 0, -1, 1, -1, 1, 0])


@given(st.lists(ACTIONS, max_size=20))
def test_clipping_keeps_within_the_trained_range(actions: list[Action]) -> None:
    pose = tracker()
    for action in actions:
        clipped = pose.clip(action)
        row = pose.move(clipped)
        assert all(math.isfinite(x) for x in row)
        assert math.hypot(clipped.right_m, clipped.forward_m) <= MAX_STEP_M * (1 + 1e-9)
        assert abs(clipped.yaw_rad) <= MAX_TURN_RAD
        assert abs(clipped.pitch_rad) <= MAX_TURN_RAD + 1e-12
        assert abs(pose.camera.pitch_rad) <= MAX_PITCH_RAD + 1e-12
        assert clipped.up_m == 0


@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(-0.1, 0.1), st.floats(-0.1, 0.1))
def test_clipping_leaves_what_is_in_range(right: float, forward: float, yaw: float, pitch: float) -> None:
    action = Action(right, 0.0, forward, yaw, pitch, frozenset({"forward"}), "night", 7, 1.5)
    assert tracker().clip(action) == action


def test_clipping_keeps_the_direction() -> None:
    clipped = tracker().clip(Action(right_m=3.0, forward_m=-4.0))
    assert (clipped.right_m, clipped.forward_m) == pytest.approx((0.6 * MAX_STEP_M, -0.8 * MAX_STEP_M))


def test_word_ids_are_the_same_in_every_process() -> None:
    """Python's own hash of strings is salted; ours must not be."""
    code = (
        "import json,sys; from worldstream.worlds.conditioning import word_ids; "
        "print(json.dumps([word_ids(p, 4096).tolist() for p in json.loads(sys.argv[1])]))"
    )
    texts = [p for p in PROMPTS if "\x00" not in p]
    ran = subprocess.run(
        [sys.executable, "-c", code, json.dumps(texts)],
        env={**os.environ, "PYTHONHASHSEED": "77"}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(ran.stdout) == [word_ids(p, 4096).tolist() for p in texts]


def test_word_ids_are_these() -> None:
    """Weights are trained on these numbers: a change of the hash makes every shipped world deaf."""
    ids = word_ids("forest", 4096)
    assert ids[0].tolist() == [1143, 1143, 3826, 569, 3590, 1520, 801, 2737]
    assert not ids[1:].any()


@settings(max_examples=100)
@given(st.text(max_size=300) | st.sampled_from(PROMPTS), st.sampled_from((2, 64, 4096)))
def test_word_ids_take_any_prompt(prompt: str, buckets: int) -> None:
    ids = word_ids(prompt, buckets)
    assert ids.shape == (MOST_WORDS, IDS_PER_WORD)
    assert ids.min() >= 0
    assert ids.max() < buckets
    present = ids.any(-1)
    assert torch.equal(present, present.sort(descending=True).values), "padding comes last"


def encoder() -> TextEncoder:
    torch.manual_seed(0)
    model = TextEncoder(512, 8, 16).requires_grad_(False)
    model.nothing.normal_()
    return model


@pytest.mark.parametrize("prompt", ["", "   ", "...!?"])
def test_no_words_are_nothing(prompt: str) -> None:
    model = encoder()
    pooled, words = model(word_ids(prompt, 512)[None])
    assert torch.equal(pooled[0], model.nothing)
    assert not words.any()


@settings(max_examples=20)
@given(st.randoms())
def test_order_of_words_is_irrelevant(rng: random.Random) -> None:
    model, text = encoder(), ["misty", "autumn", "forest", "dusk", "cold"]
    shuffled = rng.sample(text, len(text))
    (a, _), (b, _) = (model(word_ids(" ".join(t), 512)[None]) for t in (text, shuffled))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_other_words_are_other_vectors_and_rows_do_not_mix() -> None:
    model = encoder()
    ids = torch.stack([word_ids(p, 512) for p in ("forest", "", "desert night")])
    pooled, _ = model(ids)
    for row in range(3):
        torch.testing.assert_close(model(ids[row : row + 1])[0][0], pooled[row], rtol=0, atol=1e-6)
    assert not torch.allclose(pooled[0], pooled[2], atol=1e-2)


def test_led_lengthens_steps_alone() -> None:
    told = torch.arange(1.0, 8.0).view(1, 1, 7)
    assert led(told, 1.5)[0, 0].tolist() == [1.5, 3.0, 4.5, 4.0, 5.0, 6.0, 7.0]
    assert torch.equal(led(told, 1.0), told)
