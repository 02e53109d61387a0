"""Where the tests keep what they compile: below pytest's cache, under keys of everything that went into it."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def compiled_folder(request: pytest.FixtureRequest) -> Path:
    cache = request.config.cache
    assert cache is not None
    return cache.mkdir("worldstream-kernels")
