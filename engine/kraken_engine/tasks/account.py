"""``open_account``: one account of a market, provably in step with the venue or saying why it is not, as a scope.

::

    open_account()                         leaving the block ends everything below it
    ├─ REST of the key, auth refresher     (their own scopes)
    └─ background (nursery)
       ├─ private line (supervisor)        connect with a token, run, back off, again
       │  └─ session (per connection)      reader · writer · liveness · executions · balances
       ├─ questions                        asks REST what a gap hides, one at a time
       ├─ private backup                   REST in place of the line while that is lost
       ├─ key check                        asks the venue once what the key may do
       ├─ checks                           ask REST for positions, and whether balances are what they seem
       └─ fill journal                     writes fills as they come

Each account has a key, a line, nonces and a breaker of its own: one that cannot log in is no business of another.

=============  ============================  ===========================  ==============================
memory channel from, to                      what                         when full
=============  ============================  ===========================  ==============================
questions      the line to the asking task   the question of the present  a newer snapshot's question
                                             snapshot                     replaces it
=============  ============================  ===========================  ==============================
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import final

import attrs
import trio

from kraken_engine.config import AccountSettings, Config
from kraken_engine.errors import EngineError, StoreError, UsageError, shown
from kraken_engine.feed.publisher import Publisher
from kraken_engine.normalise.account_events import AccountLive, Fill
from kraken_engine.normalise.events import Event, KeyNotice
from kraken_engine.rest.private import PrivateRest
from kraken_engine.rest.public import PublicRest
from kraken_engine.runtime import Runtime
from kraken_engine.secret import ApiKey, Secret
from kraken_engine.state.account_sync import AccountSync, Ask, Tell
from kraken_engine.state.balances import ConsistencyReport
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.gap_closure import History
from kraken_engine.store.api_keys import load_api_key, load_emergency_key
from kraken_engine.store.database import Store
from kraken_engine.store.locks import hold_key
from kraken_engine.tasks.account_checks import AccountChecks
from kraken_engine.tasks.auth_refresher import open_auth_refresher
from kraken_engine.tasks.key_check import check_key
from kraken_engine.tasks.market import Market
from kraken_engine.tasks.private_backup import PrivateBackup
from kraken_engine.tasks.private_line import PrivateLine
from kraken_engine.tasks.rest import keep_unseen, open_private_rest, open_public_rest
from kraken_engine.tasks.scope import open_background
from kraken_engine.tasks.supervisor import run_line
from kraken_engine.trading.account import Account, AccountStatistics
from kraken_engine.trading.account_values import AccountValues
from kraken_engine.trading.fill_journal import FillJournal
from kraken_engine.trading.fill_record import MemoryRecord, StoredRecord
from kraken_engine.trading.gap_questions import answer
from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET
from kraken_engine.wire.endpoints import parse_endpoint

__all__ = ["open_account"]

REACHED_EVERY_S = 60.0
"""How often it is put on record that everything up to now is known."""
OTHER_KEY = (
    "another key than the last time: if it is of another account, give that account another name, for its fills would "
    "go on where those of the other one ended"
)
SETTLE_S = 2.0
"""How long the last fills may take to be written when an account closes."""


@asynccontextmanager
async def open_account(
    settings: AccountSettings, market: Market, *, store: Store | None = None, public: PublicRest | None = None
) -> AsyncGenerator[Account]:
    """Open one account for as long as the block lasts. It becomes live by itself, as soon as the venue allows.

    Args:
        settings: which account, and where its keys are; on the embedded venue an account without a key gets that of the
            venue's test account.
        market: an open market; its feed carries the streams of the account.
        store: where fills and nonces outlive the process; None: they do not.
        public: public REST operations; those of the market when not given.

    Raises:
        ConfigError: the keys cannot work, or would be sent over a network in the clear.
        StoreLocked: another engine on this machine uses one of them; it is named.
        UsageError: the market has an open account of that name.
        EngineFailed: a background task failed; the body was cancelled.
    """
    config, runtime, publisher = market.config, market.runtime, market.publisher
    if publisher.hosts(settings.name):
        raise UsageError(f"open_account: an account called {shown(settings.name)} is open already")
    key, emergency_key = _keys(settings, market)
    keep_unseen(key, config.private_url, f"account {settings.name}")
    async with AsyncExitStack() as stack:
        for held in (key, emergency_key):
            if held is not None and held.key != Secret(TEST_KEY):  # that one is everybody's
                place = "no state directory" if store is None else f"state directory {store.directory}"
                stack.enter_context(hold_key(runtime, held.fingerprint, f"account {settings.name}, {place}"))
        public = public or market.rest
        if public is None:
            public = await stack.enter_async_context(
                open_public_rest(config, runtime, notify=publisher.announce_at_once, desk=market.desk)
            )
        public.stand_in(market.instruments)
        rest = await stack.enter_async_context(
            open_private_rest(
                config,
                runtime,
                public,
                key=key,
                name=settings.name,
                emergency_key=emergency_key,
                tier=settings.tier,
                marks=None if store is None else store.nonces,
                notify=publisher.announce_at_once,
                desk=market.desk,
            )
        )
        tokens = await stack.enter_async_context(
            open_auth_refresher(settings.name, rest, config, runtime, notify=publisher.announce_at_once)
        )
        record = (
            MemoryRecord(config.store.fills_kept)
            if store is None
            else StoredRecord(store, settings.name, key.fingerprint)
        )
        parts = _Parts(
            name=settings.name,
            config=config,
            runtime=runtime,
            publisher=publisher,
            rest=rest,
            sync=AccountSync(settings.name, market.instruments, config.reconciliation),
            journal=FillJournal(record, runtime.clock),
        )
        kept = await record.load()
        if kept.other_key:
            publisher.announce_at_once(
                KeyNotice(at_s=runtime.clock.now(), account=settings.name, what=OTHER_KEY, grave=True)
            )
        if kept.history is not None:
            parts.sync.restore(kept.history, fills=kept.fills, until=kept.until)
        parts.history = parts.sync.history
        line = PrivateLine(
            name=f"private {settings.name}",
            endpoint=parse_endpoint(config.private_url),
            runtime=runtime,
            config=config,
            outlet=publisher,
            kpis=market.counted,
            desk=market.desk,
            modes=market.modes,
            when_full="wait",
            account=settings.name,
            sync=parts.sync,
            tokens=tokens,
            publish_event=parts.tell,
            ask=parts.ask,
            wait_for_room=parts.journal.wait_for_room,
            has_room=parts.journal.has_room,
        )
        parts.line = line
        parts.backup = PrivateBackup(
            sync=parts.sync,
            rest=rest,
            clock=runtime.clock,
            settings=config.failover,
            publish=parts.publish,
            record=market.failover.record,
            last_frame_s=line.heard_last,
        )
        parts.checks = AccountChecks(
            sync=parts.sync,
            rest=rest,
            clock=runtime.clock,
            instruments=market.instruments,
            settings=config.reconciliation,
            act=line.settle_actions,
            next_live=parts.next_live,
            wait_live=parts.wait_live,
        )
        stack.callback(market.urgent.add(parts.symbols_with_orders))
        leave = publisher.host(settings.name, parts.greet)
        try:
            async with open_background(f"account {settings.name}") as nursery:
                nursery.start_soon(run_line, line, market.budget, market.connect_log)
                nursery.start_soon(parts.run_questions)
                nursery.start_soon(parts.journal.run)
                nursery.start_soon(parts.run_reached)
                if config.failover.enabled:
                    nursery.start_soon(parts.backup.run)
                nursery.start_soon(check_key, settings.name, rest, runtime.clock, publisher.announce_at_once)
                nursery.start_soon(parts.checks.run_positions)
                nursery.start_soon(parts.checks.run_balances)
                yield Account(
                    settings.name,
                    sync=parts.sync,
                    journal=parts.journal,
                    statistics=parts.statistics,
                    clock=runtime.clock,
                    check=parts.check_balances,
                    wait_live=parts.wait_live,
                    wait_positions=parts.wait_positions,
                    values=AccountValues(
                        parts.sync,
                        parts.backup.store,
                        parts.backup,
                        runtime.clock,
                        last_frame_s=line.heard_last,
                        cache_ttl_s=config.performance.cache_ttl_s,
                        fresh_s=config.failover.account_every_s,
                    ),
                )
        finally:
            leave()
            parts.close()
            with trio.move_on_after(SETTLE_S, shield=True):
                await parts.settle()
            parts.journal.close()


def _keys(settings: AccountSettings, market: Market) -> tuple[ApiKey, ApiKey | None]:
    """Return the key of an account and its emergency key, if it has one."""
    runtime = market.runtime
    if market.venue is not None and settings.key_file is None:
        return ApiKey(key=Secret(TEST_KEY), secret=Secret(TEST_SECRET)), None
    return load_api_key(runtime, settings), load_emergency_key(runtime, settings)


@final
@attrs.define(eq=False, kw_only=True)
class _Parts:
    """What the tasks of one account share."""

    name: str
    config: Config
    runtime: Runtime
    publisher: Publisher
    rest: PrivateRest
    sync: AccountSync
    journal: FillJournal
    line: PrivateLine = attrs.field(init=False)
    backup: PrivateBackup = attrs.field(init=False)
    checks: AccountChecks = attrs.field(init=False)
    history: History | None = None
    """Where the story begins, once it is on record or on its way there."""
    questions: int = 0
    closed: bool = False
    _question: Ask | None = None
    _asked: trio.Event = attrs.field(factory=trio.Event)
    _lit: trio.Event = attrs.field(factory=trio.Event)
    """Set, and made anew, whenever the account becomes live."""

    # -- the line's side: synchronous

    def tell(self, told: Tell) -> None:
        """Publish an event, and put on record what has to be."""
        event = told.event
        if self.history is None and self.sync.history is not None:
            self.history = self.sync.history
            self.journal.begin(self.history)
        if isinstance(event, Fill):
            self.journal.add(event)
        elif isinstance(event, AccountLive):
            self._reached()
            lit, self._lit = self._lit, trio.Event()
            lit.set()
        self.checks.told(event)
        self.backup.before(event)
        self.publisher.tell(self.name, event)
        self.backup.told(event)

    def publish(self, event: Event) -> None:
        """Tell readers something that is not the line's."""
        self.publisher.tell(self.name, event)
        self.publisher.flush()

    def ask(self, ask: Ask) -> None:
        """Take the question of the present snapshot; one that waits is of an earlier one, and is dropped."""
        self._question = ask
        self._asked.set()

    def symbols_with_orders(self) -> Iterable[str]:
        """Return the symbols of the open orders, as far as they are known now."""
        return [order.symbol for order in self.sync.orders.open().values()]

    def greet(self, key: StreamKey) -> Iterable[Event]:
        """Return what a new reader is told first."""
        stale = self.sync.stale
        now = self.runtime.clock.now()
        yield AccountLive(at_s=now, channel="account", symbol=self.name) if stale is None else stale
        if stale is None and key[0] == "balances":
            yield from self.sync.balances.all().values()

    def _reached(self) -> None:
        until = self.sync.complete_until
        if until is not None:
            self.journal.reached(until)

    # -- tasks

    async def run_questions(self) -> None:
        """Ask REST one question after the other, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            ask, self._question = self._question, None
            if ask is None:
                continue
            self.questions += 1
            try:
                reports = await answer(ask.question, self.rest, account=self.name)
            except EngineError as error:
                actions = self.sync.failed(ask, str(error), now=self.line.now())
            else:
                actions = self.sync.answered(ask, reports, now=self.line.now())
            self.line.settle_actions(actions)

    async def run_reached(self) -> None:
        """Put on record, now and then, up to when everything is known."""
        while True:
            await trio.sleep(REACHED_EVERY_S)
            if self.sync.may_trade:
                self._reached()

    async def check_balances(self) -> ConsistencyReport:
        """Compare balances and holds with the venue's own word."""
        theirs = await self.rest.balance_ex()
        return self.sync.balances.compare(
            {asset: (balance.total, balance.held) for asset, balance in theirs.items()},
            orders=self.sync.orders.open().values(),
            now=self.line.now(),
        )

    async def settle(self) -> None:
        """Write the last fills: they would be fetched again, but why ask twice."""
        try:
            await self.journal.settle()
        except StoreError:
            return  # the next start finds out what is missing

    async def wait_live(self) -> None:
        """Wait until the account is live."""
        while not self.sync.may_trade:
            self._must_be_open("wait_live")
            await self._lit.wait()

    async def wait_positions(self) -> None:
        """Wait until the venue has said what is open on margin."""
        while self.sync.positions.unknown is not None:
            self._must_be_open("wait_positions")
            await self.checks.positions_known.wait()

    def close(self) -> None:
        """Note that nothing keeps the account in step any more, and let nobody wait for what will not come."""
        self.sync.disconnected("the account is closed", now=self.runtime.clock.now())
        self.closed = True
        self._lit.set()
        self.checks.positions_known.set()

    def _must_be_open(self, call: str) -> None:
        if self.closed:
            raise UsageError(f"{call}: account {self.name} is closed")

    async def next_live(self) -> None:
        """Wait until the account becomes live the next time."""
        await self._lit.wait()

    def statistics(self) -> AccountStatistics:
        """Return the counters of the account."""
        line = self.line.statistics()
        sync = self.sync
        return AccountStatistics(
            up=line.up,
            connections=line.connections,
            frames=line.frames,
            undecodable=line.undecodable,
            closures=sync.closures,
            unresolved=sync.unresolved,
            gaps=sync.gaps,
            fills=sync.fills_told,
            fills_replayed=sync.fills_replayed,
            fills_pending=self.journal.pending,
            questions=self.questions,
            checks=self.checks.balances.compared,
            backup_answers=self.backup.store.answers,
            differences=self.checks.balances.found + sync.positions.corrected,
        )
