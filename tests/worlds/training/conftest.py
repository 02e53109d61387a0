"""What the measures are tried on: the shipped judge, and a world that walkers of known worth walk in its stead."""

from __future__ import annotations

import pytest

from tests.worlds.training.true_walker import model
from worldstream.worlds.judge import Judge, load_judge
from worldstream.worlds.training.playing import Model
from worldstream.worlds.weights import SHIPPED


@pytest.fixture(scope="session")
def judge() -> Judge:
    return load_judge(SHIPPED)


@pytest.fixture(scope="session")
def world() -> Model:
    return model()
