"""Rows that belong to an owner: kept, found, listed in pages, changed and removed by one set of statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Table

R = TypeVar("R")


def owned(name: str, metadata: sa.MetaData, *columns: Column[Any]) -> Table:
    """A table with `id`, `owner`, `created_s` and these columns, indexed for the newest of an owner first."""
    table = sa.Table(
        name,
        metadata,
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("owner", sa.String(36), nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        *columns,
    )
    sa.Index(f"{name}_of_owner", table.c.owner, table.c.created_s, table.c.id)
    return table


class Shelf(Generic[R]):
    """One table, and the frozen dataclass that its rows become; its fields are the columns' names."""

    def __init__(self, table: Table, record: type[R]) -> None:
        self.table, self.record = table, record

    def put(self, connection: Connection, record: R) -> None:
        connection.execute(self.table.insert().values(**asdict(record)))  # type: ignore[call-overload]

    def get(self, connection: Connection, owner: str | None, id: str, *, hold: bool = False) -> R:
        """The owner's alone; None asks for anybody's. `hold` keeps others from changing it until the transaction ends
        (SQLite has one writer anyhow). Raises KeyError."""
        found = sa.select(self.table).where(*self._one(owner, id))
        row = connection.execute(found.with_for_update() if hold else found).mappings().first()
        if row is None:
            raise KeyError(id)
        return self.record(**row)

    def listed(
        self,
        connection: Connection,
        owner: str,
        limit: int,
        after: tuple[float, str] | None = None,
        by: str = "created_s",
        descending: bool = True,
        where: Sequence[sa.ColumnElement[bool]] = (),
    ) -> list[R]:
        """Up to `limit` rows in the order of (`by`, id), those after the pair `after`."""
        place = sa.tuple_(self.table.c[by], self.table.c.id)
        found = sa.select(self.table).where(self.table.c.owner == owner, *where)
        if after is not None:
            there = sa.tuple_(sa.literal(after[0], sa.Double), sa.literal(after[1], sa.String))
            found = found.where(place < there if descending else place > there)
        keys = [self.table.c[by], self.table.c.id]
        found = found.order_by(*(key.desc() if descending else key.asc() for key in keys)).limit(limit)
        return [self.record(**row) for row in connection.execute(found).mappings()]

    def where(self, connection: Connection, *conditions: sa.ColumnElement[bool]) -> list[R]:
        """All that fulfil the conditions, the oldest first, whoever owns them."""
        found = sa.select(self.table).where(*conditions).order_by(self.table.c.created_s, self.table.c.id)
        return [self.record(**row) for row in connection.execute(found).mappings()]

    def change(self, connection: Connection, owner: str | None, id: str, /, **values: Any) -> R:
        """Set columns and return the row as it is then. Raises KeyError."""
        if values:
            connection.execute(self.table.update().where(*self._one(owner, id)).values(**values))
        return self.get(connection, owner, id)

    def replace(self, connection: Connection, record: R) -> R:
        """Write the whole of a row that is there. Raises KeyError."""
        values = asdict(record)  # type: ignore[call-overload]
        return self.change(connection, values["owner"], values["id"], **values)

    def remove(self, connection: Connection, owner: str | None, id: str) -> R:
        """Returns what was removed. Raises KeyError."""
        record = self.get(connection, owner, id)
        connection.execute(self.table.delete().where(*self._one(owner, id)))
        return record

    def _one(self, owner: str | None, id: str) -> list[sa.ColumnElement[bool]]:
        return [self.table.c.id == id, *([] if owner is None else [self.table.c.owner == owner])]
