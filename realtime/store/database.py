"""The database behind tasks, keys and everything that people keep: SQLite by default, PostgreSQL by URL.

Work is a plain function of a connection; it runs in a thread, in one transaction. SQLite is in WAL mode with one
writer, so that readers never wait for it. Tables belong to the modules of this folder; each names its `MIGRATIONS`,
which run once and in order when the server starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection as Connection  # others name it without naming the library
from sqlalchemy import event

T = TypeVar("T")

_DONE = sa.Table("migrations", sa.MetaData(), sa.Column("name", sa.String(200), primary_key=True))


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema's history. `name` is unique for ever; a step that has run is never changed."""

    name: str  # e.g. tasks-1
    apply: Callable[[Connection], None]


def create(*tables: sa.Table) -> Callable[[Connection], None]:
    """The commonest step: these tables and their indexes."""

    def apply(connection: Connection) -> None:
        for table in tables:
            table.create(connection)

    return apply


class Database:
    """One per process. `url` is a SQLAlchemy URL, or a path for SQLite."""

    def __init__(self, url: str | Path, readers: int = 4) -> None:
        self.url = url if isinstance(url, str) else f"sqlite:///{url}"
        self.lite = self.url.startswith("sqlite")
        if self.url.startswith("postgres"):  # the driver that we bring, whatever the URL's author was used to
            self.url = "postgresql+psycopg://" + self.url.partition("://")[2]
        self._engine = sa.create_engine(self.url, **self._pool(readers))
        if self.lite:
            event.listen(self._engine, "connect", _tune_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        self._writer = ThreadPoolExecutor(1 if self.lite else readers, "worldstream-db-write")
        self._readers = ThreadPoolExecutor(readers, "worldstream-db-read")

    def _pool(self, readers: int) -> dict[str, Any]:
        if self.lite:
            return {"connect_args": {"timeout": 30.0}, "pool_size": readers + 1}
        return {"pool_size": 2 * readers, "pool_pre_ping": True}

    def migrate(self, migrations: Sequence[Migration]) -> list[str]:
        """Run what has not run yet; returns the names. Blocks. Safe when several processes start at once."""
        names = [m.name for m in migrations]
        assert len(set(names)) == len(names), names
        ran = []
        with self._engine.begin() as connection:
            if not self.lite:
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(7781)"))
            _DONE.create(connection, checkfirst=True)
            done = set(connection.execute(sa.select(_DONE.c.name)).scalars())
            for migration in migrations:
                if migration.name not in done:
                    migration.apply(connection)
                    connection.execute(_DONE.insert().values(name=migration.name))
                    ran.append(migration.name)
        return ran

    def now(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction on this thread: for the command line and for tests."""
        with self._engine.begin() as connection:
            return work(connection)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that may change things."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self.now, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` that only looks."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._look, work)

    def _look(self, work: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            if self.lite:
                connection = connection.execution_options(worldstream_reads=True)
            return work(connection)

    def close(self) -> None:
        """Finish what was begun, then close. Blocks."""
        self._writer.shutdown()
        self._readers.shutdown()
        self._engine.dispose()


def _tune_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, see below
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("worldstream_reads", False)
    # a writer takes its lock at once: one that upgrades later may be refused
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
