"""The benchmark of open checkpoints: operations are counted as on paper, time is kept, a broken case costs one row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from benchmarks import open_checkpoints
from benchmarks.flops import META, block_tflop, latent_tflop
from benchmarks.open_models import Case
from benchmarks.report import Figure
from worldstream.worlds.wan.config import WAN_1_3B
from worldstream.worlds.wan.live import live
from worldstream.worlds.wan.taehv import TAEHV, TAEHVConfig
from worldstream.worlds.wan.transformer import WanTransformer

CPU = torch.device("cpu")


def test_a_block_is_counted_as_on_paper() -> None:
    """Two of the thirty blocks of 1.3B at 832x480, window 12: products, attention to the window and to 512 words, five
    passes. What lies before and after the blocks is the rest."""
    config = replace(WAN_1_3B, layers=2)
    with torch.device("meta"):
        network = WanTransformer(config)
    tokens, seen, dim, passes = 3 * 1560, 12 * 1560 + 512, 1536, 5
    blocks = passes * 2 * (2 * tokens * (6 * dim**2 + 2 * dim * 8960) + 4 * tokens * seen * dim) / 1e12
    counted = block_tflop(network, live("self-forcing"), 60, 104, 12)
    assert blocks < counted < 1.02 * blocks


def test_a_decoder_is_counted() -> None:
    """The order's own table says 0.544 TFLOP for one latent of TAEHV at 832x480."""
    with torch.device("meta"):
        decoder = TAEHV(TAEHVConfig())
    assert latent_tflop(decoder, 60, 104) == pytest.approx(0.544, rel=0.05)
    assert META.type == "meta"


def test_time_is_kept_and_a_broken_case_costs_one_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[str] = []

    def measured(case: Case, way: str, *_: object) -> Iterator[Figure]:
        begun.append(case.family)
        if case.family == "longlive":
            raise torch.OutOfMemoryError("CUDA out of memory\nand much more")
        yield Figure(way, 1.0, "ms")

    monkeypatch.setattr(open_checkpoints, "measured", measured)
    plan = tuple((Case(name, 12), "graph") for name in ("longlive", "self-forcing", "causal-forcing-framewise"))
    rows = list(open_checkpoints.figures(plan, CPU, True, 1, 100.0))
    assert [[f.name.endswith("failed") for f in some] for some in rows] == [[True], [False], [False]]
    assert "longlive, 64×48, window 12, taehv, graph: FAILED: CUDA out of memory\n" in capsys.readouterr().out
    clock = iter([0.0, 1.0, 5.0, 6.0])
    monkeypatch.setattr("benchmarks.open_checkpoints.time.monotonic", lambda: next(clock))
    begun.clear()
    list(open_checkpoints.figures(plan[::-1], CPU, True, 1, 3.0))
    assert begun == ["causal-forcing-framewise"]
    assert "no time was left for: TINY self-forcing" in capsys.readouterr().out


def test_every_planned_case_can_be_named() -> None:
    names = {(case.name(False), way) for case, way in open_checkpoints.PLAN}
    assert len(names) == len(open_checkpoints.PLAN)
    assert {case.window for case, _ in open_checkpoints.PLAN if case.family == "self-forcing"} == {6, 12, 21}
    assert {case.decoder for case, _ in open_checkpoints.PLAN} == {"taehv", "vae"}
    assert {way for _, way in open_checkpoints.PLAN} >= {"eager", "graph", "kernels + graph", "kernels + graph, fp8"}
