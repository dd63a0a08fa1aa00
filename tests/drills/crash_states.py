"""Crash after every step of saving, in every way the disk may be left, and look what comes back.

Three counts, all of which have to end at 0 bad:

- checkpoints: every write, sync and rename of several saves, times every subset of the unsynced blocks and names;
- the store: the same for SQLite, its log and its checkpoints, through a whole life of a database;
- flips: every byte of a store, of its log and of both checkpoints changed, one at a time: each is found or is harmless.

::

    python -m tests.drills.crash_states [--saves 12] [--transactions 14] [--flip-step 1]
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
import trio
from tests.store.stores import FILLED, HOME, everything, fill, on_disk

from kraken_engine.errors import StoreError
from kraken_engine.runtime import Rng, seeded_rng
from kraken_engine.sim.disk import SimDisk
from kraken_engine.store.checkpoint import CheckpointFiles
from kraken_engine.store.connection import Database
from kraken_engine.store.database import open_store
from kraken_engine.store.schema import FILLS, MIGRATIONS, NONCES
from kraken_engine.store.sealed import Transaction
from kraken_engine.store.wal import LogState

KEY = "aaaa"


@attrs.define
class Tally:
    """What a campaign saw."""

    steps: int = 0
    """Places at which it crashed."""
    states: int = 0
    """Ways in which the disk was left, over all places."""
    distinct: int = 0
    """Of these, different ones (at the same place)."""
    cut: int = 0
    """Found with an unfinished transaction at the end of the log, and said so."""
    bad: list[str] = attrs.field(factory=list)


def crash_everywhere(
    disk: SimDisk, rng: Rng, limit: int, check: Callable[[SimDisk], str | None], tally: Tally
) -> Callable[[], None]:
    """Return a function that tries the crashes of this moment; it is called after every step of ``disk`` too."""

    def crash() -> None:
        tally.steps += 1
        seen: set[bytes] = set()
        for after in disk.crash_states(limit=limit, rng=rng):
            tally.states += 1
            content = [(name, after.read_bytes(f"{HOME}/{name}")) for name in after.list_directory(HOME)]
            digest = hashlib.blake2b(repr(content).encode()).digest()
            if digest in seen:
                continue
            seen.add(digest)
            tally.distinct += 1
            what = check(after)
            if what is not None:
                tally.bad.append(f"step {disk.steps}: {what}")

    disk.after_step = crash
    return crash


# --- checkpoints --------------------------------------------------------------------------------------------------


def payload(number: int) -> bytes:
    return b"%06d" % number + b"state of an engine " * 2


def crash_checkpoints(
    saves: int, limit: int, *, disk: SimDisk | None = None, files: type[CheckpointFiles] = CheckpointFiles
) -> Tally:
    """Crash at each step of ``saves`` saves."""
    disk = disk or SimDisk(block_bytes=16)
    disk.make_directory(HOME)
    tally = Tally()
    acknowledged = started = 0

    def check(after: SimDisk) -> str | None:
        loaded = files(after, HOME).load()
        if loaded.payload is None:
            found = 0
        else:
            found = int(loaded.payload[:6])
            if loaded.payload != payload(found):
                return f"got a checkpoint that nobody saved: {loaded.payload!r}"
        if not acknowledged <= found <= started:
            return f"expected checkpoint {acknowledged} to {started}, got {found}"
        saved_again = files(after, HOME)
        saved_again.save(payload(999_999))
        if files(after, HOME).load().payload != payload(999_999):
            return "the next save after the crash is not what is loaded"
        return None

    crash = crash_everywhere(disk, seeded_rng(1), limit, check, tally)
    saver = files(disk, HOME)
    for number in range(1, saves + 1):
        started = number
        saver.save(payload(number))
        acknowledged = number
        crash()
        if number % 4 == 0:
            saver = files(disk, HOME)  # another process goes on
    return tally


# --- the store ----------------------------------------------------------------------------------------------------


def put(number: int) -> Callable[[Transaction], None]:
    """Return a transaction that only makes sense as a whole."""

    def work(transaction: Transaction) -> None:
        transaction.put(NONCES, KEY, number)
        transaction.put(FILLS, "main", number, f"E{number}", b"fill " * 20 * (number % 5))

    return work


def read(transaction: Transaction) -> tuple[int, list[int]]:
    row = transaction.get(NONCES, KEY)
    return 0 if row is None else int(row[1]), [int(fill[1]) for fill in transaction.rows(FILLS, "main")]


def crash_store(transactions: int, limit: int, *, disk: SimDisk | None = None) -> Tally:
    """Crash at each step of a life of a store: made, written, checkpointed, closed, opened again, written again."""
    disk = disk or SimDisk()
    disk.make_directory(HOME)
    tally = Tally()
    acknowledged = started = 0
    writing = True

    def database(on: SimDisk) -> Database:
        return Database(on, HOME, MIGRATIONS, log_transactions=3)

    def check(after: SimDisk) -> str | None:
        found = database(after)
        try:
            found.open()
            number, fills = found.run(read)
            found.run(put(number + 1))  # it can be written to again
            found.close()
        except StoreError as error:
            return f"cannot be opened: {error}"
        cut = found.log_state is LogState.CUT or found.log_lost
        tally.cut += cut
        if cut and not writing:
            return "says that a transaction may be missing, but none was on its way"
        if fills != list(range(1, number + 1)):
            return f"expected fills 1 to {number} beside mark {number}, got {fills}"
        if not acknowledged <= number <= started:
            return f"expected mark {acknowledged} to {started}, got {number}"
        return None

    crash = crash_everywhere(disk, seeded_rng(1), limit, check, tally)
    for _ in range(2):
        writer = database(disk)
        writer.open()
        for _ in range(transactions // 2):
            started += 1
            writing = True
            writer.run(put(started))
            acknowledged, writing = started, False
            crash()
        writing = True  # closing writes a word, too
        writer.close()
        writing = False
        crash()
        writing = True  # and so does opening
    return tally


# --- flipped bytes ------------------------------------------------------------------------------------------------


@attrs.define
class Flips:
    """What became of changed bytes."""

    refused: int = 0
    """Named, and nothing used."""
    said: int = 0
    """Used without what may be missing, and that was said."""
    harmless: int = 0
    """Everything was read as it was written."""
    bad: list[str] = attrs.field(factory=list)

    @property
    def tried(self) -> int:
        return self.refused + self.said + self.harmless + len(self.bad)


def store_to_flip(*, killed: bool) -> dict[str, bytes]:
    """Return the files of a filled store: closed, or killed so that the last transactions are still in the log."""
    disk = SimDisk()

    async def main() -> None:
        async with open_store(on_disk(disk), HOME) as store:
            await fill(store)
        if killed:
            async with open_store(on_disk(disk), HOME) as store:
                await store.nonces.raise_mark(KEY, LATER[0])
                await store.nonces.raise_mark(KEY, LATER[1])
                disk.crash(seeded_rng(1))

    trio.run(main)
    return {name: disk.read_bytes(f"{HOME}/{name}") for name in disk.list_directory(HOME)}


LATER = (1_795_305_600_000_000_001, 1_795_305_600_000_000_002)


def disk_with(files: dict[str, bytes]) -> SimDisk:
    disk = SimDisk()
    disk.make_directory(HOME)
    for name, content in files.items():
        disk.write_private(f"{HOME}/{name}", content)
        disk.sync_file(f"{HOME}/{name}")
    disk.sync_directory(HOME)
    return disk


def flip_store(files: dict[str, bytes], name: str, offsets: Sequence[int]) -> Flips:
    """Change one byte of one file after the other, and open the store each time."""
    flips = Flips()
    truth: dict[str, Any] = dict(FILLED)
    if "store.db-wal" in files:
        truth["nonces"] = [LATER[1], 7, 0]
    for offset in offsets:
        content = bytearray(files[name])
        content[offset] ^= 1 << (offset % 8)
        _judge(flips, f"{name} at {offset}", disk_with({**files, name: bytes(content)}), truth)
    return flips


def _judge(flips: Flips, where: str, disk: SimDisk, truth: dict[str, Any]) -> None:
    async def main() -> tuple[dict[str, Any], bool]:
        async with open_store(on_disk(disk), HOME) as store:
            return await everything(store), bool(store.opened.notes)

    try:
        found, said = trio.run(main)
    except StoreError:
        flips.refused += 1
        return
    except BaseException as error:  # noqa: BLE001 - whatever else comes out is a finding
        flips.bad.append(f"{where}: {error!r}")
        return
    if found == truth:
        flips.harmless += 1
    elif said and found["nonces"][0] >= truth["nonces"][0] and found["fills"] == truth["fills"]:
        flips.said += 1
    else:
        flips.bad.append(f"{where}: got {found}, {'said' if said else 'silently'}")


def flip_checkpoints(offsets_step: int = 1) -> Flips:
    """Change one byte of the newer, then of the older checkpoint, and load each time."""
    flips = Flips()
    for name, expected in (("checkpoint.0", payload(1)), ("checkpoint.1", payload(2))):
        disk = SimDisk()
        disk.make_directory(HOME)
        files = CheckpointFiles(disk, HOME)
        files.save(payload(1))  # checkpoint.1
        files.save(payload(2))  # checkpoint.0
        for bit in range(0, 8 * len(disk.read_bytes(f"{HOME}/{name}")), offsets_step):
            disk.flip_bit(f"{HOME}/{name}", bit)
            loaded = CheckpointFiles(disk, HOME).load()
            disk.flip_bit(f"{HOME}/{name}", bit)
            if loaded.payload == expected and loaded.notes:
                flips.said += 1
            else:
                flips.bad.append(f"{name} bit {bit}: got {loaded}")
    return flips


def main() -> int:
    """Run all three, print what was counted, and return 1 if anything was bad."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--saves", type=int, default=12, help="checkpoints saved")
    parser.add_argument("--transactions", type=int, default=14, help="transactions of the store")
    parser.add_argument("--states-a-step", type=int, default=7_000, help="most crash states of checkpoints at a step")
    parser.add_argument("--store-states-a-step", type=int, default=300, help="most crash states of the store at a step")
    parser.add_argument("--flip-step", type=int, default=1, help="every so many bytes of the store")
    options = parser.parse_args()
    bad: list[str] = []

    tally, seconds = _timed(lambda: crash_checkpoints(options.saves, options.states_a_step))
    print(f"checkpoints: {_counts(tally)}, {seconds:.0f} CPU s", flush=True)
    bad += tally.bad
    tally, seconds = _timed(lambda: crash_store(options.transactions, options.store_states_a_step))
    print(f"store: {_counts(tally)}, {tally.cut} found cut, {seconds:.0f} CPU s", flush=True)
    bad += tally.bad
    found, seconds = _timed(flip_checkpoints)
    print(f"flips in checkpoints: {_outcomes(found)}, {seconds:.0f} CPU s", flush=True)
    bad += found.bad
    for killed in (False, True):
        files = store_to_flip(killed=killed)
        for name in ("store.db", "store.db-wal") if killed else ("store.db",):
            # Most of what a killed store holds was flipped in the closed one already: its log is what is new.
            offsets = range(0, len(files[name]), options.flip_step * (8 if killed and name == "store.db" else 1))
            found, seconds = _timed(partial(flip_store, files, name, offsets))
            what = "a killed" if killed else "a closed"
            print(f"flips in {name} of {what} store: {_outcomes(found)}, {seconds:.0f} CPU s", flush=True)
            bad += found.bad
    for what in bad[:20]:
        print(f"BAD {what}")
    return 1 if bad else 0


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    return work(), time.process_time() - began


def _counts(tally: Tally) -> str:
    return f"{tally.steps} crash points, {tally.states} states ({tally.distinct} distinct), {len(tally.bad)} bad"


def _outcomes(flips: Flips) -> str:
    good = f"{flips.refused} refused, {flips.said} said, {flips.harmless} harmless"
    return f"{flips.tried} tried, {good}, {len(flips.bad)} bad"


if __name__ == "__main__":
    sys.exit(main())
