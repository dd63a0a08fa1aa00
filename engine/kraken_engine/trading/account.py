"""One account, as an application holds it: orders, balances, fills, and whether what is known of them is so now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import final

import attrs

from kraken_engine.errors import Stale, UsageError
from kraken_engine.feed.topics import Balances, Executions, Orders
from kraken_engine.model import Source
from kraken_engine.normalise.account_events import BalanceUpdate, Order
from kraken_engine.runtime import Clock
from kraken_engine.state.account_sync import AccountSync, Phase
from kraken_engine.state.balances import ConsistencyReport
from kraken_engine.state.positions import Position
from kraken_engine.trading.account_values import AccountReading, AccountValues
from kraken_engine.trading.fill_journal import FillJournal
from kraken_engine.trading.fill_stream import FillStream

__all__ = ["Account", "AccountStatistics", "PositionReading"]


@attrs.frozen(kw_only=True)
class AccountStatistics:
    """What an account's line and state did so far."""

    up: bool
    """Whether there is a connection now."""
    connections: int
    frames: int
    undecodable: int
    closures: int
    """Snapshots after which everything added up."""
    unresolved: int
    """Answers of REST that did not add up at first."""
    gaps: int
    """Losses noticed on a live connection."""
    fills: int
    """Told so far."""
    fills_replayed: int
    """Of these, how many were missed and fetched afterwards."""
    fills_pending: int
    """Told, and not durable yet."""
    questions: int
    """Asked of REST to close gaps."""
    checks: int
    """Regular comparisons of balances with REST."""
    backup_answers: int
    """Answers of REST about balances and open orders that were taken while the line was lost."""
    differences: int
    """What those, and the ones of positions, found to be wrong here; each was put right."""


@attrs.frozen(kw_only=True)
class PositionReading:
    """What is open on margin in one symbol, and what that is based on."""

    symbol: str
    position: Position | None
    """None: nothing is open."""
    realised: Decimal
    """What closing earned since the position is known, in the quote asset, before fees."""
    source: Source
    """``rest``: ``OpenPositions`` and every fill since. ``websocket_v2``: fills alone, the venue never said."""
    verified: bool
    """Whether the venue's answer and the fills since leave no other possibility."""
    why: str
    """Why it is not verified; empty when it is."""
    _checked_s: float | None = attrs.field(alias="checked_s", repr=False)
    _clock: Clock = attrs.field(alias="clock", repr=False, eq=False)

    @property
    def age_s(self) -> float | None:
        """Seconds since the venue last agreed, at the moment of asking; fills since are counted. None: it never did."""
        return None if self._checked_s is None else self._clock.now() - self._checked_s


