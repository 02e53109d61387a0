"""One walk: repeatable, branchable, endless, and the same as the batched walk that measures it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.worlds.tiny_world import NETWORK, WORLD, autoencoder, network, rollout, with_words, world
from worldstream.worlds import history as history_module
from worldstream.worlds import rollout as rollout_module
from worldstream.worlds.conditioning import PoseTracker, word_ids
from worldstream.worlds.config import DriftConfig, WorldConfig
from worldstream.worlds.core import Action, Frame
from worldstream.worlds.drift import Gauge
from worldstream.worlds.engines import DecodeGraph
from worldstream.worlds.judge import Judge
from worldstream.worlds.rollout import ANCHOR_AFTER, Rollout, RolloutState
from worldstream.worlds.training import playing as playing_module
from worldstream.worlds.training.playing import Model, walk_batch

VARIANTS = pytest.mark.parametrize("config", [WORLD, replace(WORLD, network=with_words())], ids=["pooled", "words"])


def actions(count: int = 12, seed: int = 0) -> list[Action]:
    rng = np.random.default_rng(seed)
    rows = rng.uniform(-1, 1, (count, 4)) * (0.4, 0.4, 0.1, 0.1)
    return [Action(float(r), 0.0, float(f), float(y), float(p), input_id=i) for i, (r, f, y, p) in enumerate(rows)]


def play(walk: Rollout, moves: list[Action]) -> list[Frame]:
    return [frame for action in moves for frame in walk.step(action)]


def same(a: list[Frame], b: list[Frame]) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(x.rgb, y.rgb) and x.index == y.index for x, y in zip(a, b, strict=True)
    )


def begun(seed: int = 0, prompt: str = "forest", config: WorldConfig = WORLD) -> Rollout:
    walk = rollout(config)
    walk.reset(seed, prompt)
    return walk


@VARIANTS
def test_the_same_inputs_give_the_same_frames(config: WorldConfig) -> None:
    first = play(begun(config=config), actions())
    assert same(play(begun(config=config), actions()), first)
    walk = begun(5, "desert", config)
    play(walk, actions(7, 3))
    walk.reset(0, "forest")
    assert same(play(walk, actions()), first), "a reset leaves nothing behind"


@pytest.mark.parametrize("other", [{"seed": 1}, {"prompt": "desert"}], ids=["seed", "prompt"])
def test_another_seed_or_prompt_is_another_world(other: dict[str, int | str]) -> None:
    first = play(begun(), actions())
    for a, b in zip(first, play(begun(**other), actions()), strict=True):  # type: ignore[arg-type]
        assert not np.array_equal(a.rgb, b.rgb)


def test_actions_are_heard() -> None:
    moves = actions()
    changed = [*moves[:6], Action(forward_m=0.45), *moves[7:]]
    first, second = play(begun(), moves), play(begun(), changed)
    assert same(first[:6], second[:6])
    assert not np.array_equal(first[6].rgb, second[6].rgb)


@VARIANTS
def test_two_branches_differ_by_their_actions_and_by_nothing_else(config: WorldConfig) -> None:
    """What if I had gone left: the same actions give the same frames, others give others, in either order."""
    walk = begun(config=config)
    play(walk, actions(5, 1))
    state = walk.snapshot()
    left, right = [Action(yaw_rad=-0.05)] * 6, [Action(yaw_rad=0.05)] * 6
    went_left = play(walk, left)
    walk.restore(state)
    went_right = play(walk, right)
    assert not np.array_equal(went_left[0].rgb, went_right[0].rgb)
    for moves, seen in ((left, went_left), (right, went_right), (left, went_left)):
        walk.restore(state)
        assert same(play(walk, moves), seen)
        other = rollout(config)
        other.restore(state)
        assert same(play(other, moves), seen), "also in another rollout"
        assert same(play(begun(config=config), [*actions(5, 1), *moves])[5:], seen), "and from the log alone"


@VARIANTS
def test_frames_that_nobody_sees_change_nothing(config: WorldConfig) -> None:
    whole = play(begun(config=config), actions())
    walk = begun(config=config)
    assert [frame for action in actions()[:7] for frame in walk.step(action, decode=False)] == []
    assert same(play(walk, actions()[7:]), whole[7:])


@VARIANTS
@pytest.mark.parametrize("at", [0, 1, 5])
def test_branches_equal_uninterrupted_play(config: WorldConfig, at: int) -> None:
    moves = actions()
    whole = play(begun(config=config), moves)
    walk = begun(config=config)
    play(walk, moves[:at])
    state = walk.snapshot()
    play(walk, actions(9, seed=4))  # elsewhere for a while, far enough to overwrite the ring
    walk.restore(state)
    assert same(play(walk, moves[at:]), whole[at:])
    other = rollout(config)  # never reset
    other.restore(state)
    assert other.camera == state.camera
    assert same(play(other, moves[at:]), whole[at:])


def test_two_branches_do_not_touch_each_other() -> None:
    walk, other = begun(), rollout()
    play(walk, actions(5))
    state = walk.snapshot()
    other.restore(state)
    alone = play(walk, actions(6, 1))
    walk.restore(state)
    taken: list[Frame] = []
    for a, b in zip(actions(6, 1), actions(6, 2), strict=True):
        taken += play(walk, [a])
        play(other, [b])
    assert same(taken, alone)


def test_step_before_reset_is_refused() -> None:
    with pytest.raises(AssertionError, match="call reset before step"):
        next(rollout().step(Action()))


@pytest.mark.parametrize("seed", [-1, 1 << 63])
def test_bad_seed_is_named(seed: int) -> None:
    with pytest.raises(ValueError, match=str(seed)):
        rollout().reset(seed)


def test_frames_say_when_and_what_they_answer() -> None:
    frames = play(begun(), actions(5))
    assert [f.index for f in frames] == list(range(5))
    assert [f.media_time_s for f in frames] == [i / WORLD.fps for i in range(5)]
    assert [f.input_id for f in frames] == list(range(5))
    for frame in frames:
        assert frame.rgb.shape == (WORLD.height_px, WORLD.width_px, 3)
        assert frame.rgb.dtype == np.uint8
        assert frame.stages_ms.keys() == {"condition", "denoise", "decode"}
        assert min(frame.stages_ms.values()) >= 0


@VARIANTS
def test_a_new_prompt_changes_the_future_only(config: WorldConfig) -> None:
    moves = actions()
    changed = [*moves[:6], replace(moves[6], prompt="desert"), *moves[7:]]
    first, second = play(begun(config=config), moves), play(begun(config=config), changed)
    assert same(first[:6], second[:6])
    assert not any(np.array_equal(a.rgb, b.rgb) for a, b in zip(first[6:], second[6:], strict=True))


def test_the_same_prompt_again_changes_nothing() -> None:
    moves = actions()
    repeated = [*moves[:6], replace(moves[6], prompt="forest"), *moves[7:]]
    assert same(play(begun(), moves), play(begun(), repeated))


def test_the_neck_has_an_end() -> None:
    walk = begun()
    for sign in (1, -1):
        for _ in range(40):
            play(walk, [Action(pitch_rad=sign * 0.5)])
            assert abs(walk.camera.pitch_rad) <= WORLD.max_pitch_rad + 1e-12
        assert walk.camera.pitch_rad == pytest.approx(sign * WORLD.max_pitch_rad)


def test_hundreds_of_steps_stay_the_same_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor grows, and the last frame looks no further than the first ones did."""
    config = replace(
        WORLD, network=replace(NETWORK, blocks=1, width=16, heads=1, rows=2, columns=2), first_steps=(1.0,)
    )
    config = replace(config, step_lists=((1.0,),))
    walk = begun(config=config)
    sizes: list[set[tuple[int, ...]]] = []
    step = walk._engine.step

    def watched(inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        sizes.append({tuple(t.shape) for t in inputs})
        return step(inputs)

    monkeypatch.setattr(walk._engine, "step", watched)
    for i in range(250):  # eighty times the window
        frames = play(walk, [Action(forward_m=0.3, yaw_rad=0.05)])
        assert frames[0].index == i
    assert all(s == sizes[0] for s in sizes)
    assert math.isfinite(walk.camera.x_m)
    state = walk.snapshot()
    assert state.stack is not None
    assert state.stack.isfinite().all()
    assert state.stack.shape[2] == config.network.given


class Noise:
    """Stands in for random draws: frame and n decide a frame's n-th draw, the same for every row."""

    def __init__(self, draws_per_frame: list[int]) -> None:
        self._order = [(frame, n) for frame, count in enumerate(draws_per_frame) for n in range(count)]

    def __call__(self, shape: tuple[int, ...], generator: object = None) -> torch.Tensor:
        frame, n = self._order.pop(0)
        g = torch.Generator().manual_seed(100 * frame + n)
        return torch.empty(1, *shape[1:]).normal_(generator=g).expand(*shape).clone()


@VARIANTS
def test_the_batched_walk_is_the_rollout(config: WorldConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three walks at once over the plain network, as the evaluation runs them, against three rollouts."""
    prompts, frames = ["forest", "desert night", ""], 9
    loaded = world(config)
    rows = []
    for i in range(3):
        pose = PoseTracker(config.max_step_m, config.max_turn_rad, config.max_pitch_rad)
        rows.append([[0.0] * 7] + [pose.move(pose.clip(a)) for a in actions(frames, i)[1:]])
    draws = [1] + [2] * (frames - 1)  # the first frame has no context to make noisy
    model = Model(config, network(config.network), autoencoder(config.autoencoder), config.step_lists[0])
    words = torch.stack([word_ids(p, config.network.text_buckets) for p in prompts])
    with monkeypatch.context() as patch:
        noise = Noise(draws)
        for module in (playing_module, history_module):
            patch.setattr(module, "draw_noise", noise)
        latents = walk_batch(model, None, torch.tensor(rows), words, torch.Generator())
    decode = DecodeGraph(model.autoencoder.decoder)
    for i, prompt in enumerate(prompts):
        walk = loaded.rollout()
        walk.reset(0, prompt)
        with monkeypatch.context() as patch:
            noise = Noise(draws)
            for module in (rollout_module, history_module):
                patch.setattr(module, "draw_noise", noise)
            shown = np.stack([f.rgb for f in play(walk, actions(frames, i))])
        batched = decode(latents[i]).numpy()
        assert shown.std() > 5
        assert np.abs(shown.astype(int) - batched).max() <= 1, "equal but for the rounding of a grey level"


def test_a_batch_of_one_draws_the_rollouts_own_noise() -> None:
    """Without any stand-in: same seed, same draws in the same order."""
    model = Model(WORLD, network(), autoencoder(), WORLD.step_lists[0])
    pose = PoseTracker(WORLD.max_step_m, WORLD.max_turn_rad, WORLD.max_pitch_rad)
    rows = [[0.0] * 7] + [pose.move(pose.clip(a)) for a in actions()[1:]]
    words = word_ids("forest", NETWORK.text_buckets)[None]
    latents = walk_batch(model, None, torch.tensor([rows]), words, torch.Generator().manual_seed(3))
    shown = np.stack([f.rgb for f in play(begun(3), actions())])
    batched = DecodeGraph(model.autoencoder.decoder)(latents[0]).numpy()
    assert np.abs(shown.astype(int) - batched).max() <= 1


RESTLESS = replace(WORLD, drift=DriftConfig(every=2, straying=1e-3, lost=1e6, fade=4, rest=2, repaint_from=0.8))


def watched(config: WorldConfig = RESTLESS, seed: int = 3) -> Rollout:
    """A walk whose monitor finds every one strayed, so that bringing back takes part in most frames."""
    walk = replace(world(config), gauge=gauge()).rollout()
    walk.reset(seed, "forest")
    return walk


def gauge() -> Gauge:
    torch.manual_seed(0)
    return Gauge(Judge().eval().requires_grad_(False), autoencoder())


def test_a_walk_that_is_brought_back_is_repeatable_and_says_so() -> None:
    moves = actions(20)
    frames = play(watched(), moves)
    assert frames[-1].reanchored > 1
    assert {frame.drift for frame in frames} == {"fine", "straying"}
    assert same(play(watched(), moves), frames)
    plain = play(watched(replace(RESTLESS, drift=DriftConfig(on=False))), moves)
    assert same(play(begun(3), moves), plain), "switched off, it leaves no trace"
    assert not same(plain, frames)


@pytest.mark.parametrize("at", [1, 3, 5, 8, 12])  # before, while it is drawn, while it is taken over, at rest
def test_branches_in_the_middle_of_being_brought_back(at: int) -> None:
    moves = actions(18)
    whole = play(watched(), moves)
    walk = watched()
    play(walk, moves[:at])
    state = walk.snapshot()
    play(walk, actions(7, seed=4))
    other = watched(seed=9)
    for branch in (walk, other):
        branch.restore(state)
        rest = play(branch, moves[at:])
        assert same(rest, whole[at:])
        assert [f.reanchored for f in rest] == [f.reanchored for f in whole[at:]]


def test_the_batched_walk_brings_back_as_the_rollout_does() -> None:
    model = Model(RESTLESS, network(), autoencoder(), RESTLESS.step_lists[0], gauge())
    pose = PoseTracker(WORLD.max_step_m, WORLD.max_turn_rad, WORLD.max_pitch_rad)
    rows = [[0.0] * 7] + [pose.move(pose.clip(a)) for a in actions(20)[1:]]
    words = word_ids("forest", NETWORK.text_buckets)[None]
    latents = walk_batch(model, None, torch.tensor([rows]), words, torch.Generator().manual_seed(3))
    shown = np.stack([f.rgb for f in play(watched(), actions(20))])
    batched = DecodeGraph(model.autoencoder.decoder)(latents[0]).numpy()
    assert np.abs(shown.astype(int) - batched).max() <= 1


def test_a_world_on_its_way_to_another_prompt_is_not_held_to_the_old_one() -> None:
    walk = watched()
    play(walk, actions(12))
    before = walk.snapshot().standing
    assert before is not None
    asked = play(walk, [Action(prompt="desert at dusk"), *actions(ANCHOR_AFTER - 1)])
    assert {frame.drift for frame in asked} == {"fine"}
    assert asked[-1].reanchored == before.count
    assert play(walk, actions(12))[-1].reanchored > before.count, "and then to the new one"


def test_the_first_frame_is_the_anchor_until_the_prompt_changes() -> None:
    walk = begun()
    play(walk, actions(3))
    first = walk.snapshot().stack
    assert first is not None
    play(walk, actions(5))
    kept = walk.snapshot().stack
    assert kept is not None
    assert torch.equal(kept[:, :, 0], first[:, :, 0])
    assert not torch.equal(kept[:, :, 1:], first[:, :, 1:])
    asked = [Action(forward_m=0.3, prompt="desert at dusk"), *actions(ANCHOR_AFTER - 2)]
    play(walk, asked)
    before = walk.snapshot()
    assert before.stack is not None
    assert torch.equal(before.stack[:, :, 0], first[:, :, 0]), "the way to the new look is held to the old one"
    play(walk, actions(1))
    after = walk.snapshot()
    assert after.stack is not None
    assert torch.equal(after.stack[:, :, 0], after.stack[:, :, -1]), "and then the world is what was asked for"
    again = rollout(WORLD)
    again.restore(before)
    assert same(play(again, actions(4)), play(begun_at(before), actions(4)))


def test_a_prompt_in_the_first_frame_is_what_the_anchor_shows() -> None:
    walk = begun()
    play(walk, [Action(prompt="desert at dusk")])
    first = walk.snapshot().stack
    assert first is not None
    play(walk, actions(ANCHOR_AFTER + 2))
    kept = walk.snapshot().stack
    assert kept is not None
    assert torch.equal(kept[:, :, 0], first[:, :, 0])


def begun_at(state: RolloutState) -> Rollout:
    walk = rollout(WORLD)
    walk.restore(state)
    return walk
