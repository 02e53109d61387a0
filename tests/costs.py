"""What each file of tests costs in core-seconds: `make test ARGS="-p tests.costs"` writes tests/costs.json anew.

Costs are processor time, of the tests' process and of all that it started, not time on the wall: the same on a busy
machine as on a quiet one, nearly. tests/conftest.py begins with the costliest files. Linux only: it reads /proc.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

COSTS = Path(__file__).with_name("costs.json")
WORTH_A_LINE_S = 4.0
TICKS = os.sysconf("SC_CLK_TCK")  # a second
ORPHANS = ("node", "MainThread", "chrom")  # Chromium's processes are waited for by nobody who counts them


def children(pid: int) -> list[int]:
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, listed.read_text().split())
        except OSError:  # that thread just ended
            continue
    return found


class Meter:
    """Core-seconds of this process and of all its descendants since they began."""

    def __init__(self) -> None:
        self._last_seen: dict[tuple[int, str], int] = {}  # of processes whose time is in nobody's sum once they ended

    def now_s(self) -> float:
        own = os.times()
        waited = sum(self._of(child, False) for child in children(os.getpid()))
        alone = sum(self._last_seen.values())
        return own.user + own.system + own.children_user + own.children_system + (waited + alone) / TICKS

    def _of(self, pid: int, orphan: bool) -> int:
        """Ticks of a process and of those below it, without those that go to `_last_seen`."""
        try:
            line = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return 0
        name, _, rest = line.partition("(")[2].rpartition(")")
        fields = rest.split()
        orphan = orphan or name.startswith(ORPHANS)
        below = sum(self._of(child, orphan) for child in children(pid))
        if orphan:
            self._last_seen[pid, fields[19]] = sum(map(int, fields[11:13]))
            return below
        return below + sum(map(int, fields[11:15]))


class Costs:
    """In each process of the run it measures; in the first one it adds up and writes."""

    def __init__(self, writes: bool) -> None:
        self._writes, self._meter, self._files = writes, Meter(), Counter[str]()
        self._before_s, self._last = 0.0, False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, nextitem: pytest.Item | None) -> Generator[None, object, object]:
        self._before_s, self._last = self._meter.now_s(), nextitem is None
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        now_s = self._meter.now_s()
        if not (self._last and report.when == "teardown"):  # what the whole run shared ends there, and is no file's own
            report.user_properties.append((f"core_s_{report.when}", now_s - self._before_s))
        self._before_s = now_s
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        spent = dict(report.user_properties).get(f"core_s_{report.when}", 0.0)
        assert isinstance(spent, float)
        self._files[report.nodeid.partition("::")[0].removeprefix("tests/")] += spent  # type: ignore[assignment]

    def pytest_sessionfinish(self) -> None:
        if self._writes:
            COSTS.write_text(json.dumps(dict(self._lines()), indent=1) + "\n")

    def _lines(self) -> Iterator[tuple[str, int]]:
        for name, spent in self._files.most_common():
            if spent >= WORTH_A_LINE_S:
                yield name, round(spent)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Costs(writes=not hasattr(config, "workerinput")), "costs of tests")
