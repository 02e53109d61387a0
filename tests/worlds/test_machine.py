"""Cores are those that the process may use, and one of them is left to the rest of the server."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from worldstream.worlds.machine import cores, cpu_name, model_threads


@pytest.mark.parametrize(("allowed", "threads"), [({0}, 1), ({0, 3}, 1), ({1, 2, 5, 7}, 3)])
def test_a_machine_keeps_a_core_for_the_rest(allowed: set[int], threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed, raising=False)
    assert cores() == len(allowed)
    assert model_threads() == threads


@pytest.mark.parametrize(("counted", "wanted"), [(6, 6), (None, 1)])
def test_without_affinity_all_cores_count(counted: int | None, wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert cores() == wanted


def test_a_bound_process_counts_its_own_core() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system binds no process to cores")
    asked = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    asked += "from worldstream.worlds.machine import cores; print(cores())"
    said = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    assert said.stdout.split() == ["1"]


def test_a_cpu_has_a_name() -> None:
    assert cpu_name().strip()
