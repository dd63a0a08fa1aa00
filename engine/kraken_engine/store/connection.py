"""One SQLite database in one directory: opened with care, checked whole, written by one transaction at a time.

Everything here blocks, and is called from one worker, one call after the other. What makes it durable:

- ``locking_mode=EXCLUSIVE`` before ``journal_mode=WAL``: nobody else gets in, and the index of the log needs no shared
  memory, so that it works on every file system. Both are asserted: SQLite falls back silently where it cannot.
- ``synchronous=FULL``: a transaction is on the disk when its commit returns.
- The log is emptied, and that is synced, from time to time, when the database is closed, and after any error, before
  anything else is written; see :mod:`~kraken_engine.store.wal` for why.
- The database says whether it is open or was closed, and while it is open the log is never empty: at its beginning
  stands a transaction that says so once more. An empty log of a database that was not closed has lost what was in it.

Everything is read and checked once, when it is opened, through a cache that keeps it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from typing import Final, TypeVar

import apsw

from kraken_engine.errors import StoreCorrupt, StoreError, StoreLocked
from kraken_engine.runtime import FileLock, Files
from kraken_engine.store.locks import holder_named_in
from kraken_engine.store.schema import Migration, migrate, tables_of
from kraken_engine.store.sealed import Transaction, create_seals, verify
from kraken_engine.store.wal import LogState, inspect_log

__all__ = ["DATABASE", "LOCK", "Database", "lock_directory"]

T = TypeVar("T")

DATABASE: Final = "store.db"
LOCK: Final = "engine.lock"
APPLICATION_ID: Final = 0x4B45_7331
"""Tells our files from other SQLite databases."""
OPEN: Final = 0x4B45_6F70
CLOSED: Final = 0x4B45_636C
"""What SQLite's ``user_version`` says: no byte of one is that of the other where they differ, so that no flip makes one
of the other. 0 is of a time before this was kept, and of a new file."""
CACHE_KIB: Final = 64 * 1024
MOST_BEHIND: Final = 20
"""How many times later than it should be the log may be emptied, before nothing more is written into it."""

_PRAGMAS: Final = (
    ("locking_mode", "exclusive", "exclusive"),
    ("journal_mode", "wal", "wal"),
    ("synchronous", "full", 2),
    ("temp_store", "memory", 2),
    ("wal_autocheckpoint", 0, 0),
    ("cache_size", -CACHE_KIB, -CACHE_KIB),
    ("trusted_schema", 0, 0),
    ("cell_size_check", 1, 1),
)
"""In this order: what is set, and what SQLite must say afterwards."""


class Database:
    """A database that may be opened once, and closed whether it was opened or not."""

    def __init__(self, files: Files, directory: str, migrations: Sequence[Migration], *, log_transactions: int) -> None:
        self.path = f"{directory}/{DATABASE}"
        self.created = False
        """Whether there was no database before."""
        self.migrated = 0
        """Steps that brought an older database up to date."""
        self.log_state = LogState.EMPTY
        """In what state the log was found."""
        self.log_lost = False
        """Whether the log was empty although nobody had closed the database: a crash at the very moment in which it was
        emptied, or everything that was in it is gone."""
        self._files = files
        self._directory = directory
        self._migrations = migrations
        self._log_transactions = log_transactions
        self._lock: FileLock | None = None
        self._connection: apsw.Connection | None = None
        self._in_log = 0
        self._suspect = True
        """Whether the log may hold what was never synced: of before it was opened, or of a transaction that failed."""
        self._to_be_closed = False
        self._was_open = False

    def give_up(self) -> None:
        """From now on whatever is under way closes the database when it ends: nobody may be left to do it.

        May be called while the worker is busy; does not block.
        """
        self._to_be_closed = True

    def open(self) -> None:
        """Lock, open and check the database, making it if there is none.

        Raises:
            StoreLocked: another engine has it.
            StoreCorrupt: it is not as it was written.
            StoreError: the disk does not allow it.
        """
        with self._closing_afterwards(), self._translated("open"):
            self._lock = lock_directory(self._files, self._directory)
            self._make_file()
            self._inspect_log()
            self._connection = self._files.open_database(self.path)
            self._configure(self._connection)
            self._check(self._connection)
            self._files.sync_directory(self._directory)
            self._hand_over_log()  # before anything is added to what may never have been synced
            self._make(self._connection)
            self._empty_log()
            self.log_lost = self._was_open and self.log_state is LogState.EMPTY

    def run(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` as one transaction: all of it is durable when this returns, none of it when it raises.

        What only reads goes on while the disk takes no writes.

        Raises:
            StoreError: of the disk; the transaction may be written all the same, and then whole.
            Exception: whatever ``work`` raises; nothing is written then.
        """
        with self._closing_afterwards(), self._translated("write"):
            refuse_writes: Exception | None = None
            if self._suspect or self._in_log >= MOST_BEHIND * self._log_transactions:
                try:
                    self._empty_log()
                except (apsw.Error, OSError) as error:
                    refuse_writes = error
            result = self._transact(self._opened(), work, refuse_writes=refuse_writes)
            if self._in_log >= self._log_transactions and refuse_writes is None:
                with contextlib.suppress(apsw.Error, OSError):  # what was written stays in the log, and is safe there
                    self._empty_log()
            return result

    def close(self) -> None:
        """Close the database and let go of the directory, whatever state it is in.

        Raises:
            StoreError: something could not be written; everything committed is in the log all the same.
        """
        connection, self._connection = self._connection, None
        lock, self._lock = self._lock, None
        try:
            with self._translated("close"):
                if connection is not None:
                    self._close(connection)
        finally:
            if lock is not None:
                lock.release()

    @contextlib.contextmanager
    def _closing_afterwards(self) -> Generator[None]:
        try:
            yield
        finally:
            if self._to_be_closed:
                with contextlib.suppress(StoreError):  # what is committed is in the log
                    self.close()

    def _opened(self) -> apsw.Connection:
        if self._connection is None:
            raise StoreError(f"{self.path}: expected an open store, got a closed one")
        return self._connection

    def _make_file(self) -> None:
        names = self._files.list_directory(self._directory)
        if DATABASE not in names:
            # Not left to SQLite, which would let others read it.
            self._files.write_new(self.path, b"")
            self._files.sync_directory(self._directory)

    def _inspect_log(self) -> None:
        log = f"{DATABASE}-wal"
        found = b""
        if log in self._files.list_directory(self._directory):
            found = self._files.read_bytes(f"{self._directory}/{log}")
        self.log_state = inspect_log(found)
        if self.log_state is LogState.BROKEN:
            raise StoreCorrupt(f"{self.path}-wal: a finished transaction is not as it was written")

    def _configure(self, connection: apsw.Connection) -> None:
        for name, value, expected in _PRAGMAS:
            connection.pragma(name, value)
            got = connection.pragma(name)
            if got != expected:
                raise StoreError(f"{self.path}: expected {name} {expected}, got {got}")

    def _check(self, connection: apsw.Connection) -> None:
        (tables,) = connection.execute("select count(*) from sqlite_schema").fetchone() or (0,)
        self.created = tables == 0
        application = connection.pragma("application_id")
        if application != (0 if self.created else APPLICATION_ID):
            raise StoreCorrupt(f"{self.path}: expected a store of this engine, got application id {application}")
        state = connection.pragma("user_version")
        if state not in (0, OPEN, CLOSED):
            raise StoreCorrupt(f"{self.path}: expected a database that is open or closed, got user version {state}")
        self._was_open = state == OPEN
        found = connection.pragma("integrity_check")
        if found != "ok":
            raise StoreCorrupt(f"{self.path}: expected a sound database, got {found}")

    def _make(self, connection: apsw.Connection) -> None:
        """Write what is not there yet, and that the database is open."""

        def make(transaction: Transaction) -> int:
            if self.created:
                connection.pragma("application_id", APPLICATION_ID)
                create_seals(connection)
            connection.pragma("user_version", OPEN)
            return migrate(transaction, self._migrations, new=self.created)

        steps = self._transact(connection, make)
        self.migrated = 0 if self.created else steps
        verify(connection, tables_of(self._migrations))

    def _transact(
        self, connection: apsw.Connection, work: Callable[[Transaction], T], *, refuse_writes: Exception | None = None
    ) -> T:
        if connection.in_transaction:  # the rollback of the last one failed as well
            connection.execute("rollback")
        connection.execute("begin immediate")
        try:
            transaction = Transaction(connection)
            result = work(transaction)
            _permit(transaction, refuse_writes)
            transaction.finish()
            connection.execute("commit")
        except BaseException as error:
            self._suspect = self._suspect or isinstance(error, (apsw.Error, OSError))
            if connection.in_transaction:
                with contextlib.suppress(apsw.Error):
                    connection.execute("rollback")
            raise
        self._in_log += transaction.writes
        return result

    def _hand_over_log(self) -> None:
        """Move what is in the log to the database, and leave an empty log behind, for certain."""
        self._opened().wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        log = f"{DATABASE}-wal"
        if log in self._files.list_directory(self._directory):
            self._files.sync_file(f"{self._directory}/{log}")
        self._in_log = 0

    def _empty_log(self) -> None:
        """Move what is in the log to the database, and leave a log behind that says "open" and nothing else."""
        self._hand_over_log()
        self._suspect = True  # until it is known that it says so
        self._opened().pragma("user_version", OPEN)
        self._suspect = False

    def _close(self, connection: apsw.Connection) -> None:
        """Say that the database is closed, if that can be said for certain, and close it in any case.

        SQLite then empties the log. Where the log may hold what was never synced, nothing is added to it: the next one
        to open the database finds it open, and sees to the log first.
        """
        try:
            if connection.in_transaction:
                connection.execute("rollback")
            if not self._suspect:
                connection.pragma("user_version", CLOSED)
        finally:
            connection.close()

    @contextlib.contextmanager
    def _translated(self, act: str) -> Generator[None]:
        """Let errors of SQLite and of the disk leave in our words."""
        try:
            yield
        except StoreError:
            raise
        except apsw.BusyError as error:
            raise StoreLocked(f"{self.path}: cannot {act}: another program has it open") from error
        except (apsw.CorruptError, apsw.NotADBError, apsw.FormatError, apsw.SQLError) as error:
            raise StoreCorrupt(f"{self.path}: cannot {act}: {error}") from error
        except UnicodeError as error:
            raise StoreCorrupt(f"{self.path}: cannot {act}: a text that is none") from error
        except apsw.FullError as error:
            raise StoreError(f"{self.path}: cannot {act}: the disk is full") from error
        except apsw.ReadOnlyError as error:
            raise StoreError(f"{self.path}: cannot {act}: the disk is read-only") from error
        except apsw.Error as error:
            raise StoreError(f"{self.path}: cannot {act}: {error}") from error
        except OSError as error:
            where = "" if error.filename in (None, self.path) else f"{error.filename}: "
            raise StoreError(f"{self.path}: cannot {act}: {where}{error.strerror or error}") from error


def _permit(transaction: Transaction, refuse_writes: Exception | None) -> None:
    if refuse_writes is not None and transaction.writes:
        raise refuse_writes


def lock_directory(files: Files, directory: str) -> FileLock:
    """Make the state directory unless it is there, and take it for this process.

    Raises:
        StoreLocked: another engine holds it; the message says which.
        StoreError: others may write to it.
        OSError: it cannot be made or locked.
    """
    files.make_directory(directory)
    facts = files.look(directory)
    if facts.owner != files.user() or facts.mode & 0o022:
        raise StoreError(
            f"{directory}: expected a directory of user {files.user()} that nobody else may write to, "
            f"got one of user {facts.owner} with mode {facts.mode:04o}"
        )
    path = f"{directory}/{LOCK}"
    try:
        return files.lock(path, f"state directory {directory}")
    except BlockingIOError:
        holder = holder_named_in(files, path)
        raise StoreLocked(f"{directory}: expected to be alone, but {holder} holds it") from None
