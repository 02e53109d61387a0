"""The loop that every stage shares: processes, clock, optimisers, EMA, checkpoints, curves.

A stage is given minutes, not steps: on a CPU nobody knows the speed beforehand. The clock of rank 0 travels in the
gradient buffer, so all processes agree on the schedule. A checkpoint holds everything; the same command resumes it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from tqdm import tqdm

from .muon import Muon

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How long, how fast, where."""

    folder: Path
    name: str
    minutes: float
    learning_rate: float = 1e-3
    matrix_rate: float = 0.0  # > 0: two-dimensional weights train with Muon at this rate
    decay_from: float = 0.6  # linear decay to zero over the rest
    warmup_steps: int = 100
    ema: float = 0.997
    weight_decay: float = 0.01
    clip: float = 1.0
    save_every_s: float = 120.0
    log_every: int = 25
    device: str = "cpu"  # "cuda": one process, sums in bfloat16, weights and optimisers in float32


@dataclass(slots=True)
class Loop:
    """One process's view of one stage. `rank` 0 saves, logs and shows progress."""

    config: LoopConfig
    model: nn.Module
    rank: int = 0
    world: int = 1
    step: int = 0
    elapsed_s: float = 0.0
    averages: Metrics = field(default_factory=dict)
    _mark: float = 0.0  # when the last update began
    _optimisers: list[torch.optim.Optimizer] = field(default_factory=list)
    _parameters: list[nn.Parameter] = field(default_factory=list)
    _ema: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._parameters = [p for p in self.model.parameters() if p.requires_grad]
        matrices = [
            p for n, p in self.model.named_parameters()
            if p.requires_grad and p.ndim == 2 and self.config.matrix_rate > 0 and "blocks" in n
        ]  # fmt: skip
        rest = [p for p in self._parameters if all(p is not m for m in matrices)]
        self._optimisers = [
            torch.optim.AdamW(rest, self.config.learning_rate, (0.9, 0.98), weight_decay=self.config.weight_decay)
        ]
        if matrices:
            self._optimisers.append(Muon(matrices, self.config.matrix_rate, weight_decay=self.config.weight_decay))
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["peak"] = group["lr"]
        self._ema = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    @property
    def progress(self) -> float:
        """0 at the start, 1 at the end of the minutes given."""
        return min(1.0, self.elapsed_s / (60.0 * self.config.minutes))

    @property
    def path(self) -> Path:
        return self.config.folder / f"{self.config.name}.pt"

    def resume(self) -> bool:
        """Load the checkpoint of an interrupted run; True when there was one."""
        if not self.path.exists():
            return False
        kept = torch.load(self.path, map_location=self.config.device, weights_only=True)
        self.model.load_state_dict(kept["model"])
        self._ema = kept["ema"]
        self.step, self.elapsed_s = kept["step"], kept["elapsed_s"]
        for optimiser, state in zip(self._optimisers, kept["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        return True

    def save(self) -> None:
        if self.rank:
            return
        kept: dict[str, Any] = {
            "model": self.model.state_dict(),
            "ema": self._ema,
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "optimisers": [o.state_dict() for o in self._optimisers],
        }
        temporary = self.path.with_suffix(".part")
        torch.save(kept, temporary)
        temporary.rename(self.path)

    def averaged(self) -> dict[str, Tensor]:
        """The weights to evaluate and to ship."""
        return self._ema

    def run(
        self,
        loss_of: Callable[[], tuple[Tensor, Metrics]],
        watch: Callable[[], Metrics] | None = None,
        watch_every_s: float = 300.0,
    ) -> None:
        """Train until the minutes are spent. `loss_of` draws a batch, returns loss and metrics; rank 0 runs `watch`."""
        bar = tqdm(
            total=round(60 * self.config.minutes),
            unit="s",
            disable=self.rank > 0,
            mininterval=10,
            desc=self.config.name,
        )
        bar.update(round(self.elapsed_s))
        saved = watched = self.elapsed_s
        self._mark = time.perf_counter()
        while self.progress < 1.0:
            with torch.autocast(self.config.device, torch.bfloat16, enabled=self.config.device != "cpu"):
                loss, metrics = loss_of()
            loss.backward()
            self._update()
            for name, value in {"loss": float(loss.detach()), **metrics}.items():
                self.averages[name] = 0.97 * self.averages.get(name, value) + 0.03 * value
            if self.rank == 0 and self.step % self.config.log_every == 0:
                self._log({})
                bar.n = round(self.elapsed_s)
                bar.set_postfix({k: f"{v:.4f}" for k, v in self.averages.items()}, refresh=False)
                bar.update(0)
            if self.elapsed_s - saved > self.config.save_every_s:
                saved = self.elapsed_s
                self.save()
            if watch is not None and self.elapsed_s - watched > watch_every_s:
                watched = self.elapsed_s
                if self.rank == 0:
                    self._log(watch())
                if self.world > 1:
                    dist.barrier()
                self._mark = time.perf_counter()  # looking is not training
        self.save()
        bar.close()

    def _update(self) -> None:
        """Average gradients over the processes, take rank 0's clock, clip, step, EMA."""
        now = time.perf_counter()
        spent_s, self._mark = now - self._mark, now
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self._parameters]
        clock = torch.tensor([spent_s if self.rank == 0 else 0.0], device=gradients[0].device)
        flat = torch.cat([g.flatten() for g in gradients] + [clock])
        if self.world > 1:
            dist.all_reduce(flat)
            flat[:-1] /= self.world
        norm = flat[:-1].norm()
        flat[:-1] *= (self.config.clip / (norm + 1e-6)).clamp(max=1.0)
        at = 0
        for p in self._parameters:
            p.grad = flat[at : at + p.numel()].view_as(p)
            at += p.numel()
        rate = min(1.0, (self.step + 1) / self.config.warmup_steps)
        if self.progress > self.config.decay_from:
            rate *= max(0.02, (1.0 - self.progress) / (1.0 - self.config.decay_from))
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        decay = min(self.config.ema, (self.step + 1) / (self.step + 10))
        if self.rank == 0:
            with torch.no_grad():
                for name, value in self.model.state_dict().items():
                    if value.is_floating_point():
                        self._ema[name].lerp_(value, 1.0 - decay)
        self.step += 1
        self.elapsed_s += float(flat[-1])

    def _log(self, extra: Metrics) -> None:
        row = {"step": self.step, "minutes": round(self.elapsed_s / 60, 3), **self.averages, **extra}
        with (self.config.folder / f"{self.config.name}.jsonl").open("a") as out:
            out.write(json.dumps(row) + "\n")


def free_port() -> int:
    """A loopback port that is free now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    """Linux: a worker whose launcher is killed must not train on alone."""
    import ctypes
    import signal
    import sys

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _enter(rank: int, worker: Callable[..., None], world: int, port: int, arguments: tuple[Any, ...]) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    _die_with_parent()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    try:
        worker(rank, world, *arguments)
    finally:
        dist.destroy_process_group()


def launch(worker: Callable[..., None], processes: int, arguments: Iterable[Any]) -> None:
    """Run `worker(rank, world, *arguments)` in `processes` one-thread processes (in this one when it is one)."""
    if processes <= 1:
        worker(0, 1, *arguments)
        return
    mp.spawn(_enter, (worker, processes, free_port(), tuple(arguments)), nprocs=processes)
