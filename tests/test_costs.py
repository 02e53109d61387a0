"""The list that the order of the tests comes from, and the meter that writes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.costs import COSTS

BUSY_S = 0.3
# In a process of its own: this one may have a browser and its servers below it.
MEASURED = f"""
import subprocess, sys
from tests.costs import Meter
busy = "import time; any(time.process_time() > {BUSY_S} for _ in iter(int, 1)); print('done', flush=True); input()"
meter = Meter()
before_s = meter.now_s()
with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
    child.stdout.readline()
    print(meter.now_s() - before_s)
    child.communicate(b"\\n")
print(meter.now_s() - before_s)
"""


def test_every_file_of_the_list_is_there() -> None:
    costs = json.loads(COSTS.read_text())
    assert [name for name in costs if not (COSTS.parent / name).is_file()] == []
    assert list(costs.values()) == sorted(costs.values(), reverse=True)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_what_a_child_spends_is_counted_once() -> None:
    """While it lives and when it is gone; clocks of processes tick a hundred times a second."""
    root = COSTS.parents[1]
    said = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, cwd=root, check=True)
    alive_s, gone_s = map(float, said.stdout.split())
    assert BUSY_S - 0.05 < alive_s <= gone_s < 2 * BUSY_S - 0.05