@final
class Account:
    """An open account; made by ``open_account`` and ``open_engine``."""

    def __init__(
        self,
        name: str,
        *,
        sync: AccountSync,
        journal: FillJournal,
        statistics: Callable[[], AccountStatistics],
        clock: Clock,
        check: Callable[[], Awaitable[ConsistencyReport]],
        wait_live: Callable[[], Awaitable[None]],
        wait_positions: Callable[[], Awaitable[None]],
        values: AccountValues,
    ) -> None:
        self.name = name
        self.executions = Executions(name)
        """Topic: every fill and every other report, in order."""
        self.orders = Orders(name)
        """Topic: every change of an order, with the order after it."""
        self.balances = Balances(name)
        """Topic: every change of a balance."""
        self._sync = sync
        self._journal = journal
        self._statistics = statistics
        self._clock = clock
        self._check = check
        self._wait_live = wait_live
        self._wait_positions = wait_positions
        self._values = values

    def __repr__(self) -> str:
        return f"<Account {self.name} {self._sync.phase.value}{f' ({self.why})' if self.why else ''}>"

    # -- is it so now?

    @property
    def state(self) -> Phase:
        """How far the account has come: ``live`` is in step with the venue."""
        return self._sync.phase

    @property
    def why(self) -> str:
        """Why the account is not live; empty when it is."""
        return self._sync.why

    @property
    def may_trade(self) -> bool:
        """Whether a new order may leave, as far as the state of the account goes. Cancels always may."""
        return self._sync.may_trade

    async def wait_live(self) -> None:
        """Wait until the account is in step with the venue; at once if it is. Set a deadline around it.

        It may have ceased to be when the caller runs: ask :attr:`may_trade`.

        Raises:
            UsageError: the account is closed, or was closed meanwhile.
        """
        await self._wait_live()

    async def wait_positions(self) -> None:
        """Wait until the venue has said what is open on margin; at once if it has. Set a deadline around it.

        That is some seconds after the account became live, or never, for a key that may not see positions.

        Raises:
            UsageError: the account is closed, or was closed meanwhile.
        """
        await self._wait_positions()

    # -- what is true now

    def order(
        self, order_id: str | None = None, *, cl_ord_id: str | None = None, allow_stale: bool = False
    ) -> Order | None:
        """Return an order by the venue's id or by ours, open or lately closed; None: there is no such order.

        Raises:
            Stale: the account is not in step with the venue (``allow_stale=True`` returns what was known last).
            UsageError: neither id, or both.
        """
        self._require_live(allow_stale=allow_stale)
        if order_id is not None and cl_ord_id is None:
            return self._sync.orders.get(order_id)
        if cl_ord_id is not None and order_id is None:
            return self._sync.orders.by_client_id(cl_ord_id)
        raise UsageError("order: expected one of order_id and cl_ord_id")

    def open_orders(self, *, allow_stale: bool = False) -> Mapping[str, Order]:
        """Return the open orders by id, oldest first. Raises as :meth:`order` does."""
        self._require_live(allow_stale=allow_stale)
        return self._sync.orders.open()

    def closed_orders(self, *, allow_stale: bool = False) -> Mapping[str, Order]:
        """Return the orders that closed lately (bounded), the last one at the end. Raises as :meth:`order` does."""
        self._require_live(allow_stale=allow_stale)
        return self._sync.orders.closed()

    def balance(self, asset: str, *, allow_stale: bool = False) -> BalanceUpdate | None:
        """Return what the account has of ``asset`` (``BTC``); None: it never had any. Raises as :meth:`order` does."""
        self._require_live(allow_stale=allow_stale)
        return self._sync.balances.get(asset)

    def holdings(self, *, allow_stale: bool = False) -> Mapping[str, BalanceUpdate]:
        """Return every balance by asset. Raises as :meth:`order` does."""
        self._require_live(allow_stale=allow_stale)
        return self._sync.balances.all()

    async def get_balances(
        self, *, max_age_s: float | None = None, allow_stale: bool = False
    ) -> AccountReading[BalanceUpdate]:
        """Return every balance by asset now: from the line if the account is live, else from REST.

        Args:
            max_age_s: how old an answer of REST may be before it is asked again; 10 s (``failover.account_every_s``)
                when not given.
            allow_stale: return the newest values there are, rather than nothing, when neither source has current ones.

        Raises:
            Stale: neither the line nor REST has current values; it says why for both.
            UsageError: ``max_age_s`` is no number of seconds.
        """
        return await self._values.balances(max_age_s=max_age_s, allow_stale=allow_stale)

    async def get_orders(self, *, max_age_s: float | None = None, allow_stale: bool = False) -> AccountReading[Order]:
        """Return the open orders by id now, oldest first; otherwise as :meth:`get_balances`."""
        return await self._values.orders(max_age_s=max_age_s, allow_stale=allow_stale)

    def position(self, symbol: str, *, allow_stale: bool = False) -> PositionReading:
        """Return what is open in ``symbol`` on margin, with what that is based on.

        Positions are the business of margin: they begin with REST's ``OpenPositions`` and go on with every fill of an
        order on margin. Trading without margin opens none. What it buys is yours: ask :meth:`balance` of the base
        asset for it, which is one amount however many pairs it was bought in.

        Quantities are exact, and so are the prices of what was filled since. A lot from before is known by what it
        cost, which the venue rounds: its price is the tick that explains the cost, and a tiny lot has several.

        Raises:
            Stale: the account is not in step with the venue, or the venue does not say what was open before (a key
                without the permission, say; it says why). ``allow_stale=True`` returns what is known all the same.
        """
        self._require_live(allow_stale=allow_stale)
        reading = self._position(symbol)
        if not self._sync.positions.get(symbol).known and not allow_stale:
            raise Stale("positions", self.name, reading.why)
        return reading

    def positions(self, *, allow_stale: bool = False) -> Mapping[str, PositionReading]:
        """Return every symbol in which something is open on margin, or may be. Raises as :meth:`position` does."""
        self._require_live(allow_stale=allow_stale)
        positions = self._sync.positions
        if not allow_stale and (unknown := positions.unknown) is not None:
            raise Stale("positions", self.name, unknown)
        return {symbol: self._position(symbol) for symbol in positions.all()}

    def _position(self, symbol: str) -> PositionReading:
        state = self._sync.positions.get(symbol)
        return PositionReading(
            symbol=symbol,
            position=state.position,
            realised=state.realised,
            source=state.source,
            verified=state.verified and self._sync.may_trade,
            why=state.why or self._sync.why,
            checked_s=state.checked_s,
            clock=self._clock,
        )

    async def check_balances(self) -> ConsistencyReport:
        """Ask REST for balances and holds, and compare them with what is kept here. Costs one counted call.

        Raises:
            EngineError: REST did not answer.
        """
        return await self._check()

    # -- what happened

    def fills(self, since: int | None = None, *, consumer: str = "default") -> FillStream:
        """Follow the fills of the account: each once it is durable, in order, at least once, across restarts.

        Args:
            since: Number of the last fill not to deliver (0: deliver all on record); None: resume behind the last one
                acknowledged under this name.
            consumer: Name of the cursor; each has its own.
        """
        return FillStream(self._journal, consumer, since)

    async def last_fill(self) -> int:
        """Return the number of the last fill on record; 0 if there is none.

        Raises:
            StoreError: it could not be read.
        """
        return await self._journal.record.last()

    def statistics(self) -> AccountStatistics:
        """Return the counters of the account."""
        return self._statistics()

    def _require_live(self, *, allow_stale: bool) -> None:
        stale: Stale | None = self._sync.stale
        if stale is not None and not allow_stale:
            raise stale
