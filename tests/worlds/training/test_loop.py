"""The shared loop: time decides, a checkpoint holds everything, and processes are one larger batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from tests.worlds.training import gloo_processes
from worldstream.worlds.training import loop as loop_module
from worldstream.worlds.training.loop import Loop, LoopConfig, Metrics
from worldstream.worlds.training.muon import orthogonalised


@pytest.fixture(autouse=True)
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that advances a second at every look, and the loop looks once a step."""
    now = [0.0]

    def tick() -> float:
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr(loop_module, "time", SimpleNamespace(perf_counter=tick))


class Model(nn.Module):
    """Something of every kind: matrices for Muon, the rest for AdamW, a buffer, a frozen part."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.head = nn.Linear(4, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = torch.tanh(block(x))
        return self.frozen(self.head(x))


def config(folder: Path, steps: int, **changes: float) -> LoopConfig:
    return LoopConfig(folder, "test", steps / 60, **{"warmup_steps": 5, "matrix_rate": 0.02, **changes})  # type: ignore[arg-type]


def train(loop: Loop, until: int, rates: list[float] | None = None) -> None:
    """Run to a step, the batch decided by the step alone; a later loop of more minutes may go on."""

    def loss_of() -> tuple[Tensor, Metrics]:
        g = torch.Generator().manual_seed(loop.step)
        if rates is not None and loop.step:
            rates.append(loop._optimisers[0].param_groups[0]["lr"])
        loss = (loop.model(torch.randn(6, 4, generator=g)) - torch.randn(6, 2, generator=g)).square().mean()
        return loss, {"own": 2.0}

    loop.run(loss_of)
    assert loop.step == until


def assert_same(a: Loop, b: Loop) -> None:
    assert (a.step, a.elapsed_s) == (b.step, b.elapsed_s)
    torch.testing.assert_close(a.model.state_dict(), b.model.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(a.averaged(), b.averaged(), rtol=0, atol=0)
    for one, other in zip(a._optimisers, b._optimisers, strict=True):
        torch.testing.assert_close(one.state_dict()["state"], other.state_dict()["state"], rtol=0, atol=0)


def test_resumption_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 steps at once, and 8 that are cut off and continued by a new process: the same to the last bit."""
    whole = Loop(config(tmp_path, 20), Model())
    (tmp_path / "cut").mkdir()
    train(whole, 20)
    cut = Loop(config(tmp_path / "cut", 20), Model())
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "progress", property(lambda self: 1.0 if self.step >= 8 else self.elapsed_s / 20))
        train(cut, 8)
    resumed = Loop(config(tmp_path / "cut", 20), Model())
    with torch.no_grad():
        for p in resumed.model.parameters():
            p.fill_(7.0)  # nothing of the new model may survive
    assert resumed.resume()
    assert_same(resumed, cut)
    train(resumed, 20)
    assert_same(resumed, whole)


def test_nothing_to_resume(tmp_path: Path) -> None:
    assert not Loop(config(tmp_path, 5), Model()).resume()


def test_a_finished_stage_does_nothing(tmp_path: Path) -> None:
    train(Loop(config(tmp_path, 5), Model()), 5)
    again = Loop(config(tmp_path, 5), Model())
    again.resume()
    train(again, 5)


def test_rate_warms_up_holds_and_decays(tmp_path: Path) -> None:
    rates: list[float] = []
    train(Loop(config(tmp_path, 40, learning_rate=0.1, decay_from=0.5), Model()), 40, rates)
    expected = []
    for step in range(39):
        warm = min(1.0, (step + 1) / 5)
        progress = step / 40
        expected.append(0.1 * warm * (max(0.02, (1 - progress) / 0.5) if progress > 0.5 else 1))
    assert rates == pytest.approx(expected, abs=0.1 / 40)
    assert max(rates) == pytest.approx(0.1)
    assert rates[-1] < 0.011


