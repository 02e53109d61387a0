"""Keys: made once, checked every time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from worldstream.realtime.governance import keys
from worldstream.realtime.governance.gate import Gate, KeysNeeded, check_host, loopback
from worldstream.realtime.governance.keys import BadKey
from worldstream.realtime.runway.errors import ApiError
from worldstream.realtime.services import HOUSEHOLD
from worldstream.realtime.store import governance as store
from worldstream.realtime.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "w.db")
    database.migrate(store.MIGRATIONS)
    yield database
    database.close()


async def test_without_keys_any_token_will_do_but_one_is_asked_for(database: Database) -> None:
    gate = Gate(database, lambda: 5.0)
    assert (await gate.admit("whatever", "generate")).key == HOUSEHOLD
    with pytest.raises(ApiError) as caught:
        await gate.admit(None, "generate")
    assert caught.value.status == 401


async def test_with_a_key_only_keys_will_do(database: Database) -> None:
    gate = Gate(database, lambda: 5.0)
    secret, row = database.now(lambda c: keys.make(c, 1.0, "laptop"))
    assert secret.startswith("key_")
    assert len(secret) == 4 + 128  # as the real ones look
    caller = await gate.admit(secret, "generate")
    assert (caller.key, caller.name) == (row.id, "laptop")
    for wrong in ("whatever", secret[:-1], secret + "0", "", None):
        with pytest.raises(ApiError) as caught:
            await gate.admit(wrong, "generate")
        assert caught.value.status == 401
    assert [kept.used_s for kept in database.now(store.keys)] == [5.0]


async def test_a_key_that_was_revoked_is_refused_and_does_not_open_the_house(database: Database) -> None:
    gate = Gate(database, lambda: 5.0)
    secret, _ = database.now(lambda c: keys.make(c, 1.0, "old"))
    database.now(lambda c: keys.make(c, 2.0, "new"))
    database.now(lambda c: keys.revoke(c, "old", 3.0))
    with pytest.raises(ApiError) as caught:
        await gate.admit(secret, "tasks")
    assert caught.value.status == 401
    database.now(lambda c: keys.revoke(c, "new", 4.0))
    with pytest.raises(ApiError):  # the last key is gone, and it still is none
        await gate.admit(secret, "tasks")


async def test_scopes(database: Database) -> None:
    gate = Gate(database, lambda: 5.0)
    secret, _ = database.now(lambda c: keys.make(c, 1.0, scopes=["tasks"]))
    await gate.admit(secret, "tasks")
    with pytest.raises(ApiError) as caught:
        await gate.admit(secret, "generate")
    assert caught.value.status == 403
    with pytest.raises(BadKey, match="no scope fly"):
        database.now(lambda c: keys.make(c, 1.0, scopes=["tasks", "fly"]))


def test_secrets_are_not_kept(database: Database, tmp_path: Path) -> None:
    secret, _ = database.now(lambda c: keys.make(c, 1.0))
    database.close()
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes()
        assert secret[20:60].encode() not in file.read_bytes()


def test_revoking_names_what_there_is(database: Database) -> None:
    _, row = database.now(lambda c: keys.make(c, 1.0, "a"))
    database.now(lambda c: keys.make(c, 1.0, "b"))
    with pytest.raises(BadKey, match=r"no keys are named 'x'; keys on this server: .* \(a\), .* \(b\)"):
        database.now(lambda c: keys.revoke(c, "x", 2.0))
    assert database.now(lambda c: keys.revoke(c, row.id[:13], 2.0)).name == "a"
    with pytest.raises(BadKey, match="no keys are named"):
        database.now(lambda c: keys.revoke(c, row.id, 2.0))


@pytest.mark.parametrize(("quota", "cap"), [(-1, None), (None, -5), (2**31, None)])
def test_quotas_out_of_range(database: Database, quota: int | None, cap: int | None) -> None:
    with pytest.raises(BadKey, match="must be from 0"):
        database.now(lambda c: keys.make(c, 1.0, daily_quota=quota, monthly_cap=cap))


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("::1", True), ("[::1]", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.7", False), ("example.org", False)],
)  # fmt: skip
def test_what_only_this_machine_reaches(host: str, own: bool) -> None:
    assert loopback(host) is own


def test_a_server_that_others_reach_needs_a_key(database: Database) -> None:
    check_host(database, "127.0.0.1")
    with pytest.raises(KeysNeeded, match="Others can reach"):
        check_host(database, "0.0.0.0")
    database.now(lambda c: keys.make(c, 1.0))
    check_host(database, "0.0.0.0")
