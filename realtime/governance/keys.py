"""API keys: made once, shown once, kept as a hash.

A secret has 512 random bits, so that a plain SHA-256 of it cannot be searched, and a slow hash would only slow every
request down. Comparing happens in the database's index over hashes: its time says nothing about a secret.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Sequence

from ..store import governance as store
from ..store.database import Connection
from ..store.governance import KeyRow

SCOPES = ("generate", "tasks", "library", "realtime", "organization")
PREFIX = "key_"


class BadKey(ValueError):
    """A key that cannot be made or found. One line."""


def fingerprint(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def make(
    connection: Connection,
    now_s: float,
    name: str = "",
    daily_quota: int | None = None,
    monthly_cap: int | None = None,
    scopes: Sequence[str] = SCOPES,
) -> tuple[str, KeyRow]:
    """(the secret, which nobody can ask for again, the row). Raises BadKey."""
    strange = sorted(set(scopes) - set(SCOPES))
    if strange or not scopes:
        raise BadKey(f"there is no scope {', '.join(strange) or '(empty)'}; there are {', '.join(SCOPES)}")
    for what, value in (("daily quota", daily_quota), ("monthly cap", monthly_cap)):
        if value is not None and not 0 <= value < 2**31:
            raise BadKey(f"the {what} must be from 0 to {2**31 - 1}, got {value}")
    if len(name) > 255:
        raise BadKey(f"a name has at most 255 characters, got {len(name)}")
    secret = PREFIX + secrets.token_hex(64)
    row = KeyRow(
        str(uuid.uuid4()), name or "unnamed", fingerprint(secret), secret[:10], " ".join(scopes), now_s,
        daily_quota, monthly_cap,
    )  # fmt: skip
    store.add_key(connection, row)
    return secret, row


def revoke(connection: Connection, asked: str, now_s: float) -> KeyRow:
    """End a key by its id, the start of its id, or its name where only one has it. Raises BadKey."""
    live = [row for row in store.keys(connection) if row.revoked_s is None]
    found = [row for row in live if row.name == asked or row.id.startswith(asked)] if asked else []
    if len(found) != 1:
        have = ", ".join(f"{row.id[:8]} ({row.name})" for row in live) or "none"
        raise BadKey(f"{len(found) or 'no'} keys are named {asked!r}; keys on this server: {have}")
    store.revoke(connection, found[0].id, now_s)
    return found[0]
