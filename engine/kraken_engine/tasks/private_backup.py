"""REST in place of a private line that is lost: balances and open orders, asked for now and then, and labelled so.

The same watchdog as for market data decides when: ``deadline_s`` after the last good frame the backup has been asked.
Back is at once: an account that is live again is proven to be in step, which REST never is. Both changes stand in the
market's history of switches. Meanwhile the account is not live, so nothing new may be ordered.

The questions wait for everything that closes the gap, and none is asked while the breaker of the key is open: its
probes are for the token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

import attrs
import trio

from kraken_engine.config import FailoverSettings
from kraken_engine.control.failover import Feeder, Stream, Switch, Watchdog
from kraken_engine.errors import AuthRejected, EngineError, NotSent
from kraken_engine.model import Source
from kraken_engine.normalise.account_events import AccountLive, AccountStale
from kraken_engine.normalise.events import AccountEvent, Event, SourceChanged
from kraken_engine.rest.operations import Group
from kraken_engine.rest.private import PrivateRest
from kraken_engine.runtime import Clock
from kraken_engine.state.account_backup import AccountBackup, Listed
from kraken_engine.state.account_sync import AccountSync
from kraken_engine.tasks.continuity import Signal

__all__ = ["PrivateBackup"]

_LEAD_S = 0.5
"""So long before the deadline the first question goes out: its queue is the key's own, and its connection is warm.

