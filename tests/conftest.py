"""What tests of every kind share: how hard hypothesis tries, and where the browser is."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import hypothesis
import pytest

COSTS = Path(__file__).with_name("costs.json")  # core-seconds of the files that have more than their tests would tell
A_TEST_S = 0.05  # of any other file, for each of its tests
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# In CI the same examples on every run, so that a red build is about the change; on a desk new ones each time.
# No deadline: a shared runner stalls for longer than any example takes.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("desk", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "desk")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the Chromium or Chrome on this machine; fails, never skips, where there is none."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.fail(f"no browser; run `sudo apt-get install chromium`, or put one of {BROWSERS} on the PATH", pytrace=False)


def pytest_configure(config: pytest.Config) -> None:
    """Files go to processes in the order of `pytest_collection_modifyitems`, not in that of their numbers of tests."""
    if hasattr(config.option, "loadscopereorder"):  # only where pytest-xdist is there
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Costly files first: what is begun last must not take a minute while the other cores are idle."""
    sizes = Counter(item.path for item in items)
    seconds = {config.rootpath / "tests" / name: cost for name, cost in json.loads(COSTS.read_text()).items()}
    items.sort(key=lambda item: -seconds.get(item.path, A_TEST_S * sizes[item.path]))


def kernel_lines(passed: Iterable[str], failed: Iterable[str]) -> list[str]:
    """One line for each GPU kernel: what is known of it after a run with these tests. None where it tested none."""
    outcomes = [(test, True) for test in passed] + [(test, False) for test in failed]
    ran = [
        {good for test, good in outcomes if test.startswith(f"tests/kernels/{name}.py")}
        for name in ("test_cubins", "test_on_cpu")
    ]
    if not any(ran):
        return []
    from worldstream.kernels import verification  # not above: it brings torch, which few runs of the tests need

    compiled, checked = (seen == {True} for seen in ran)
    return [f"{known.operator:<18} {known.text(compiled, checked)}" for known in verification.standings()]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A kernel that no GPU has run is shown as just that, never as a test that passed."""
    outcomes = ([report.nodeid for report in terminalreporter.stats.get(key, [])] for key in ("passed", "failed"))
    if lines := kernel_lines(*outcomes):
        terminalreporter.section("GPU kernels")
        for line in lines:
            terminalreporter.line(line)
