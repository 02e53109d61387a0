"""`worldstream keys` and `worldstream inspect`."""

from __future__ import annotations

import argparse
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from ..store import governance as store
from ..store.database import Connection, Database
from ..store.governance import Entry, KeyRow
from . import keys, limits
from .certificate import CHAIN, FOLDER
from .provenance import Found, read


def add_parsers(commands: Any) -> None:
    """Both subcommands, into what `ArgumentParser.add_subparsers` gave."""
    own = commands.add_parser("keys", help="API keys: create, list, revoke; and credits, where they are counted")
    actions = own.add_subparsers(dest="action", required=True, metavar="action")
    create = actions.add_parser("create", help="make a key and print it, this once")
    create.add_argument("--name", default="", help="who or what it is for")
    create.add_argument(
        "--daily-quota", type=int, metavar="Q", help="generations in any 24 hours (default: any number)"
    )
    create.add_argument(
        "--monthly-cap", type=int, metavar="C", help="credits in a calendar month (default: any number)"
    )
    create.add_argument("--scopes", default=",".join(keys.SCOPES), help="default %(default)s")
    listing = actions.add_parser("list", help="every key, what it may and what it used")
    revoke = actions.add_parser("revoke", help="end a key")
    revoke.add_argument("key", metavar="KEY", help="its id, the start of it, or its name")
    grant = actions.add_parser("grant", help="put credits into the account")
    grant.add_argument("credits", type=int, metavar="CREDITS")
    for command in (create, listing, revoke, grant):
        command.add_argument("--data", type=Path, metavar="DIR", help="the server's data folder")
        command.add_argument("--database", metavar="URL", help="the server's database, where it is not in that folder")
    inspect = commands.add_parser("inspect", help="what a picture or film says of where it comes from")
    inspect.add_argument("file", type=Path, metavar="FILE")
    inspect.add_argument(
        "--data", type=Path, metavar="DIR", help="the server's data folder: its certificate is trusted"
    )
    inspect.add_argument("--trust", type=Path, metavar="PEM", help="trust these certificates instead")
    inspect.add_argument("--json", action="store_true", help="print JSON")


def run_keys(options: argparse.Namespace, database: Database, tell: Callable[[str], None]) -> int:
    """Raises BadKey. The exit code."""
    database.migrate(store.MIGRATIONS)
    now = time.time()
    if options.action == "create":
        scopes = [scope.strip() for scope in options.scopes.split(",") if scope.strip()]
        secret, row = database.now(
            lambda c: keys.make(c, now, options.name, options.daily_quota, options.monthly_cap, scopes)
        )
        tell(secret)
        tell(f"This is key {row.id[:8]} ({row.name}). It is shown this once: keep it where you keep passwords.")
    elif options.action == "revoke":
        row = database.now(lambda c: keys.revoke(c, options.key, now))
        tell(f"key {row.id[:8]} ({row.name}) opens nothing any more")
    elif options.action == "grant":
        if not 0 < options.credits < 2**53:
            raise keys.BadKey(f"credits must be above 0, got {options.credits}")
        entry = Entry("", str(uuid.uuid4()), "", "keys grant", options.credits, "grant", now)
        database.now(lambda c: store.book(c, entry))
        tell(f"{database.now(limits.balance)} credits are in the account")
    else:
        _list(database, now, tell)
    return 0


def _list(database: Database, now: float, tell: Callable[[str], None]) -> None:
    rows = database.now(store.keys)
    if not rows:
        tell("There are no keys: a server on 127.0.0.1 lets anybody on this machine in, any other refuses to start.")
    for row in rows:
        tell(_line(row, *database.now(partial(_used, row.id, now))))


def _used(id: str, now: float, connection: Connection) -> tuple[int, int]:
    """(generations in 24 hours, credits this month) of a key."""
    day = store.generations(connection, now - limits.DAY_S, key=id)
    return day, store.spent(connection, limits.month_start(now), key=id)


def _line(row: KeyRow, day: int, month: int) -> str:
    quota = "" if row.daily_quota is None else f" of {row.daily_quota}"
    cap = "" if row.monthly_cap is None else f" of {row.monthly_cap}"
    state = "in use" if row.revoked_s is None else f"revoked {_date(row.revoked_s)}"
    last = "never used" if row.used_s is None else f"last used {_date(row.used_s)}"
    return (
        f"{row.id[:8]}  {row.name}  {row.hint}…  {state}, made {_date(row.created_s)}, {last}  "
        f"{day}{quota} generations today, {month}{cap} credits this month  {row.scopes.replace(' ', ',')}"
    )


def _date(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d}"


def run_inspect(options: argparse.Namespace, data: Path, tell: Callable[[str], None]) -> int:
    """The exit code: 0 where the file says something and was not changed since, else 1. Raises ProvenanceError,
    ValueError or OSError."""
    if not options.file.is_file():
        raise ValueError(f"there is no file {options.file}")
    found = read(options.file, _roots(options.trust, data))
    if options.json:
        tell(json.dumps(None if found is None else {name: getattr(found, name) for name in found.__slots__}, indent=1))
    elif found is None:
        tell(f"{options.file} says nothing about where it comes from.")
    else:
        for line in _lines(found):
            tell(line)
    return 1 if found is None or not found.intact else 0


def _roots(trust: Path | None, data: Path) -> bytes:
    if trust is not None:
        return trust.read_bytes()
    own = data / FOLDER / CHAIN
    return own.read_bytes() if own.is_file() else b""


def _lines(found: Found) -> list[str]:
    whole = "not a byte was changed since it was signed" if found.intact else "CHANGED since it was signed"
    trusted = "a signer that is trusted here" if found.trusted else "a signer that is not known here"
    lines = [f"{whole}; by {trusted}: {found.signer}", f"made with {found.generator}, {found.source_type}"]
    if found.model:
        lines.append(f"model: {found.model}")
    lines += [f"{name}: {value}" for name, value in found.facts.items() if name != "model"]
    lines += [f"made from: {title}" for title in found.ingredients]
    return lines + [f"problem: {problem}" for problem in found.problems]
