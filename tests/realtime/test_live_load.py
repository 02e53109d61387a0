"""When offline work gives way to whoever plays live."""

from __future__ import annotations

from typing import Any

from tests.realtime.doubles import Clock
from worldstream.realtime.jobs.process import Calm
from worldstream.realtime.live_load import RELIEF_S, REST_S, LiveLoad
from worldstream.realtime.mailbox import Drawn, StepsChanged


def drawn(skipped: int) -> Drawn:
    nothing: dict[str, Any] = dict.fromkeys(
        ("turn", "frame", "input_id", "media_time_s", "server_ms", "h264", "jpeg", "steps", "bitrate_bps"), 0
    )
    return Drawn(**nothing, fresh=False, stages_ms={}, skipped=skipped)


def test_all_of_the_machine_while_nobody_plays(clock: Clock) -> None:
    load = LiveLoad(clock, cores=8)
    load.hear(drawn(3))
    assert load.calm(playing=False) == Calm()


def test_few_threads_while_somebody_plays_and_a_rest_when_frames_are_late(clock: Clock) -> None:
    load = LiveLoad(clock, cores=8)
    load.hear(drawn(0))
    assert load.calm(playing=True) == Calm(threads=2)
    load.hear(drawn(1))
    assert load.calm(playing=True) == Calm(threads=2, paused=True)
    clock.advance(RELIEF_S)
    assert load.calm(playing=True) == Calm(threads=2)
    load.hear(StepsChanged(2, lower=False))
    assert not load.calm(playing=True).paused
    load.hear(StepsChanged(1, lower=True))
    assert load.calm(playing=True).paused


def test_where_the_machine_is_too_slow_tasks_still_move(clock: Clock) -> None:
    load = LiveLoad(clock, cores=1)
    rested = worked = 0
    for _ in range(1000):
        load.hear(drawn(1))
        if load.calm(playing=True).paused:
            rested += 1
        else:
            worked += 1
        clock.advance(0.25)
    assert 0.8 * REST_S / RELIEF_S <= rested / worked <= 1.2 * REST_S / RELIEF_S
