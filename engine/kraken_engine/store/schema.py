"""The tables of the store, and how they came about: one migration for each version, never changed once released.

Every value is an integer, a text or bytes; times are nanoseconds since 1970 by the wall clock, for they have to mean
something after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from kraken_engine.errors import StoreCorrupt, StoreError
from kraken_engine.store.sealed import Table, Transaction

__all__ = [
    "CONNECTS", "CURSORS", "FILLS", "FILL_IDS", "HISTORY", "MIGRATIONS", "NONCES",
    "Migration", "migrate", "tables_of",
]  # fmt: skip

NONCES: Final = Table("nonces", (("fingerprint", str), ("mark", int)))
"""The nonce below which all used ones are, by key."""
CONNECTS: Final = Table("connects", (("number", int), ("wall_ns", int)))
"""Attempts to connect, by any line, while they count."""
HISTORY: Final = Table("history", (("stream", str), ("number", int), ("wall_ns", int), ("body", bytes)), key=2)
"""What happened, by kind: source switches, events of keys. Numbers are consecutive within a stream."""
FILLS: Final = Table("fills", (("account", str), ("number", int), ("exec_id", str), ("body", bytes)), key=2)
"""Executions in the order in which they were learnt of. Numbers are consecutive within an account."""
FILL_IDS: Final = Table("fill_ids", (("account", str), ("exec_id", str), ("number", int)), key=2)
"""The number of each fill by the venue's id."""
CURSORS: Final = Table("cursors", (("account", str), ("consumer", str), ("number", int)), key=2)
"""The last fill that a consumer has acknowledged."""

_VERSIONS: Final = Table("versions", (("name", str), ("version", int)))


@attrs.frozen(kw_only=True)
class Migration:
    """From one version to the next: which tables come, what is done with the rows, which tables go; in this order."""

    creates: tuple[Table, ...] = ()
    convert: Callable[[Transaction], None] | None = None
    drops: tuple[Table, ...] = ()


MIGRATIONS: Final[Sequence[Migration]] = (Migration(creates=(NONCES, CONNECTS, HISTORY, FILLS, FILL_IDS, CURSORS)),)


def tables_of(migrations: Sequence[Migration]) -> tuple[Table, ...]:
    """Return the tables that are there after all ``migrations``."""
    tables: dict[str, Table] = {_VERSIONS.name: _VERSIONS}
    for migration in migrations:
        tables.update((table.name, table) for table in migration.creates)
        for table in migration.drops:
            del tables[table.name]
    return tuple(tables.values())


def migrate(transaction: Transaction, migrations: Sequence[Migration], *, new: bool) -> int:
    """Bring the tables to the last version, and return how many steps that took.

    Args:
        transaction: all of it happens in this one, or none of it.
        migrations: all there are, oldest first.
        new: whether there is no table yet.

    Raises:
        StoreError: the tables are of a version that is not known here.
    """
    if new:
        transaction.create(_VERSIONS)
        version = 0
    else:
        row = transaction.get(_VERSIONS, "schema")
        if row is None:
            raise StoreCorrupt("versions: expected the version of the schema, got none")
        version = int(row[1])
    if not 0 <= version <= len(migrations):
        raise StoreError(f"schema: expected version {len(migrations)} or older, got {version}: a newer engine made it")
    for migration in migrations[version:]:
        for table in migration.creates:
            transaction.create(table)
        if migration.convert is not None:
            migration.convert(transaction)
        for table in migration.drops:
            transaction.drop(table)
    if version < len(migrations):
        transaction.put(_VERSIONS, "schema", len(migrations))
    return len(migrations) - version
