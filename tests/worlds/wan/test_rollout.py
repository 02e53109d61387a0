"""Walks through tiny random checkpoints of every kind: frames, seeds, actions, words, pictures, snapshots."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worldstream.worlds.core import Action, Frame
from worldstream.worlds.wan.actions import ActionConfig, ActionModule
from worldstream.worlds.wan.config import WanConfig
from worldstream.worlds.wan.live import LIVE, gta_drive, live, temple_run, universal
from worldstream.worlds.wan.rollout import WanModel, WanRollout
from worldstream.worlds.wan.start_picture import SETTLED, StartPicture
from worldstream.worlds.wan.streaming import CodecStream, from_pictures
from worldstream.worlds.wan.transformer import WanTransformer
from worldstream.worlds.wan.vae import VAEConfig, WanVAE

WIDTH_PX, HEIGHT_PX = 32, 16
TEXT = WanConfig(dim=24, ffn_dim=48, heads=2, layers=2, text_dim=16, text_len=8)
GAME = replace(TEXT, in_channels=36, has_text=False, image_dim=20, image_tokens=5)
SMALL = ActionConfig(blocks=1, heads=2, width=16, hidden=8)


@cache
def vae() -> WanVAE:
    torch.manual_seed(1)
    return WanVAE(VAEConfig(width=8, blocks=1)).eval().requires_grad_(False)


def randomly(module: nn.Module, seed: int = 2) -> nn.Module:
    g = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        p.data = torch.randn(p.shape, generator=g) * (0.3 if p.ndim > 1 else 0.1)
    return module.eval().requires_grad_(False)


def rows(prompt: str) -> Tensor:
    """Rows of a prompt, one a word, the same in every process."""
    g = torch.Generator().manual_seed(sum(map(ord, prompt)))
    return torch.randn(max(1, len(prompt.split())), TEXT.text_dim, generator=g)


def tokens(rgb: NDArray[np.uint8]) -> Tensor:
    g = torch.Generator().manual_seed(int(rgb.sum()))
    return torch.randn(1, GAME.image_tokens, 20, generator=g)


def paint(seed: int, prompt: str) -> NDArray[np.uint8]:
    return picture(seed + len(prompt))


def picture(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT_PX, WIDTH_PX, 3), np.uint8)


@cache
def model(name: str) -> WanModel:
    preset = live(name)
    if preset.actions is None:
        transformer = randomly(WanTransformer(TEXT))
        assert isinstance(transformer, WanTransformer)
        window = 3 * preset.block + preset.sink
        return WanModel(transformer, vae(), preset, WIDTH_PX, HEIGHT_PX, window, prompt=rows)
    config = replace(SMALL, keyboard=preset.actions.keyboard, mouse=preset.actions.mouse, window=preset.actions.window)
    transformer = randomly(
        WanTransformer(GAME, lambda i: ActionModule(config, GAME.dim) if i < config.blocks else None)
    )
    assert isinstance(transformer, WanTransformer)
    preset = replace(preset, actions=config)
    return WanModel(transformer, vae(), preset, WIDTH_PX, HEIGHT_PX, config.window, look=tokens, paint=paint)


def begun(name: str, seed: int = 7, prompt: str = "a red forest", image: NDArray[np.uint8] | None = None) -> WanRollout:
    rollout = WanRollout(model(name))
    rollout.reset(seed, prompt, image)
    return rollout


def steps(rollout: WanRollout, count: int, action: Action = Action(input_id=4)) -> list[Frame]:  # noqa: B008
    return [frame for _ in range(count) for frame in rollout.step(action)]


def same(a: list[Frame], b: list[Frame]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x.rgb, y.rgb) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", LIVE)
def test_every_live_checkpoint_walks(name: str) -> None:
    preset, rollout = live(name), begun(name)
    first, second = steps(rollout, 1), steps(rollout, 2)
    assert len(first) == preset.frames - 3
    assert len(second) == 2 * preset.frames
    frames = first + second
    assert [f.index for f in frames] == list(range(len(frames)))
    assert [f.media_time_s for f in frames] == pytest.approx([f.index / preset.fps for f in frames])
    assert all(f.rgb.shape == (HEIGHT_PX, WIDTH_PX, 3) and f.rgb.dtype == np.uint8 and f.input_id == 4 for f in frames)
    assert frames[0].rgb.std() > 1, "a picture, not a blank"
    assert set(frames[0].stages_ms) == {"condition", "denoise", "decode"}


@pytest.mark.parametrize("name", ["longlive", "causal-forcing-framewise-2step", "matrix-game-2-universal"])
def test_the_same_seed_and_actions_give_the_same_frames(name: str) -> None:
    rollout = begun(name)
    once = steps(rollout, 3)
    rollout.reset(7, "a red forest")
    assert same(steps(rollout, 3), once)
    assert not same(steps(begun(name, seed=8), 3), once)


@pytest.mark.parametrize("name", ["longlive", "matrix-game-2-universal"])
def test_a_snapshot_branches(name: str) -> None:
    """Past the window, so that the cache has rolled; a fresh rollout can go on from it too."""
    rollout = begun(name)
    steps(rollout, 5, Action(forward_m=2.0))
    state = rollout.snapshot()
    left = steps(rollout, 2, Action(yaw_rad=-0.5, prompt="night"))
    rollout.restore(state)
    other = WanRollout(model(name))
    other.restore(state)
    assert same(steps(rollout, 2, Action(yaw_rad=-0.5, prompt="night")), left)
    assert same(steps(other, 2, Action(yaw_rad=-0.5, prompt="night")), left)
    assert other.camera == rollout.camera
    assert other.index == rollout.index


def test_skipping_pictures_changes_nothing_after() -> None:
    shown, hidden = begun("self-forcing"), begun("self-forcing")
    steps(shown, 2)
    assert [*hidden.step(Action(), decode=False), *hidden.step(Action(), decode=False)] == []
    assert same(steps(hidden, 1), steps(shown, 1))
    assert hidden.index == shown.index


@pytest.mark.parametrize("name", ["longlive", "matrix-game-2-universal"])
def test_one_block_ahead_draws_the_same_frames(name: str) -> None:
    """An action is read before the frames of the block before it come; all frames are the same."""
    script = [Action(forward_m=3.6 * (i % 2), prompt="night" if i == 2 else None, input_id=i) for i in range(5)]
    plain = [frame for rollout in [begun(name)] for action in script for frame in rollout.step(action)]
    read: list[int] = []

    def told() -> Iterator[Action]:
        for action in script:
            read.append(action.input_id)
            yield action

    rollout = begun(name)
    frames = rollout.ahead(told())
    first = next(frames)
    assert read == [0, 1]
    ours = [first, *frames]
    assert same(ours, plain)
    assert [f.index for f in ours] == [f.index for f in plain]
    assert [f.input_id for f in ours] == [f.input_id for f in plain]
    assert rollout.blocks == 5
    assert [*begun(name).ahead([])] == []


@pytest.mark.parametrize("name", ["self-forcing", "longlive", "causal-forcing-framewise"])
def test_new_words_change_what_comes(name: str) -> None:
    plain, told, again = begun(name), begun(name), begun(name)
    assert same(steps(plain, 2), steps(told, 2))
    steps(again, 2)
    night = steps(told, 1, Action(prompt="night"))
    assert not same(steps(plain, 1), night)
    assert same(steps(again, 1, Action(prompt="night")), night)


def test_longlive_reads_the_newest_frames_by_the_new_words() -> None:
    """With its recache, the past in the cache is another than without."""
    recached, plain = (
        begun("longlive"),
        WanRollout(replace(model("longlive"), preset=replace(live("longlive"), recache=False))),
    )
    plain.reset(7, "a red forest")
    assert same(steps(recached, 2), steps(plain, 2))
    assert not same(steps(recached, 1, Action(prompt="night")), steps(plain, 1, Action(prompt="night")))


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("matrix-game-2-universal", Action(forward_m=2.0)),
        ("matrix-game-2-universal", Action(yaw_rad=0.6)),
        ("matrix-game-2-gta-drive", Action(right_m=2.0)),
        ("matrix-game-2-temple-run", Action(forward_m=2.0)),
    ],
)
def test_actions_move_the_picture(name: str, action: Action) -> None:
    still, moved = begun(name), begun(name)
    steps(still, 1)
    steps(moved, 1)
    assert not same(steps(still, 2), steps(moved, 2, action))


def test_words_do_not_reach_a_world_that_reads_none() -> None:
    one, two = begun("matrix-game-2-universal", image=picture(3)), begun("matrix-game-2-universal", image=picture(3))
    assert same(steps(one, 2, Action(prompt="night")), steps(two, 2))


def test_a_world_from_a_picture() -> None:
    given = steps(begun("matrix-game-2-universal", image=picture(3)), 1)
    assert same(steps(begun("matrix-game-2-universal", prompt="other words", image=picture(3)), 1), given)
    assert not same(steps(begun("matrix-game-2-universal", image=picture(5)), 1), given)
    painted = steps(begun("matrix-game-2-universal", seed=7, prompt="ab"), 1)
    assert same(steps(begun("matrix-game-2-universal", seed=7, image=paint(7, "ab")), 1), painted)


def test_a_frame_wise_world_shows_the_picture_it_is_given() -> None:
    frame = steps(begun("causal-forcing-framewise", image=picture(3)), 1)
    decoded = CodecStream(vae()).decode(CodecStream(vae()).encode(from_pictures(picture(3))))
    expected = (decoded[0, :, 0] * 127.5 + 127.5).clamp(0, 255).permute(1, 2, 0).numpy()
    assert np.abs(frame[0].rgb - expected).max() <= 1.0


@pytest.mark.parametrize(
    ("name", "image", "says"),
    [
        ("self-forcing", picture(1), "begin it with words"),
        ("matrix-game-2-universal", np.zeros((8, 8, 3), np.uint8), "32 x 16 pixels, got 8 x 8"),
    ],
)
def test_pictures_that_do_not_fit(name: str, image: NDArray[np.uint8], says: str) -> None:
    rollout = begun(name)
    once = steps(begun(name), 1)
    with pytest.raises(ValueError, match=says):
        rollout.reset(1, "x", image)
    assert same(steps(rollout, 1), once), "nothing has changed"


def test_seeds_and_names_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="seed must be"):
        begun("self-forcing", seed=-1)
    with pytest.raises(ValueError, match="not a live checkpoint"):
        live("wan2.1-t2v-14b")


def test_nothing_settles_to_a_constant() -> None:
    """What `SETTLED` promises: by then the latents of nothing no longer depend on the picture, and never change."""
    start = StartPicture(vae(), picture(1), torch.device("cpu"), torch.float32)
    seen = start.block(SETTLED + 2)
    assert seen.shape == (1, 20, SETTLED + 2, HEIGHT_PX // 8, WIDTH_PX // 8)
    assert seen[0, :4, 0].eq(1).all()
    assert seen[0, :4, 1:].eq(0).all()
    stream = CodecStream(vae())
    frames = [from_pictures(picture(1)), torch.zeros(1, 3, 4 * (SETTLED + 3), HEIGHT_PX, WIDTH_PX)]
    whole = torch.cat([stream.encode(f) for f in frames], 2)
    assert torch.allclose(seen[:, 4:], whole[:, :, : SETTLED + 2], atol=1e-5)
    assert torch.allclose(whole[:, :, SETTLED - 1], whole[:, :, SETTLED + 2], atol=1e-5)
    assert not torch.allclose(whole[:, :, 3], whole[:, :, SETTLED + 2], atol=1e-3)


def test_rows_of_the_variants() -> None:
    """Twelve frames of it: 0.3 m each is a full step, 3 degrees each a steady turn."""
    steady = 12 * math.radians(3.0)
    assert universal(Action(), 12).keyboard == (0, 0, 0, 0)
    assert universal(Action(forward_m=3.6, right_m=-3.6), 12).keyboard == (1, 0, 1, 0)
    assert universal(Action(forward_m=-3.6, right_m=3.6), 12).keyboard == (0, 1, 0, 1)
    assert universal(Action(yaw_rad=steady, pitch_rad=-steady / 2), 12).mouse == pytest.approx((-0.05, 0.1))
    assert universal(Action(yaw_rad=9.0), 12).mouse == pytest.approx((0.0, 0.1))
    assert gta_drive(Action(forward_m=3.6, right_m=3.6), 12).keyboard == (1, 0)
    assert gta_drive(Action(forward_m=3.6, right_m=3.6), 12).mouse == pytest.approx((0.0, 0.1))
    assert gta_drive(Action(yaw_rad=-steady, right_m=3.6), 12).mouse == pytest.approx((0.0, -0.1))
    names = ("nothing", "jump", "slide", "turn left", "turn right", "left side", "right side")
    moves = {
        "nothing": Action(), "jump": Action(forward_m=3.6), "slide": Action(forward_m=-3.6),
        "turn left": Action(yaw_rad=-steady), "turn right": Action(yaw_rad=steady),
        "left side": Action(right_m=-3.6), "right side": Action(right_m=3.6),
    }  # fmt: skip
    for name, action in moves.items():
        assert names[temple_run(action, 12).keyboard.index(1.0)] == name
        assert sum(temple_run(action, 12).keyboard) == 1


def test_only_recent_rows_are_kept() -> None:
    """A long walk is told the same as one that keeps all its rows."""
    rollout = begun("matrix-game-2-universal")
    walk = rollout._walk
    assert walk is not None
    row = ([1.0, 0.0, 0.0, 0.0], [0.0, 0.1])
    for block in range(200):
        told = walk.block(3 * block, row if block % 2 else ([0.0] * 4, [0.0, 0.0]))
        expected = [float(((4 * (3 * block + j) - 12 + k + 3) // 12 % 2) if 4 * (3 * block + j) - 12 + k > 0 else 0)
                    for j in range(3) for k in range(12)]  # fmt: skip
        assert told.keyboard[0, :, :, 0].flatten().tolist() == expected
    assert walk._keyboard.shape[1] < 40


def test_presets_are_the_published_ones() -> None:
    blocks = {name: (preset.block, preset.sink, len(preset.schedule.steps)) for name, preset in LIVE.items()}
    assert blocks == {
        "self-forcing": (3, 0, 4), "causal-forcing-chunkwise": (3, 0, 4), "causal-forcing-framewise": (1, 0, 4),
        "causal-forcing-framewise-2step": (1, 0, 2), "causal-forcing-framewise-1step": (1, 0, 1), "longlive": (3, 3, 4),
        "matrix-game-2-universal": (3, 0, 3), "matrix-game-2-gta-drive": (3, 0, 3),
        "matrix-game-2-temple-run": (3, 0, 4),
    }  # fmt: skip
