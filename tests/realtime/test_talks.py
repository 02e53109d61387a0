"""The life of a realtime session on a virtual clock, and room tokens read by an independent implementation."""

from __future__ import annotations

from dataclasses import replace

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldstream.realtime import talks
from worldstream.realtime.store.library import RealtimeSession

PRESET = {"type": "runway-preset", "presetId": "influencer", "name": "Influencer"}
FRESH = RealtimeSession(
    id="3f2a8f2e-0000-4000-8000-000000000000",
    owner="me",
    created_s=1000.0,
    state="NOT_READY",
    avatar=PRESET,
    avatar_id="influencer",
    max_s=1800,
    personality=None,
    start_script=None,
    tools=[],
    integration=None,
    room="r",
)


def test_the_whole_way() -> None:
    ready = talks.ready(FRESH, 1001.0, "rsk_key")
    assert (ready.state, ready.session_key, ready.expires_s) == ("READY", "rsk_key", 1301.0)
    assert ready.key_hash == talks.key_hash("rsk_key")
    used = talks.consumed(ready, 1002.0)
    assert (used.state, used.session_key) == ("READY", "")
    runs = talks.began(used, 1003.0)
    assert talks.duration(runs, 1013.4) == 10
    over = talks.ended(runs, 1033.0)
    assert (over.state, talks.duration(over, 9999.0)) == ("COMPLETED", 30)
    with pytest.raises(AssertionError):
        talks.began(over, 1034.0)
    with pytest.raises(AssertionError):
        talks.consumed(used, 1004.0)


@pytest.mark.parametrize("limit_s", [10, 300, 1800])
def test_the_time_limit_is_honoured_whole(limit_s: int) -> None:
    session = replace(FRESH, max_s=limit_s)
    runs = talks.began(talks.consumed(talks.ready(session, 1001.0, "k"), 1002.0), 1003.0)
    assert talks.aged(runs, 1003.0 + limit_s - 0.001) == runs
    over = talks.aged(runs, 1003.0 + limit_s + 77)  # noticed late
    assert (over.state, talks.duration(over, 1e9)) == ("COMPLETED", limit_s)


def test_what_time_alone_makes() -> None:
    assert talks.aged(FRESH, 1059.9) == FRESH
    assert talks.aged(FRESH, 1060.0).state == "FAILED"
    ready = talks.ready(FRESH, 1000.0, "k")
    assert talks.aged(ready, 1299.9) == ready
    expired = talks.aged(ready, 1300.0)
    assert (expired.state, expired.failure_code, expired.session_key) == ("FAILED", "SESSION.EXPIRED", "")
    used = talks.consumed(ready, 1290.0)
    assert talks.aged(used, 1319.9) == used  # the key's end does not matter any more
    silent = talks.aged(used, 1320.0)  # nobody said that media runs, so it never did
    assert (silent.state, talks.duration(silent, 2000.0)) == ("FAILED", None)


@given(st.lists(st.tuples(st.sampled_from(["ready", "use", "begin", "end", "cancel", "fail"]), st.integers(0, 400))))
def test_only_the_contracts_ways_are_gone(events: list[tuple[str, int]]) -> None:
    """Whatever happens and however late: states follow the table, ends are final, RUNNING needs the media's word."""
    session, now, told = FRESH, FRESH.created_s, False
    for event, wait_s in events:
        now += wait_s
        for what in ("time", event):
            after = happened(session, now, what)
            assert after.state == session.state or after.state in talks.NEXT[session.state]
            told = told or (event == "begin" and after.state == "RUNNING")
            assert after.state not in ("RUNNING", "COMPLETED") or told
            assert (after.ended_s is None) is (after.state in talks.NEXT)
            session = after


def happened(session: RealtimeSession, now: float, event: str) -> RealtimeSession:
    state = session.state
    if event == "time":
        return talks.aged(session, now)
    if event == "ready" and state == "NOT_READY":
        return talks.ready(session, now, "k")
    if event == "use" and state == "READY" and session.consumed_s is None:
        return talks.consumed(session, now)
    if event == "begin" and state == "READY":
        return talks.began(session, now)
    if event == "end" and state == "RUNNING":
        return talks.ended(session, now)
    if event == "cancel" and state in talks.NEXT:
        return talks.cancelled(session, now)
    if event == "fail" and state in talks.NEXT:
        return talks.failed(session, now, "INTERNAL", "It broke.")
    return session


def test_tokens_are_read_by_others() -> None:
    secret = b"a secret of thirty-two bytes, or so"
    said = talks.claims(FRESH, "user-1", 1000.9)
    signed = talks.token(said, secret)
    assert jwt.get_unverified_header(signed) == {"alg": "HS256", "typ": "JWT"}
    options: dict[str, bool] = {"verify_exp": False, "verify_nbf": False}
    read = jwt.decode(signed, secret, algorithms=["HS256"], options=options)  # type: ignore[arg-type]
    assert read == said
    video = read["video"]
    assert (video["roomJoin"], video["room"], video["canPublish"]) == (True, "r", True)
    assert read["exp"] - 1000 >= FRESH.max_s  # nobody is put out before the limit
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(signed, secret[:-1] + b"!", algorithms=["HS256"], options=options)  # type: ignore[arg-type]
    hidden = talks.claims(FRESH, "backend-1", 1000.0, hidden=True)["video"]
    assert (hidden["hidden"], hidden["canPublish"], hidden["canPublishData"]) == (True, False, True)
