"""Bugs planted in what keeps an account in step: sequences, fills, funds, positions, checks, and what is on record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs
import pytest

from kraken_engine.normalise.account_events import BalanceUpdate, Fill
from kraken_engine.normalise.events import AccountEvent
from kraken_engine.normalise.rest_account import AssetBalance
from kraken_engine.state.account_backup import AccountBackup
from kraken_engine.state.account_sync import AccountAction, AccountSync, Tell
from kraken_engine.state.balances import Balances
from kraken_engine.state.gap_closure import GapClosure, History, Unresolved
from kraken_engine.state.orders import Orders
from kraken_engine.state.positions import Positions
from kraken_engine.state.sequence import Place, Sequence
from kraken_engine.store.nonces import Nonces
from kraken_engine.tasks.account_checks import AccountChecks
from kraken_engine.tasks.private_backup import PrivateBackup
from kraken_engine.trading.fill_journal import FillJournal
from kraken_engine.trading.fill_record import Kept, StoredRecord
from kraken_engine.trading.fill_stream import DeliveredFill, FillStream

Mutant = Callable[[pytest.MonkeyPatch], None]


def gap_in_sequence_not_noticed(patch: pytest.MonkeyPatch) -> None:
    """A message of which the one before it is missing counts as the next one."""
    take = Sequence.take

    def wrong(self: Sequence, number: int, *, snapshot: bool) -> Place:
        place = take(self, number, snapshot=snapshot)
        if place is not Place.BEYOND:
            return place
        self.last = number
        return Place.NEXT

    patch.setattr(Sequence, "take", wrong)


def repeated_message_taken_again(patch: pytest.MonkeyPatch) -> None:
    """A message that comes twice is applied twice, its fills with it."""
    take, note = Sequence.take, Orders.apply

    def wrong(self: Sequence, number: int, *, snapshot: bool) -> Place:
        place = take(self, number, snapshot=snapshot)
        return Place.NEXT if place is Place.REPEATED else place

    def counted(self: Orders, report: Any, *, replayed: bool = False) -> tuple[AccountEvent, ...]:
        self._fills.pop(report.exec_id or "", None)
        return note(self, attrs.evolve(report, cum_qty=None), replayed=replayed)

    patch.setattr(Sequence, "take", wrong)
    patch.setattr(Orders, "apply", counted)


def funds_not_released(patch: pytest.MonkeyPatch) -> None:
    """What an order held stays held when it is cancelled: what is used only grows."""
    hold = Balances.hold

    def wrong(self: Balances, held: Mapping[str, Decimal]) -> tuple[BalanceUpdate, ...]:
        return hold(
            self, {asset: max(held.get(asset, Decimal(0)), known.used) for asset, known in self._assets.items()}
        )

    patch.setattr(Balances, "hold", wrong)


def live_before_the_closure(patch: pytest.MonkeyPatch) -> None:
    """A snapshot is believed at once: what happened before it does not have to add up."""
    close = GapClosure.close

    def wrong(self: GapClosure) -> list[AccountEvent]:
        try:
            return close(self)
        except Unresolved:
            return []

    patch.setattr(GapClosure, "question", lambda _: None)
    patch.setattr(GapClosure, "close", wrong)


def position_not_moved_by_a_fill(patch: pytest.MonkeyPatch) -> None:
    """What the venue said was open stays so, whatever is filled."""
    patch.setattr(Positions, "apply", lambda *_: None)


def balances_never_checked(patch: pytest.MonkeyPatch) -> None:
    """Nobody compares balances with REST."""

    async def wrong(_: AccountChecks) -> bool:
        return False

    patch.setattr(AccountChecks, "_ask_balances", wrong)


def older_answer_overwrites(patch: pytest.MonkeyPatch) -> None:
    """What REST says of balances is taken over, although the line has told of newer ones since the question."""
    take = AccountBackup.take_balances

    def wrong(self: AccountBackup, answer: Mapping[str, AssetBalance], *, asked_s: float, received_s: float) -> None:
        take(self, answer, asked_s=max(asked_s, self._since_s), received_s=received_s)

    def shown(self: PrivateBackup) -> None:
        for event in self.store.news(self.sync.balances.all()):
            self.publish(event)

    patch.setattr(AccountBackup, "take_balances", wrong)
    patch.setattr(PrivateBackup, "_show", shown)


def acknowledged_before_delivered(patch: pytest.MonkeyPatch) -> None:
    """All fills that were read from the record count as dealt with, those that still wait among them."""
    following = FillStream.__anext__

    async def wrong(self: FillStream) -> DeliveredFill:
        delivered = await following(self)
        last = self._ready[-1] if self._ready else delivered
        await last.acknowledge()
        return delivered

    patch.setattr(FillStream, "__anext__", wrong)


def fills_on_record_forgotten(patch: pytest.MonkeyPatch) -> None:
    """After a restart the fills that are on record are told again."""
    load = StoredRecord.load

    async def wrong(self: StoredRecord) -> Kept:
        return attrs.evolve(await load(self), fills=())

    patch.setattr(StoredRecord, "load", wrong)


def beginning_not_on_record(patch: pytest.MonkeyPatch) -> None:
    """Where the story of an account begins is not kept: after a restart it begins anew, and what was missed is lost."""

    async def wrong(self: StoredRecord, history: History) -> None:
        del self, history

    patch.setattr(StoredRecord, "begin", wrong)


def fill_lost_when_the_disk_fails(patch: pytest.MonkeyPatch) -> None:
    """Fills that cannot be written are dropped."""
    write = FillJournal._write

    async def wrong(self: FillJournal) -> None:
        try:
            await write(self)
        except Exception:
            self._pending.clear()
            raise

    patch.setattr(FillJournal, "_write", wrong)


def mark_not_durable(patch: pytest.MonkeyPatch) -> None:
    """Nonces are used without their mark being on the disk: the next life begins below them."""

    async def wrong(self: Nonces, fingerprint: str, mark: int) -> None:
        del self, fingerprint, mark

    patch.setattr(Nonces, "raise_mark", wrong)


def silence_not_minded(patch: pytest.MonkeyPatch) -> None:
    """An account stays live when its line is gone."""

    def wrong(self: AccountSync, why: str, *, now: float) -> list[AccountAction]:
        del self, why, now
        return []

    patch.setattr(AccountSync, "disconnected", wrong)
    patch.setattr(AccountSync, "suspect", wrong)
    patch.setattr(AccountSync, "connected", lambda self, *, now: wrong(self, "", now=now))


def fill_told_twice(patch: pytest.MonkeyPatch) -> None:
    """Readers are told of a fill that a closure found, and of it again."""
    told = AccountSync._told

    def wrong(self: AccountSync, events: Iterable[AccountEvent]) -> list[AccountAction]:
        actions = told(self, events)
        again = [a for a in actions if isinstance(a, Tell) and isinstance(a.event, Fill) and a.event.replayed]
        return [*actions, *again]

    patch.setattr(AccountSync, "_told", wrong)


MUTANTS_OF_ACCOUNTS: dict[str, Mutant] = {
    mutant.__name__: mutant
    for mutant in (
        gap_in_sequence_not_noticed,
        repeated_message_taken_again,
        funds_not_released,
        live_before_the_closure,
        position_not_moved_by_a_fill,
        balances_never_checked,
        older_answer_overwrites,
        acknowledged_before_delivered,
        fills_on_record_forgotten,
        beginning_not_on_record,
        fill_lost_when_the_disk_fails,
        mark_not_durable,
        silence_not_minded,
        fill_told_twice,
    )
}
