"""What the dynamics learn from: histories in order, blanks marked, and losses that teach."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.worlds.tiny_world import NETWORK, WORLD, network
from worldstream.worlds.conditioning import MISSING
from worldstream.worlds.memory import SHOWN
from worldstream.worlds.network import WorldNetwork
from worldstream.worlds.training.clips import Batch
from worldstream.worlds.training.dynamics import (
    closed_loop_loss,
    draw_levels,
    places_of,
    reprojection_loss,
    stacks,
    teacher_inputs,
)

DEPTH, FRAMES = NETWORK.stack, 5


def counted(batch: int = 3) -> Batch:
    """Clips whose every value is the number of its frame; row 1 begins with nothing."""
    numbers = torch.arange(float(DEPTH + FRAMES)).view(1, -1, 1, 1, 1)
    clips = numbers.expand(batch, -1, NETWORK.channels, NETWORK.rows, NETWORK.columns).clone()
    actions = torch.zeros(batch, FRAMES, NETWORK.action_size)
    words = torch.zeros(batch, 3, 4, dtype=torch.long)
    return Batch(clips, actions, words, torch.arange(batch) == 1, clips[:, 0] - 1, *no_places(batch))


def no_places(batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    frame = (NETWORK.channels, NETWORK.rows, NETWORK.columns)
    shape = (batch, FRAMES, SHOWN)
    return torch.zeros(*shape, *frame), torch.zeros(*shape, 4), torch.zeros(shape)


def random_batch(batch: int = 2, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    clips = torch.randn(batch, DEPTH + FRAMES, NETWORK.channels, NETWORK.rows, NETWORK.columns, generator=g)
    actions = torch.randn(batch, FRAMES, NETWORK.action_size, generator=g)
    words = torch.randint(0, NETWORK.text_buckets, (batch, 3, 4), generator=g)
    latents, poses, known = no_places(batch)
    latents, poses = torch.randn(latents.shape, generator=g), 0.1 * torch.randn(poses.shape, generator=g)
    known[0] = 1
    blank = torch.zeros(batch, dtype=torch.bool)
    return Batch(clips, actions, words, blank, clips[:, 0], latents, poses, known)


def test_stacks_hold_the_frames_before_oldest_first() -> None:
    numbers = torch.arange(9.0)[None]
    rows = stacks(numbers, 3)[0]
    assert rows.tolist() == [[t, t + 1, t + 2] for t in range(6)]


def test_teacher_inputs_without_noise() -> None:
    _, clean, stack, sigma, label = teacher_inputs(counted(), NETWORK, 0.0, torch.Generator().manual_seed(0))
    assert clean[0, :, 0, 0, 0].tolist() == [DEPTH + t for t in range(FRAMES)]
    for t in range(FRAMES):
        assert stack[0, t, :, 0, 0, 0].tolist() == [-1, *(t + k for k in range(DEPTH))], "the anchor, then the newest"
    assert sigma.min() > 0
    assert sigma.max() == 1
    assert not label[[0, 2]].any()


def test_a_blank_row_has_no_first_history() -> None:
    _, _, stack, _, label = teacher_inputs(counted(), NETWORK, 0.3, torch.Generator().manual_seed(0))
    assert not stack[1, 0].any()
    assert label[1, 0] == MISSING
    assert stack[1, 1:].any()
    assert (label[1, 1:] < MISSING).all()
    assert stack[0, 0].any()
    assert (label[[0, 2]] < MISSING).all()


def test_labels_are_the_noise_that_was_added() -> None:
    batch = random_batch(64)
    _, _, stack, _, label = teacher_inputs(batch, NETWORK, 0.3, torch.Generator().manual_seed(1))
    added = stack[:, :, 1:] - stacks(batch.clips, DEPTH)[:, :FRAMES]
    assert torch.equal(stack[:, 2, 0], batch.anchor), "the anchor stays clean"
    torch.testing.assert_close(added.flatten(2).std(-1), label, rtol=0.25, atol=1e-6)
    assert (label.std(1) < 1e-6).all(), "one level a clip"
    assert 0 < int((label[:, 0] == 0).sum()) < 20


def test_worn_histories_keep_their_targets() -> None:
    batch = random_batch(64)
    generator = torch.Generator().manual_seed(3)
    _, clean, stack, _, _ = teacher_inputs(batch, NETWORK, 0.0, generator, worn_share=0.5)
    assert torch.equal(clean, batch.clips[:, DEPTH:])
    changed = (stack[:, :, 1:] - stacks(batch.clips, DEPTH)[:, :FRAMES]).flatten(1).abs().amax(1) > 1e-3
    assert 16 < int(changed.sum()) < 48, "about half of the rows"


def test_faded_histories_keep_their_targets_and_levels() -> None:
    config, narrow = replace(NETWORK, channels=6), random_batch(64)
    clips = torch.cat([narrow.clips, narrow.clips], 2)
    batch = replace(narrow, clips=clips, anchor=clips[:, 0])
    plain = teacher_inputs(batch, config, 0.3, torch.Generator().manual_seed(3))
    made = teacher_inputs(batch, config, 0.3, torch.Generator().manual_seed(3), faded_share=1.0)
    assert torch.equal(made[1], plain[1])
    assert float(made[2][:, :, 1:, -1].std()) < 0.9 * float(plain[2][:, :, 1:, -1].std())
    assert torch.equal(made[2][:, :, 0], plain[2][:, :, 0]), "the anchor is as it was"


def test_the_reprojections_loss_leaves_blanks_out() -> None:
    """Row 1 begins with nothing: changing its target changes nothing."""
    batch = random_batch(3)
    marked = replace(batch, blank=torch.tensor([False, True, False]))
    _, clean, stack, _, _ = teacher_inputs(marked, NETWORK, 0.0, torch.Generator().manual_seed(0))
    moved = network().look(stack, marked.actions)[:, :, NETWORK.given]
    before = reprojection_loss(moved, marked, clean)
    other = clean.clone()
    other[1] += 3
    assert torch.equal(reprojection_loss(moved, marked, other), before)
    other[0] += 3
    assert not torch.equal(reprojection_loss(moved, marked, other), before)


def test_only_doubtful_levels_have_worn_histories() -> None:
    batch = random_batch(64)
    quiet = replace(batch, clips=torch.zeros_like(batch.clips))
    made = teacher_inputs(quiet, NETWORK, 0.3, torch.Generator().manual_seed(3), worn_share=0.5)
    label = made[4][:, 0]
    sure = teacher_inputs(batch, NETWORK, 0.3, torch.Generator().manual_seed(3), worn_share=1.0)[4]
    assert float(sure.min()) >= 0.15
    assert float(label.min()) < 0.15


def test_targets_are_mixed_at_their_level() -> None:
    z, clean, _, sigma, _ = teacher_inputs(random_batch(32), NETWORK, 0.3, torch.Generator().manual_seed(2))
    noise = (z - (1 - sigma[..., None, None, None]) * clean) / sigma[..., None, None, None]
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02


def test_a_fifth_of_the_levels_is_pure_noise() -> None:
    sigma = draw_levels(torch.Size((20_000,)), torch.Generator().manual_seed(0))
    assert float((sigma == 1).float().mean()) == pytest.approx(0.2, abs=0.02)
    assert sigma.min() > 0


def test_closed_loop_gradients_are_finite_and_reach_everything() -> None:
    model = network().requires_grad_(True)
    closed_loop_loss(model, random_batch(), WORLD, (0.05, 0.2), 0.3, torch.Generator().manual_seed(0)).backward()
    for name, p in model.named_parameters():
        if not name.startswith("reprojection."):  # depth is learned on true histories
            assert p.grad is not None, name
            assert p.grad.isfinite().all(), name
    assert sum(float(p.grad.abs().sum()) > 0 for p in model.parameters() if p.grad is not None) > 30


def test_a_perfect_model_has_no_closed_loop_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world that stands still and a network that copies the newest latent: nothing drifts."""
    model, batch = network(), random_batch()
    still = replace(batch, clips=batch.clips[:, :1].expand_as(batch.clips).clone())
    real = WorldNetwork.step

    def copying(self: WorldNetwork, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        _, keys, values = real(self, *given)
        return given[1][:, :, NETWORK.given - 1], keys, values

    monkeypatch.setattr(WorldNetwork, "step", copying)
    plain = replace(WORLD, detail_gain=(1.0, 1.0))
    assert closed_loop_loss(model, still, plain, (0.0, 0.0), 0.0, torch.Generator()) == 0


@pytest.mark.parametrize("closed", [False, True], ids=["teacher", "closed"])
def test_one_batch_can_be_learned(closed: bool) -> None:
    torch.manual_seed(0)
    model, batch = WorldNetwork(NETWORK), random_batch()
    batch = replace(batch, clips=0.1 * batch.clips + batch.clips.mean((3, 4), keepdim=True) * 4)
    optimiser = torch.optim.AdamW(model.parameters(), 5e-3)

    def loss_of(seed: int) -> torch.Tensor:
        g = torch.Generator().manual_seed(seed)
        if closed:
            return closed_loop_loss(model, batch, replace(WORLD, step_lists=((1.0,),)), (0.0,), 0.0, g)
        z, clean, stack, sigma, label = teacher_inputs(batch, NETWORK, 0.05, g)
        seen = model.look(stack, batch.actions, places_of(model, batch, g, 0.0, 0.0))
        return F.mse_loss(model(z, seen, sigma, label, batch.actions, batch.words), clean)

    with torch.no_grad():
        before = float(loss_of(1000))
    for step in range(40):
        optimiser.zero_grad()
        loss_of(step).backward()
        optimiser.step()
    with torch.no_grad():
        assert float(loss_of(1000)) < before / 2