def test_average_is_that_of_the_weights(tmp_path: Path) -> None:
    loop = Loop(config(tmp_path, 6), Model())
    expected = {k: v.clone() for k, v in loop.model.state_dict().items()}
    update = Loop._update

    def watched(self: Loop) -> None:
        decay = min(0.997, (self.step + 1) / (self.step + 10))
        update(self)
        for k, v in self.model.state_dict().items():
            expected[k] = decay * expected[k] + (1 - decay) * v

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_update", watched)
        train(loop, 6)
    torch.testing.assert_close(loop.averaged(), expected)
    assert not torch.equal(loop.averaged()["head.weight"], loop.model.state_dict()["head.weight"])


def test_frozen_parts_stay_and_large_gradients_are_clipped(tmp_path: Path) -> None:
    loop = Loop(config(tmp_path, 3, clip=0.5), Model())
    frozen = loop.model.state_dict()["frozen.weight"].clone()
    seen: list[float] = []
    loop._optimisers[0].register_step_pre_hook(
        lambda *_: seen.append(
            float(torch.cat([p.grad.flatten() for p in loop._parameters if p.grad is not None]).norm())
        )
    )
    loop.run(lambda: (1e4 * loop.model(torch.ones(1, 4)).square().sum(), {}))
    assert torch.equal(loop.model.state_dict()["frozen.weight"], frozen)
    assert seen == pytest.approx([0.5] * 3, rel=1e-3)


def test_curve_and_watch(tmp_path: Path) -> None:
    loop = Loop(LoopConfig(tmp_path, "test", 1.0, log_every=10), Model())
    loop.run(lambda: (loop.model(torch.ones(1, 4)).square().sum(), {}), lambda: {"seen": 5.0}, watch_every_s=30)
    rows = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if "seen" not in r] == [10, 20, 30, 40, 50, 60]
    assert [r["step"] for r in rows if "seen" in r] == [31]
    assert rows[-1]["minutes"] == 1.0


def test_processes_are_one_larger_batch(tmp_path: Path) -> None:
    """Averaged gradients of two halves are the gradient of the whole: the weights agree, between processes exactly."""
    gloo_processes.train(0, 1, tmp_path)
    command = [sys.executable, gloo_processes.__file__, str(tmp_path), "2"]
    calm = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # each waits for the other, asleep
    subprocess.run(command, check=True, capture_output=True, timeout=120, env=calm)
    alone = torch.load(tmp_path / "1-0.pt")
    shared = [torch.load(tmp_path / f"2-{rank}.pt") for rank in range(2)]
    start = gloo_processes.Model().state_dict()
    for name in ("head.weight", "blocks.2.weight"):
        assert not torch.allclose(alone["weights"][name], start[name], atol=1e-3)
    for one in shared:
        assert one["step"] == alone["step"] == gloo_processes.STEPS
        assert one["elapsed_s"] == shared[0]["elapsed_s"], "all processes live by the same clock"
        torch.testing.assert_close(one["weights"], alone["weights"], rtol=0, atol=1e-4)
        torch.testing.assert_close(one["weights"], shared[0]["weights"], rtol=0, atol=0)
    kept = torch.load(tmp_path / "of2.pt")
    torch.testing.assert_close(kept["model"], shared[0]["weights"], rtol=0, atol=0)
    torch.testing.assert_close(kept["ema"], torch.load(tmp_path / "of1.pt")["ema"], rtol=0, atol=1e-4)


def test_orthogonalised_keeps_singular_vectors() -> None:
    """Against numpy's decomposition: the same directions, all about equally strong."""
    for shape in ((6, 6), (8, 4), (3, 9)):
        matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        inside = u.T @ orthogonalised(matrix) @ v.T
        strengths = inside.diagonal()
        assert float(strengths.min()) > 0.4
        assert float(strengths.max()) < 1.4
        torch.testing.assert_close(inside - strengths.diag(), torch.zeros_like(inside), rtol=0, atol=1e-4)
