"""What tests of every kind share: how hard hypothesis tries, and where the browser is."""

import os
import shutil

import hypothesis
import pytest

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