No longer, since most losses are over by then, and calls are dear.
"""
_AUTH_PAUSE_S = 900.0
"""After the venue refused the key itself, no question for so long: insisting ends in a lockout."""


@attrs.define(eq=False, kw_only=True)
class PrivateBackup:
    """The backup of one account."""

    sync: AccountSync
    rest: PrivateRest
    clock: Clock
    settings: FailoverSettings
    publish: Callable[[Event], None]
    """Tells readers, and lets them run."""
    record: Callable[[Switch], None]
    """Puts a change of the source into the market's history."""
    last_frame_s: Callable[[], float]
    """When the private line last got a frame."""
    store: AccountBackup = attrs.field(init=False)
    watchdog: Watchdog = attrs.field(init=False)
    _streams: tuple[Stream, ...] = attrs.field(init=False)
    _news: Signal = attrs.field(factory=Signal, init=False)
    _shows_rest: bool = attrs.field(default=False, init=False)
    """The last source readers were told of is REST."""
    _not_before_s: float = attrs.field(default=0.0, init=False)
    _refused_until_s: float = attrs.field(default=0.0, init=False)
    _refused: str = attrs.field(default="", init=False)
    """What the venue said of the key."""
    _asking: dict[str, trio.Lock] = attrs.field(init=False)
    _failed: dict[str, tuple[float, EngineError]] = attrs.field(
        factory=dict[str, "tuple[float, EngineError]"], init=False
    )
    """When the last question was sent that brought nothing, and why it did not."""

    def __attrs_post_init__(self) -> None:
        account = self.sync.account
        self.store = AccountBackup(account, self.sync.orders.is_external)
        self.watchdog = Watchdog(attrs.evolve(self.settings, lead_s=min(self.settings.lead_s, _LEAD_S)))
        self._streams = ("balances", account), ("orders", account)
        self._asking = {"balances": trio.Lock(), "orders": trio.Lock()}

    # -- what the account tells its readers passes here: synchronous

    def before(self, event: object) -> None:
        """Tell readers that the line has the word again, before what it says."""
        from_the_line = isinstance(event, AccountEvent) and event.source is not Source.REST
        if self._shows_rest and (from_the_line or isinstance(event, AccountLive)):
            self._change(Source.WEBSOCKET_V2, "the private line brings it again")

    def told(self, event: object) -> None:
        """Take note of what readers were told."""
        now = self.clock.now()
        if isinstance(event, AccountStale):
            for stream in self._streams:
                self.watchdog.lost(stream, event.why, good_s=min(now, self.last_frame_s()))
        elif isinstance(event, AccountLive):
            self.store.forget(now=now)
            self._not_before_s = self._refused_until_s = 0.0
            for stream in self._streams:
                self.watchdog.well(stream, now=now)
                self.watchdog.uncovered(stream)  # from here on the backup brings nothing: there is no hold to wait for
        else:
            return
        self._news.set()

    # -- the task

    async def run(self) -> None:
        """Stand in for the line whenever it is lost, until cancelled."""
        for stream in self._streams:
            self.watchdog.want(stream, now=self.clock.now())
            if self.sync.may_trade:
                self.watchdog.well(stream, now=self.clock.now())
        while True:
            for command in self.watchdog.check(now=self.clock.now()):
                self.record(command.switch)
            due_s = self.watchdog.next_due
            if self.watchdog.feeder(self._streams[0]) is Feeder.BACKUP and not self.sync.may_trade:
                if self.clock.now() >= self._not_before_s:
                    self._not_before_s = self.clock.now() + self.settings.account_every_s
                    await self._poll()
                    continue
                due_s = min(due_s, self._not_before_s)
            await self._news.wait_until(due_s)

    async def _poll(self) -> None:
        """Ask for everything, and show each answer as it comes. What fails is asked again in the next round."""
        try:
            with trio.move_on_after(self.settings.account_every_s):
                await self.ask_balances()
                self._show()
                await self.ask_orders()
                self._show()
        except EngineError:
            return  # whoever asks for a value is told why there is none; readers know that the account is stale

    def _show(self) -> None:
        if self.sync.may_trade:
            return  # the line was quicker
        news = self.store.news(self.sync.balances.all())
        if news and not self._shows_rest:
            self._change(Source.REST, self.sync.why)
        for event in news:
            self.publish(event)

    def _change(self, source: Source, reason: str) -> None:
        self._shows_rest = source is Source.REST
        at_s, account = self.clock.now(), self.sync.account
        self.publish(SourceChanged(at_s=at_s, channel="account", symbol=account, source=source, reason=reason))

    # -- the questions, also for whoever wants a value now; one of a kind at a time

    async def ask_balances(self, *, younger_than_s: float = 0.0) -> None:
        """Ask for balances, unless an answer of at most this age is here by the time it is our turn.

        What becomes of a question is shared by all who came before it was sent: they could get nothing newer.

        Raises:
            EngineError: REST did not answer.
        """
        await self._ask("balances", lambda: self.store.balances, self._ask_balances, younger_than_s)

    async def ask_orders(self, *, younger_than_s: float = 0.0) -> None:
        """Ask for open orders, as :meth:`ask_balances` does for balances."""
        await self._ask("orders", lambda: self.store.orders, self._ask_orders, younger_than_s)

    async def _ask(
        self,
        what: str,
        known: Callable[[], Listed[Any] | None],
        ask: Callable[[float], Awaitable[None]],
        younger_than_s: float,
    ) -> None:
        came_s = self.clock.now()
        async with self._asking[what]:
            answer, failure = known(), self._failed.get(what)
            if answer is not None and (
                answer.asked_s >= came_s or self.clock.now() - answer.received_s < younger_than_s
            ):
                return
            if failure is not None and failure[0] >= came_s:
                raise failure[1]
            asked_s = self.clock.now()
            try:
                await ask(asked_s)
            except EngineError as error:
                self._failed[what] = asked_s, error
                raise

    async def _ask_balances(self, asked_s: float) -> None:
        with self._knocking("BalanceEx"):
            answer = await self.rest.balance_ex(group=Group.BACKUP)
            self.store.take_balances(answer, asked_s=asked_s, received_s=self.clock.now())

    async def _ask_orders(self, asked_s: float) -> None:
        with self._knocking("OpenOrders"):
            answer = await self.rest.open_orders(group=Group.BACKUP)
            self.store.take_orders(answer, asked_s=asked_s, received_s=self.clock.now())

    @contextmanager
    def _knocking(self, operation: str) -> Generator[None]:
        """Ask nothing of a venue that has refused the key, and take note when it does."""
        if self.clock.now() < self._refused_until_s:
            raise NotSent(operation, f"the key was refused: {self._refused}")
        try:
            yield
        except AuthRejected as error:
            self._refused, self._refused_until_s = str(error), self.clock.now() + _AUTH_PAUSE_S
            raise
