"""What the backup asks REST for, question by question."""

from __future__ import annotations

from decimal import Decimal

import attrs
import trio
import trio.testing

from kraken_engine.config import FailoverSettings
from kraken_engine.feed.publisher import Publisher
from kraken_engine.feed.questions import Questions
from kraken_engine.feed.topics import Trades
from kraken_engine.model import Integrity, Side, Source
from kraken_engine.monitor.kpis import Kpis
from kraken_engine.normalise.events import Live, Trade, VenueStatus
from kraken_engine.normalise.rest_market import TradeHistory
from kraken_engine.runtime import real_runtime
from kraken_engine.tasks.backup_feed import run_backup_feed
from kraken_engine.tasks.continuity import Continuity
from kraken_engine.tasks.watchdog import run_watchdog

TOPIC = Trades("BTC/USD")


@attrs.define
class Tape:
    """A REST API with a trade a second, whose numbers are its times, and which gives ten at once: those after ``since``
    or the last ones."""

    asked: list[int | None] = attrs.field(factory=list[int | None])

    async def trades(self, symbol: str, *, since: int | None = None, timeout_s: float | None = None) -> TradeHistory:
        self.asked.append(since)
        await trio.sleep(0.1)
        newest = int(trio.current_time())
        first = newest - 9 if since is None else since + 1
        found = tuple(trade(number) for number in range(first, min(first + 10, newest + 1)))
        return TradeHistory(trades=found, last=found[-1].trade_id if found else since or 0)

    async def symbols(self, *, timeout_s: float | None = None) -> object:
        await trio.lowlevel.checkpoint()
        return None

    async def system_status(self, *, timeout_s: float | None = None) -> VenueStatus:
        raise AssertionError("nobody is away")

    depth = ohlc = ticker = system_status  # nobody asks


def trade(number: int) -> Trade:
    return Trade(
        symbol=TOPIC.symbol, source=Source.REST, received_s=trio.current_time(), venue_time=None,
        integrity=Integrity.UNVERIFIED, side=Side.BUY, price=Decimal(1), qty=Decimal(1), order_type="limit",
        trade_id=number,
    )  # fmt: skip


async def test_trades_of_a_later_outage_are_not_sought_from_the_end_of_an_earlier_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    rest, publisher, clock = Tape(), Publisher(), real_runtime().clock
    continuity = Continuity(settings=FailoverSettings(), publisher=publisher, clock=clock, kpis=Kpis(now=clock.now()))
    questions: Questions = rest  # type: ignore[assignment] # the rest of it is not asked
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_watchdog, continuity)
        nursery.start_soon(run_backup_feed, continuity, questions)
        await trio.sleep(100)
        continuity.want(TOPIC.key, TOPIC.wire_key)
        await trio.sleep(20)
        assert rest.asked[0] is None
        assert None not in rest.asked[1:]
        continuity.sources.publish(TOPIC.key, Live(at_s=clock.now(), channel="trade", symbol=TOPIC.symbol))
        await trio.sleep(3600)
        before = len(rest.asked)
        continuity.sources.lose(TOPIC.key, "the line is gone", now=clock.now())
        await trio.sleep(20)
        assert rest.asked[before] is None
        latest = publisher.latest(TOPIC.key)
        assert isinstance(latest, Trade)
        assert latest.trade_id >= trio.current_time() - 10, "what is called live is of now"
        nursery.cancel_scope.cancel()
