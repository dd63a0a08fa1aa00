"""Balances and open orders of an account now, from whichever source has them: the line if the account is live, or REST.

What a live account knows is never waited for and costs nothing. Otherwise REST is asked; its answer may be used again
as long as it is younger than the caller's ``max_age_s``, and is forgotten after ``cache_ttl_s``, or when the account is
live again. An old value is returned only to those who say ``allow_stale=True``; everybody else gets
:class:`~kraken_engine.errors.Stale` with the reasons of both sources. Whatever REST says, the state that the account
goes on from stays its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar, final

import attrs

from kraken_engine.errors import EngineError, Stale
from kraken_engine.feed.current import check_max_age
from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.account_events import BalanceUpdate, Order
from kraken_engine.runtime import Clock
from kraken_engine.state.account_backup import AccountBackup, Listed
from kraken_engine.state.account_sync import AccountSync

__all__ = ["AccountReading", "AccountValues", "BackupQuestions"]

V = TypeVar("V")


@attrs.frozen(kw_only=True)
class AccountReading(Generic[V]):
    """Balances by asset, or open orders by id: what they are, where they came from, and how far to trust them."""

    values: Mapping[str, V]
    source: Source
    stale: Stale | None
    """Why they may not be trusted now; None: they are current."""
    as_of_s: float
    """Monotonic seconds: of the last frame of the line, or of the answer of REST."""
    _clock: Clock = attrs.field(alias="clock", repr=False, eq=False)

    @property
    def integrity(self) -> Integrity:
        """How far the values may be trusted: what REST says is unverified."""
        if self.stale is not None:
            return Integrity.RESYNCING
        return Integrity.UNVERIFIED if self.source is Source.REST else Integrity.VERIFIED

    @property
    def age_s(self) -> float:
        """Seconds since the source spoke, at the moment of asking."""
        return max(0.0, self._clock.now() - self.as_of_s)


class BackupQuestions(Protocol):
    """What can be asked of REST about the account; the answers are in its :class:`AccountBackup` afterwards."""

    async def ask_balances(self, *, younger_than_s: float = 0.0) -> None:
        """Ask for balances. EngineError: REST did not answer."""
        ...

    async def ask_orders(self, *, younger_than_s: float = 0.0) -> None:
        """Ask for open orders. EngineError: REST did not answer."""
        ...


@final
class AccountValues:
    """Answers "what is it now" for one account.

    Args:
        sync: what the line brought.
        backup: what REST said.
        questions: how to ask it.
        clock: the runtime's.
        last_frame_s: when the line last got a frame.
        cache_ttl_s: how long an answer of REST is kept.
        fresh_s: how old an answer of REST may be and still count as current, unless the caller says otherwise.
    """

    def __init__(
        self,
        sync: AccountSync,
        backup: AccountBackup,
        questions: BackupQuestions,
        clock: Clock,
        *,
        last_frame_s: Callable[[], float],
        cache_ttl_s: float,
        fresh_s: float,
    ) -> None:
        self._sync = sync
        self._backup = backup
        self._questions = questions
        self._clock = clock
        self._last_frame_s = last_frame_s
        self._cache_ttl_s = cache_ttl_s
        self._fresh_s = fresh_s

    async def balances(self, *, max_age_s: float | None, allow_stale: bool) -> AccountReading[BalanceUpdate]:
        """See :meth:`kraken_engine.trading.account.Account.get_balances`."""
        check_max_age(max_age_s)
        fresh_s = min(self._fresh_s if max_age_s is None else max_age_s, self._cache_ttl_s)
        error: EngineError | None = None
        if not self._sync.may_trade:
            try:
                await self._questions.ask_balances(younger_than_s=fresh_s)
            except EngineError as failed:
                error = failed
        own, listed = self._sync.balances.all, self._backup.balances
        return self._chosen("balances", own, listed, error, allow_stale=allow_stale)

    async def orders(self, *, max_age_s: float | None, allow_stale: bool) -> AccountReading[Order]:
        """See :meth:`kraken_engine.trading.account.Account.get_orders`."""
        check_max_age(max_age_s)
        fresh_s = min(self._fresh_s if max_age_s is None else max_age_s, self._cache_ttl_s)
        error: EngineError | None = None
        if not self._sync.may_trade:
            try:
                await self._questions.ask_orders(younger_than_s=fresh_s)
            except EngineError as failed:
                error = failed
        own, listed = self._sync.orders.open, self._backup.orders
        return self._chosen("orders", own, listed, error, allow_stale=allow_stale)

    def _chosen(
        self,
        what: str,
        own: Callable[[], Mapping[str, V]],
        listed: Listed[V] | None,
        error: EngineError | None,
        *,
        allow_stale: bool,
    ) -> AccountReading[V]:
        """Return the line's values if the account is live (by now), else those of REST, else the newest there are."""
        clock, sync = self._clock, self._sync
        if sync.may_trade:
            as_of_s = min(clock.now(), self._last_frame_s())
            return AccountReading(values=own(), source=Source.WEBSOCKET_V2, stale=None, as_of_s=as_of_s, clock=clock)
        if listed is not None and error is None:
            return AccountReading(
                values=listed.values, source=Source.REST, stale=None, as_of_s=listed.received_s, clock=clock
            )
        since_s = None if sync.stale is None else sync.stale.since_s
        why = f"{sync.why}; REST: {error or 'its answer came before the line was lost again'}"
        stale = Stale(what, sync.account, why, since_s=since_s)
        if not allow_stale:
            raise stale from error
        if listed is not None and clock.now() - listed.received_s <= self._cache_ttl_s:
            return AccountReading(
                values=listed.values, source=Source.REST, stale=stale, as_of_s=listed.received_s, clock=clock
            )
        if since_s is None:
            raise stale from error  # there never was anything to go by
        return AccountReading(values=own(), source=Source.WEBSOCKET_V2, stale=stale, as_of_s=since_s, clock=clock)
