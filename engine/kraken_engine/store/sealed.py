"""Tables whose every row carries a digest, and which carry one as a whole: no flipped byte is silently believed.

SQLite finds damage to its own structure, and not all of that; it does not look at contents. So each row ends with a
digest of its values, checked whenever it is read, and a seal for each table holds the number of its rows and the sum of
their digests, brought up to date in the transaction that changes them: a row that is gone shows, too.

Knows SQL and nothing of what the rows mean; says what is wrong, never what to do about it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, TypeAlias, cast

import apsw
import attrs
import msgspec

from kraken_engine.errors import StoreCorrupt

__all__ = ["Row", "Table", "Transaction", "create_seals", "verify"]

Row: TypeAlias = tuple[int | str | bytes, ...]

DIGEST_BYTES: Final = 16
_MODULUS: Final = 1 << (8 * DIGEST_BYTES)
_TYPES: Final = {int: "integer", str: "text", bytes: "blob"}


@attrs.frozen
class Table:
    """A table: its columns in order, the first ``key`` of which tell its rows apart."""

    name: str
    columns: tuple[tuple[str, type[int | str | bytes]], ...]
    key: int = 1

    @property
    def sql(self) -> str:
        """The statement that makes it, as SQLite remembers it."""
        columns = ", ".join(f"{name} {_TYPES[type_]} not null" for name, type_ in self.columns)
        key = ", ".join(self.names[: self.key])
        return f"CREATE TABLE {self.name}({columns}, digest blob not null, primary key({key})) strict, without rowid"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, without the digest."""
        return tuple(name for name, _ in self.columns)

    def digest(self, row: Row) -> bytes:
        """Return the digest of a row of this table."""
        return hashlib.blake2b(msgspec.msgpack.encode((self.name, row)), digest_size=DIGEST_BYTES).digest()


_SEALS: Final = Table("seals", (("name", str), ("count", int), ("total", bytes)))


@attrs.define
class _Seal:
    count: int = 0
    total: int = 0

    def add(self, digest: bytes) -> None:
        self.count += 1
        self.total = (self.total + int.from_bytes(digest)) % _MODULUS

    def remove(self, digest: bytes) -> None:
        self.count -= 1
        self.total = (self.total - int.from_bytes(digest)) % _MODULUS


