"""A log that is written while the walk goes on reads back as it was walked, at any moment of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from worldstream.realtime.recording import Recording
from worldstream.worlds import action_log
from worldstream.worlds.action_log import LogHeader
from worldstream.worlds.core import Action

HEADER = LogHeader("nano", "ab" * 32, "eager f32", 4, 25.0, 7, "a forest")
NUMBERS = st.floats(-10, 10)
PROMPTS = st.none() | st.text(max_size=8)
ENTRIES = st.lists(st.tuples(st.builds(Action, NUMBERS, yaw_rad=NUMBERS, prompt=PROMPTS), st.integers(1, 4)))


def recorded(entries: list[tuple[Action, int]]) -> Recording:
    recording = Recording(HEADER, 2**20)
    for action, steps in entries:
        recording.add(action, steps)
    return recording


@settings(deadline=None)
@given(ENTRIES)
def test_its_file_reads_back_as_it_was_walked(entries: list[tuple[Action, int]]) -> None:
    recording = recorded(entries)
    log = action_log.parse(recording.content(), "x")
    assert list(action_log.stepped(log)) == entries
    assert [recording.entry(i) for i in range(len(recording))] == entries


@settings(deadline=None)
@given(ENTRIES, st.data())
def test_cut_and_continued_it_is_as_if_it_had_been_walked_so(
    entries: list[tuple[Action, int]], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(entries)))
    more = data.draw(ENTRIES)
    whole = recorded(entries)
    before = whole.content()
    short = whole.cut(at)
    for action, steps in more:
        short.add(action, steps)
    assert short.content() == recorded(entries[:at] + more).content()
    assert whole.content() == before
    prompts = [action.prompt for action, _ in entries[:at] if action.prompt is not None]
    assert short.prompt(at) == [HEADER.prompt, *prompts][-1]


def test_an_hour_fits_easily_and_the_limit_is_kept() -> None:
    from worldstream.realtime.config import TimelineConfig

    longest = Action(-0.123456789012345, -0.123456789012345, -0.123456789012345, -1.23456789012345e-05, -1.2345e-05)
    recording = Recording(HEADER, 1000)
    while not recording.full:
        recording.add(longest, 4)
    line_bytes = recording.size_bytes / len(recording)
    assert 1000 <= len(recording.content()) < 1500
    assert 25 * 3600 * line_bytes < TimelineConfig().log_bytes / 2
    short = Recording(HEADER, 2**20, most_frames=3)
    for _ in range(3):
        assert not short.full
        short.add(Action(), 4)
    assert short.full
