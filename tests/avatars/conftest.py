"""What the tests of hearing and speaking share: the offline voices, a few sentences of them, a service to talk to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that `tests.avatars.fake_service` can be imported

from tests.avatars.fake_service import FakeService, serving
from worldstream.avatars.audio.espeak import Espeak, installed_espeak
from worldstream.avatars.audio.voices import voice_named
from worldstream.avatars.tts import Speech

SENTENCE = "The quick brown fox jumps over the lazy dog, and we were away all day."


@pytest.fixture(scope="session")
def espeak() -> Espeak:
    found = installed_espeak()
    assert found is not None, "espeakng-loader is among the test requirements; install them"
    return found


@pytest.fixture(scope="session")
def man(espeak: Espeak) -> Speech:
    """A sentence in Mark's voice."""
    return espeak.say(SENTENCE, voice_named("Mark"))


@pytest.fixture(scope="session")
def woman(espeak: Espeak) -> Speech:
    """The same in Maya's."""
    return espeak.say(SENTENCE, voice_named("Maya"))


@pytest.fixture
def service() -> Iterator[FakeService]:
    with serving(FakeService()) as running:
        yield running
