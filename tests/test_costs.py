"""The list that the order of the tests comes from, and the meter that writes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.costs import COSTS, Meter

BUSY_S = 0.3
BUSY = f"import time; any(time.process_time() > {BUSY_S} for _ in iter(int, 1)); print('done', flush=True); input()"


def test_every_file_of_the_list_is_there() -> None:
    costs = json.loads(COSTS.read_text())
    assert [name for name in costs if not (COSTS.parent / name).is_file()] == []
    assert list(costs.values()) == sorted(costs.values(), reverse=True)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_what_a_child_spends_is_counted_once() -> None:
    meter = Meter()
    before_s = meter.now_s()
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert BUSY_S * 0.9 < meter.now_s() - before_s < 3 * BUSY_S, "while it lives"
        child.communicate(b"\n")
    assert BUSY_S * 0.9 < meter.now_s() - before_s < 4 * BUSY_S, "and when it is gone"
