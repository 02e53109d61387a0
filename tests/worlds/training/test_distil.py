"""Two steps of the teacher as one of the student's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.worlds.tiny_world import NETWORK, WORLD, network
from tests.worlds.training.test_dynamics import random_batch
from worldstream.worlds.config import STEPS_2, STEPS_4, STEPS_8
from worldstream.worlds.sampler import euler
from worldstream.worlds.training.distil import (
    DistilConfig,
    halves,
    implied_clean,
    own_walk_loss,
    taught_loss,
    two_steps,
)
from worldstream.worlds.training.loop import LoopConfig

VALUE = st.floats(-3, 3)


def of(*numbers: float) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(n, dtype=torch.float64) for n in numbers)


@given(VALUE, VALUE, st.floats(0.1, 1.0), st.floats(0.0, 0.95))
def test_implied_clean_inverts_euler(z: float, clean: float, sigma: float, share: float) -> None:
    noisy, truth, level, to = of(z, clean, sigma, share * sigma)
    after = euler(noisy, truth, level, to)
    torch.testing.assert_close(implied_clean(noisy, after, level, to), truth, rtol=0, atol=1e-9)


def test_halves_of_the_real_schedules() -> None:
    rows = halves(STEPS_8, STEPS_4)
    assert [r[0] for r in rows] == list(STEPS_4)
    assert [r[2] for r in rows] == [*STEPS_4[1:], 0.0]
    assert all(a > b > c for a, b, c in rows)
    assert len(halves(STEPS_4, STEPS_2)) == 2


@pytest.mark.parametrize(
    ("teacher", "student"), [(STEPS_8, STEPS_2), (STEPS_4, STEPS_8), ((1.0, 0.5, 0.2), (1.0, 0.2))]
)
def test_other_schedules_are_refused_by_name(teacher: tuple[float, ...], student: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="are not every second of the teacher's") as caught:
        halves(teacher, student)
    assert str(student) in str(caught.value)
    assert str(teacher) in str(caught.value)


def rows_of(batch: int, frames: int) -> Tensor:
    table = torch.tensor(halves(STEPS_8, STEPS_4))
    return table[torch.arange(batch * frames) % 4].view(batch, frames, 3)


def test_a_teacher_of_one_mind_is_quoted() -> None:
    """Whatever the levels: when the teacher always says the same, that is the target."""
    g = torch.Generator().manual_seed(0)
    z, mind = (torch.randn(2, 4, 3, 4, 6, generator=g) for _ in range(2))
    target = two_steps(lambda *_: mind, z, rows_of(2, 4))
    torch.testing.assert_close(target, mind, rtol=0, atol=1e-5)


def test_the_target_leads_to_where_the_teacher_went() -> None:
    """One Euler step along the target lands where the teacher's two steps do."""
    g = torch.Generator().manual_seed(0)
    z, rows = torch.randn(2, 4, 3, 4, 6, generator=g), rows_of(2, 4)

    def teacher(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.tanh(x) * (1 - sigma[..., None, None, None])

    sigma, over, to = (r[..., None, None, None] for r in rows.unbind(-1))
    middle = euler(z, teacher(z, rows[..., 0]), sigma, over)
    end = euler(middle, teacher(middle, rows[..., 1]), over, to)
    torch.testing.assert_close(euler(z, two_steps(teacher, z, rows), sigma, to), end, rtol=0, atol=1e-5)


class OfOneMind(torch.nn.Module):
    """A network's shape with a constant answer."""

    def __init__(self) -> None:
        super().__init__()
        self.config, self.reprojection = NETWORK, None

    def forward(self, z: Tensor, *_: Tensor) -> Tensor:
        return torch.full_like(z, 0.7)

    def look(self, given: Tensor, *_: Tensor) -> Tensor:
        return given


def test_no_loss_only_where_the_teacher_is_of_one_mind() -> None:
    batch, table = random_batch(), torch.tensor(halves(STEPS_8, STEPS_4))
    constant = OfOneMind()
    g = torch.Generator().manual_seed(0)
    assert taught_loss(constant, constant, batch, table, g) < 1e-10  # type: ignore[arg-type]
    model = network()
    assert taught_loss(model, model, batch, table, g) > 1e-6, "two steps of a real network are not one"


def test_own_walk_teaches_the_student_alone() -> None:
    teacher, student = network(seed=1), network(seed=2).requires_grad_(True)
    config = DistilConfig(Path(), LoopConfig(Path(), "distil", 1.0), WORLD, Path())
    table, g = torch.tensor(halves(STEPS_8, STEPS_4)), torch.Generator().manual_seed(0)
    loss = own_walk_loss(student, teacher, random_batch(), config, table, g)
    loss.backward()
    for name, p in student.named_parameters():
        if not name.startswith("reprojection."):  # depth is learned from motion, not from the teacher
            assert p.grad is not None, name
            assert p.grad.isfinite().all(), name
    assert all(p.grad is None for p in teacher.parameters())