class Transaction:
    """What one transaction may do, from the beginning to the end of the function that it is handed to."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._seals: dict[str, _Seal] = {}
        self._tables: dict[str, Table] = {}

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return bool(self._seals)

    def get(self, table: Table, *key: int | str) -> Row | None:
        """Return the row with this key.

        Raises:
            StoreCorrupt: it is not as it was written.
        """
        found = self.rows(table, *key, limit=1)
        return found[0] if found else None

    def rows(
        self,
        table: Table,
        *prefix: int | str,
        after: int | str | None = None,
        limit: int | None = None,
        descending: bool = False,
    ) -> list[Row]:
        """Return the rows whose key begins with ``prefix``, in the order of their keys.

        Args:
            table: where.
            prefix: values of the first columns of the key; none: every row.
            after: only rows whose next column of the key is greater than this.
            limit: at most so many.
            descending: the greatest key first.

        Raises:
            StoreCorrupt: one of them is not as it was written.
        """
        names = table.names
        conditions = [f"{name} = ?" for name in names[: len(prefix)]]
        values: list[int | str] = list(prefix)
        if after is not None:
            conditions.append(f"{names[len(prefix)]} > ?")
            values.append(after)
        where = f" where {' and '.join(conditions)}" if conditions else ""
        order = ", ".join(f"{name} desc" if descending else name for name in names[: table.key])
        values.append(-1 if limit is None else limit)
        # Names come from the schema, values are bound.
        sql = f"select {', '.join(names)}, digest from {table.name}{where} order by {order} limit ?"  # noqa: S608
        # All of them before the first is checked: a statement in the middle, kept by a traceback, would lock the log.
        found = cast("list[tuple[Any, ...]]", self._connection.execute(sql, values).fetchall())
        return [_checked(table, row) for row in found]

    def put(self, table: Table, *row: int | str | bytes) -> None:
        """Write a row, in the place of the one with the same key if there is one."""
        self._forget(table, *row[: table.key])
        digest = table.digest(row)
        marks = ", ".join("?" * (len(row) + 1))
        self._connection.execute(f"insert into {table.name} values({marks})", (*row, digest))
        self._seal(table).add(digest)

    def remove(self, table: Table, *key: int | str) -> None:
        """Remove the row with this key, if there is one."""
        self._forget(table, *key)

    def create(self, table: Table) -> None:
        """Make a table; for migrations."""
        self._connection.execute(table.sql)
        self._tables[table.name] = table
        self._seals[table.name] = _Seal()

    def drop(self, table: Table) -> None:
        """Remove a table; for migrations."""
        self._connection.execute(f"drop table {table.name}")
        self._connection.execute("delete from seals where name = ?", (table.name,))
        self._seals.pop(table.name, None)

    def finish(self) -> None:
        """Bring the seals up to date: the last thing before the commit."""
        for name, seal in self._seals.items():
            row = (name, seal.count, seal.total.to_bytes(DIGEST_BYTES))
            self._connection.execute("insert or replace into seals values(?, ?, ?, ?)", (*row, _SEALS.digest(row)))

    def _forget(self, table: Table, *key: int | str | bytes) -> None:
        old = self.get(table, *cast("tuple[int | str, ...]", key))
        if old is not None:
            where = " and ".join(f"{name} = ?" for name in table.names[: table.key])
            self._connection.execute(f"delete from {table.name} where {where}", key)  # noqa: S608
            self._seal(table).remove(table.digest(old))

    def _seal(self, table: Table) -> _Seal:
        if table.name not in self._seals:
            self._seals[table.name] = _read_seal(self._connection, table)
        return self._seals[table.name]


def create_seals(connection: apsw.Connection) -> None:
    """Make the table of seals, the first of all."""
    connection.execute(_SEALS.sql)


def verify(connection: apsw.Connection, tables: Sequence[Table]) -> None:
    """Read every row of every table, and compare with the seals.

    Raises:
        StoreCorrupt: naming the table, and the row where there is one to name.
    """
    expected = {table.sql for table in (*tables, _SEALS)}
    found = {str(sql) for (sql,) in connection.execute("select sql from sqlite_schema where sql is not null")}
    if found != expected:
        names = ", ".join(sorted(sql.partition("(")[0].rpartition(" ")[2] for sql in expected ^ found))
        raise StoreCorrupt(f"schema: expected {len(expected)} tables as this version makes them, got others ({names})")
    sealed = {str(name) for (name,) in connection.execute("select name from seals")}
    if sealed != {table.name for table in tables}:
        raise StoreCorrupt(f"seals: expected one for each of {len(tables)} tables, got {len(sealed)}")
    transaction = Transaction(connection)
    for table in tables:
        counted = _Seal()
        for row in transaction.rows(table):
            counted.add(table.digest(row))
        seal = _read_seal(connection, table)
        if counted != seal:
            raise StoreCorrupt(f"{table.name}: expected {seal.count} rows as sealed, got {counted.count} or others")


def _checked(table: Table, row: tuple[Any, ...]) -> Row:
    """Return the values of a row, without its digest."""
    values: Row = row[:-1]
    if table.digest(values) != row[-1]:
        raise StoreCorrupt(f"{table.name}: the row {values[: table.key]!r} is not as it was written")
    return values


def _read_seal(connection: apsw.Connection, table: Table) -> _Seal:
    found = connection.execute("select * from seals where name = ?", (table.name,)).fetchone()
    if found is None:
        raise StoreCorrupt(f"{table.name}: its seal is gone")
    _, count, total = _checked(_SEALS, found)
    return _Seal(int(count), int.from_bytes(cast("bytes", total)))
