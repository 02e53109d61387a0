"""The results of record keep one form, and the README repeats them to the letter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


def test_there_are_results_of_record() -> None:
    assert {"quality", "latency", "throughput", "soak", "renderer"} <= {path.stem for path in RESULTS}


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_says_machine_versions_commit_and_figures(path: Path) -> None:
    report = json.loads(path.read_text())
    assert {"machine", "versions", "commit", "figures"} <= set(report)
    assert report["figures"]
    for figure in report["figures"]:
        assert {"name", "value", "unit", "target", "met"} <= set(figure)
        assert (figure["target"] is None) == (figure["met"] is None)


def test_the_readme_agrees_with_the_results() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "readme.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
