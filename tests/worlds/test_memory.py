"""Places: kept once, found by what they show, brought back to where they were."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds.test_rollout import begun, play
from tests.worlds.tiny_world import NETWORK, WORLD, autoencoder, network, world
from worldstream.worlds.autoencoder import Autoencoder, AutoencoderConfig
from worldstream.worlds.conditioning import PoseTracker, action_vector, path_vectors, word_ids
from worldstream.worlds.config import DriftConfig, NetworkConfig
from worldstream.worlds.core import Action, Camera
from worldstream.worlds.drift import Gauge
from worldstream.worlds.judge import Judge
from worldstream.worlds.memory import (
    APART_M,
    RECENT,
    SUSPECT,
    PlaceMemory,
    chosen,
    nothing,
    overlaps,
    pose_of,
    poses_along,
    relative,
)
from worldstream.worlds.procedural.episodes import episode
from worldstream.worlds.procedural.paths import YAW
from worldstream.worlds.reprojection import Places, Reprojection
from worldstream.worlds.training import playing
from worldstream.worlds.training.data import still_batch
from worldstream.worlds.training.playing import Model, walk_batch
from worldstream.worlds.training.tokenizer import to_tensor

VIEW = math.radians(78)
REAL = NetworkConfig(channels=8, rows=6, columns=10, stack=1, anchor=False)
angles = st.floats(-math.pi, math.pi)
metres = st.floats(-20, 20)


def at(x: float = 0.0, z: float = 0.0, yaw: float = 0.0, pitch: float = 0.0) -> np.ndarray:
    return np.array([x, z, yaw, pitch])


@given(st.lists(st.tuples(metres, metres, angles), min_size=1, max_size=6))
def test_poses_along_are_the_trackers(moves: list[tuple[float, float, float]]) -> None:
    tracker = PoseTracker(0.45, 0.1, 0.4)
    rows, poses = [], []
    for right, forward, yaw in moves:
        rows.append(tracker.move(tracker.clip(Action(right, 0.0, forward, yaw, yaw / 2))))
        poses.append(pose_of(tracker.camera))
    np.testing.assert_allclose(poses_along(torch.tensor([rows]))[0], poses, atol=1e-5)


@given(metres, metres, angles, angles)
def test_relative_is_the_step_that_leads_back(x: float, z: float, yaw: float, turn: float) -> None:
    """`Camera.moved` is the independent implementation: turn first, then walk along the new heading."""
    there = Camera(x_m=x, z_m=z, yaw_rad=yaw)
    here = there.moved(Action(right_m=0.7, forward_m=-1.3, yaw_rad=turn))
    right, forward, turned, pitch = relative(pose_of(here), pose_of(there)[None])[0]
    assert (right, forward, turned, pitch) == pytest.approx((0.7, -1.3, turn, 0.0), abs=1e-9)


def test_overlap_of_two_views_from_one_spot() -> None:
    """By half the field of view aside half is seen, by the whole of it nothing."""
    for turn, share in ((0.0, 1.0), (VIEW / 2, 0.5), (VIEW * 1.02, 0.0), (math.pi, 0.0)):
        shown = overlaps(at(), at(yaw=turn)[None], VIEW, 0.6)[0].mean()
        assert shown == pytest.approx(share, abs=0.13)
    assert overlaps(at(), at(yaw=2 * math.pi)[None], VIEW, 0.6).all(), "a whole turn is none"


def test_the_best_place_comes_first_and_the_second_adds_to_it() -> None:
    there = np.stack([at(yaw=0.3), at(yaw=0.1), at(yaw=-0.6), at(yaw=3.0), at(x=80.0)])
    assert chosen(at(), there, NETWORK, 2) == [1, 2]
    assert chosen(at(yaw=1.6, x=80), there[3:4], NETWORK) == []
    assert chosen(at(), np.empty((0, 4)), NETWORK) == []
    near, far = at(z=-0.5), at(z=-9.0)
    assert chosen(at(), np.stack([far, near]), NETWORK, 1) == [1], "parallax: the nearer of two is better"


def memory(budget: int = 8) -> tuple[PlaceMemory, Reprojection]:
    reprojection = network().reprojection
    assert reprojection is not None
    return PlaceMemory(NETWORK, budget), reprojection


def latent(value: float = 0.0) -> torch.Tensor:
    return torch.full((1, NETWORK.channels, NETWORK.rows, NETWORK.columns), value)


def test_a_place_is_kept_once() -> None:
    places, _ = memory()
    assert places.keep(latent(), at(), 0)
    assert not places.keep(latent(), at(z=APART_M * 0.9), 1)
    assert not places.keep(latent(), at(yaw=2 * math.pi - 0.1), 2), "a whole turn is none"
    assert places.keep(latent(), at(z=APART_M * 1.1), 3)
    assert places.keep(latent(), at(yaw=0.3), 4)
    assert places.keep(latent(), at(pitch=0.3), 5)
    assert len(places) == 4


def test_no_more_than_the_budget_and_the_unused_go_first() -> None:
    places, reprojection = memory(budget=3)
    for i in range(3):
        places.keep(latent(float(i)), at(x=100.0 * i), i)
    assert places.recall(reprojection, at(), 20).known.sum() == 1  # the first is used
    places.keep(latent(3.0), at(x=300.0), 21)
    assert len(places) == 3
    assert places.recall(reprojection, at(), 40).known.sum() == 1, "used lately: still there"
    assert places.recall(reprojection, at(x=100.0), 40).known.sum() == 0, "gone"


@settings(max_examples=30)
@given(st.lists(st.tuples(metres, metres, angles), max_size=40), st.integers(0, 5))
def test_a_memory_never_outgrows_its_budget(poses: list[tuple[float, float, float]], budget: int) -> None:
    places, reprojection = memory(budget)
    for i, pose in enumerate(poses):
        places.keep(latent(), at(*pose), i)
        assert len(places) <= budget
        found = places.recall(reprojection, at(*pose), i + RECENT)
        assert all(x.isfinite().all() for x in found)
        assert budget == 0 or found.known[0, 0, 0] == 1


def test_frames_that_are_seen_anyway_are_not_recalled() -> None:
    places, reprojection = memory()
    places.keep(latent(), at(), 5)
    assert places.recall(reprojection, at(), 5 + RECENT - 1).known.sum() == 0
    assert places.recall(reprojection, at(), 5 + RECENT).known.sum() == 1


@pytest.fixture(scope="module")
def tokenizer() -> Autoencoder:
    model = Autoencoder(AutoencoderConfig(channels=8, decoder_widths=(4, 4, 4), decoder_blocks=(1, 1, 1)))
    model.fit_linear(to_tensor(still_batch(3, 64, 160, 96)[0]))
    return model


def test_a_place_that_was_turned_away_from_comes_back_where_it_was(tokenizer: Autoencoder) -> None:
    """True renders of a turn: what is recalled of the first frames is nearer to the truth than any copy."""
    reprojection = Reprojection(REAL).requires_grad_(False)
    reprojection.fit(tokenizer)
    path = np.zeros((24, 4), np.float32)
    path[1:, YAW] = math.radians(4)
    path[12:, YAW] *= -1
    walk = episode(2_000, 24, 80, 48, theme=4, path=path, changes=False)
    with torch.no_grad():
        latents = tokenizer.encode(to_tensor(walk.rgb))
    actions = path_vectors(torch.from_numpy(walk.path))[None]
    poses, places = poses_along(actions)[0], PlaceMemory(replace(REAL, recall=True), 64)
    worse = []
    for i in range(24):
        if i >= 16:
            found = places.recall(reprojection, poses[i], i)
            newest = latents[None, None, None, 12]
            _, recalled, cover = (x[0, 0] for x in reprojection(newest, actions[:, i, None], found))
            assert cover.mean() > 0.9
            full = cover[0] > 0.99
            off = (recalled - latents[i])[:, full].square().mean()
            worse.append(float(off / (latents[12] - latents[i])[:, full].square().mean()))
        places.keep(latents[i, None], poses[i], i)
    assert np.mean(worse) < 0.5


def test_what_only_fills_shows_nothing_that_is_seen(tokenizer: Autoencoder) -> None:
    """A turn of 20 degrees: a place that fills covers the new strip, and no more."""
    reprojection = Reprojection(REAL).requires_grad_(False)
    reprojection.fit(tokenizer)
    action = torch.tensor([[action_vector(Action(yaw_rad=0.35), 0.0)]])
    places = nothing(REAL)
    places.known[0, 0, 0] = 1
    given = torch.randn(1, 1, 1, 8, REAL.rows, REAL.columns)
    whole = reprojection(given, action, places)[2][0, 0, 0]
    strip = reprojection(given, action, Places(*places[:3], torch.ones(1, 1, 2)))[2][0, 0, 0]
    assert whole.min() == 1
    assert (strip[2:4, :6] == 0).all(), "seen; near the top and the bottom a turn brings in corners"
    assert (strip[:, -1] == 1).all()


def there_and_back(turn: float = 0.1, frames: int = 12) -> list[Action]:
    return [Action()] + [Action(yaw_rad=turn)] * frames + [Action(yaw_rad=-turn)] * frames


def test_memory_is_a_switch_that_changes_what_is_found_on_return() -> None:
    on, off = begun(), begun(config=replace(WORLD, places=0))
    with_memory, without = play(on, there_and_back()), play(off, there_and_back())
    same = [np.array_equal(a.rgb, b.rgb) for a, b in zip(with_memory, without, strict=True)]
    assert all(same[:RECENT])
    assert not any(same[-8:])


def test_a_new_prompt_is_a_new_place() -> None:
    walk = begun()
    play(walk, there_and_back())
    kept = walk.snapshot().places[0]
    play(walk, [Action(prompt="desert")])
    assert len(kept) > 2
    assert not walk.snapshot().places[0]


def test_snapshots_share_places_and_keep_their_own_list() -> None:
    walk = begun()
    play(walk, there_and_back())
    state = walk.snapshot()
    play(walk, [Action(forward_m=0.45)] * 12)
    assert len(walk.snapshot().places[0]) > len(state.places[0])
    walk.restore(state)
    again = walk.snapshot()
    assert all(a is b for a, b in zip(again.places[0], state.places[0], strict=True))


# -- with the drift monitor -------------------------------------------------------------------------------------------

WATCHED = replace(WORLD, drift=DriftConfig(every=4, looks=1.0, straying=1.0, lost=9.0, fade=8, rest=12))
AHEAD = Action(forward_m=0.45)  # every second frame is a place
FRAMES, STRAYS = 160, 101  # one that is looked at: 1 and every fourth from there on


class Alarm(Gauge):
    """Finds that some walks have strayed at the frame STRAYS, and at no other."""

    def __init__(self, *strays: bool) -> None:
        super().__init__(Judge(), autoencoder())
        self.strays = torch.tensor(strays)
        self.frame, self.anchored = 1 - WATCHED.drift.every, False

    def readings(self, latents: torch.Tensor) -> torch.Tensor:
        if self.frame == 1 and not self.anchored:
            self.anchored = True  # the first look reads the anchor too
        else:
            self.frame += WATCHED.drift.every
        return 1.5 * (self.strays & (self.frame == STRAYS)).float()[:, None]


Kept = list[tuple[bool, list[int]]]
"""For every frame: whether the walk is being brought back, and the frames whose places are remembered after it."""


@cache
def kept_by_a_rollout(strays: bool) -> Kept:
    walk = replace(world(WATCHED), gauge=Alarm(strays)).rollout()
    walk.reset(3, "forest")
    out = []
    for _ in range(FRAMES):
        list(walk.step(AHEAD, decode=False))
        unsure = walk._keeper.unsure if walk._keeper is not None else None
        out.append((unsure is not None and bool(unsure), [place.index for place in walk.snapshot().places[0]]))
    return out


def kept_by_a_batch(monkeypatch: pytest.MonkeyPatch, *strays: bool) -> list[Kept]:
    out: list[Kept] = [[] for _ in strays]
    remember = playing.remember

    def watched(*given: object) -> None:
        remember(*given)  # type: ignore[arg-type]
        memories, _, _, _, unsure = given
        assert isinstance(memories, list)
        assert unsure is None or isinstance(unsure, torch.Tensor)
        for row, places in enumerate(memories):
            indices = [place.index for place in places.snapshot()[0]]
            out[row].append((unsure is not None and bool(unsure[row]), indices))

    monkeypatch.setattr(playing, "remember", watched)
    model = Model(WATCHED, network(), autoencoder(), WATCHED.step_lists[0], Alarm(*strays))
    actions = torch.tensor([action_vector(AHEAD, 0.0)]).expand(len(strays), FRAMES, -1)
    words = word_ids("forest", NETWORK.text_buckets).expand(len(strays), -1, -1)
    walk_batch(model, None, actions, words, torch.Generator().manual_seed(3))
    return out


def check_that_straying_is_forgotten(kept: Kept) -> None:
    unsure = [frame for frame, (away, _) in enumerate(kept) if away]
    assert unsure == list(range(STRAYS, unsure[-1] + 1)), "brought back once, from the look that found it on"
    assert unsure[-1] < FRAMES - 20
    before = kept[STRAYS - 1][1]
    assert max(before) >= STRAYS - 2
    sure = [index for index in before if index < STRAYS - SUSPECT]
    assert len(sure) > 10
    for frame in unsure:
        assert kept[frame][1] == sure, "what may show the strayed world is gone, and nothing is kept meanwhile"
    after = kept[-1][1]
    assert after[: len(sure)] == sure
    assert min(after[len(sure) :]) > unsure[-1]
    assert max(after) >= FRAMES - 2, "places are kept again"


def test_a_rollout_forgets_what_it_kept_while_it_strayed() -> None:
    check_that_straying_is_forgotten(kept_by_a_rollout(True))
    calm = kept_by_a_rollout(False)
    assert not any(away for away, _ in calm)
    assert len(calm[-1][1]) == FRAMES // 2


def test_in_a_batch_only_the_walk_that_strays_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    calm, strayed = kept_by_a_batch(monkeypatch, False, True)
    check_that_straying_is_forgotten(strayed)
    assert strayed == kept_by_a_rollout(True)
    assert calm == kept_by_a_rollout(False)
