"""Bugs planted in the engine: each one is a mistake somebody could make, and has to be found by the judges.

A mutant patches the engine while it is applied; nothing here is imported by the engine.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import pytest

from kraken_engine.control.backoff import Backoff
from kraken_engine.control.connect_budget import ConnectBudget
from kraken_engine.control.liveness import Liveness
from kraken_engine.feed.feed import Feed
from kraken_engine.feed.publisher import Publisher
from kraken_engine.feed.subscription import Subscription
from kraken_engine.normalise import book_view
from kraken_engine.normalise.events import Event, Live, Trade
from kraken_engine.sim.clock import WALL_START_NS
from kraken_engine.state import order_book
from kraken_engine.state.book_channel import BookChannel
from kraken_engine.state.book_sync import BookSync
from kraken_engine.state.channel_view import SimpleChannel
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.subscriptions import Subscriptions
from kraken_engine.state.trades import TradeSequence
from kraken_engine.tasks.line import Line
from kraken_engine.tasks.session import Session

Mutant = Callable[[pytest.MonkeyPatch], None]


class _Agrees(int):
    """A checksum that is equal to every other."""

    def __ne__(self, _: object) -> bool:
        return False


def checksum_not_checked(patch: pytest.MonkeyPatch) -> None:
    """A book is shown whatever its checksum says."""
    patch.setattr(order_book, "crc32", lambda data, start=0: _Agrees(zlib.crc32(data, start)))


def line_loss_not_told(patch: pytest.MonkeyPatch) -> None:
    """When a connection ends, nobody calls its streams stale."""
    for view in (BookChannel, SimpleChannel):
        patch.setattr(view, "lose", lambda *_, **__: [])


def silence_not_told(patch: pytest.MonkeyPatch) -> None:
    """A quiet line stays live until it is replaced."""
    patch.setattr(Publisher, "suspect", lambda *_, **__: None)


def watchdog_off(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks at the silence of a line."""

    def check(self: Liveness, *, now: float) -> list[object]:
        self.next_check = now + 1
        return []

    patch.setattr(Liveness, "check", check)


def depth_change_not_told(patch: pytest.MonkeyPatch) -> None:
    """A book stays live while its subscription changes."""
    patch.setattr(Publisher, "lose", lambda *_, **__: None)


def heartbeat_makes_live(patch: pytest.MonkeyPatch) -> None:
    """The first frame after a silence makes everything live again."""
    deliver = Session.deliver

    async def wrong(self: Session, frames: list[bytes], received_s: float) -> None:
        for key in self.line.stream_keys():
            if self.line.outlet.stale(key) is not None:
                self.line.outlet.publish(key, Live(at_s=received_s, channel=str(key[0]), symbol=str(key[1])))
        await deliver(self, frames, received_s)

    patch.setattr(Session, "deliver", wrong)


def gap_swallowed(patch: pytest.MonkeyPatch) -> None:
    """Missing trades are not announced."""
    receive = TradeSequence.receive
    patch.setattr(TradeSequence, "receive", lambda self, trade, *, now: receive(self, trade, now=now)[-1:])


def trades_repeated(patch: pytest.MonkeyPatch) -> None:
    """A trade that comes again is passed on again."""
    receive = TradeSequence.receive

    def wrong(self: TradeSequence, trade: Trade, *, now: float) -> Sequence[Event]:
        return receive(self, trade, now=now) or (trade,)

    patch.setattr(TradeSequence, "receive", wrong)


def snapshot_not_asked_for(patch: pytest.MonkeyPatch) -> None:
    """A book that lost its way is never asked for anew."""
    patch.setattr(Line, "subscribe_again", lambda *_: None)


def reconnect_without_subscriptions(patch: pytest.MonkeyPatch) -> None:
    """On a new connection the old subscriptions are believed to hold."""
    connected = Subscriptions.connected

    def wrong(self: Subscriptions, *, now: float) -> None:
        if not hasattr(self, "before"):
            self.before = True  # type: ignore[attr-defined]  # the mutant remembers that it has been here
            connected(self, now=now)

    patch.setattr(Subscriptions, "connected", wrong)


def no_distance_between_attempts(patch: pytest.MonkeyPatch) -> None:
    """Attempts to connect follow each other at once."""
    patch.setattr(ConnectBudget, "reserve", lambda *_, **__: 0.0)
    patch.setattr(Backoff, "failed", lambda *_, **__: 0.05)


def conflation_overtakes_notices(patch: pytest.MonkeyPatch) -> None:
    """A newer value takes the place of the unread one even when a notice came between them."""
    offer = Subscription.offer

    def wrong(self: Subscription, key: StreamKey, event: Event) -> None:
        entry = self._slots.get(key)
        if entry is not None:
            entry.after_notice = self._notices_seen
        offer(self, key, event)

    patch.setattr(Subscription, "offer", wrong)
    patch.setattr(Subscription, "_offer_notice", _notice_that_withdraws_nothing)


def _notice_that_withdraws_nothing(self: Subscription, key: StreamKey, event: Event) -> None:
    slots, self._slots = self._slots, {}
    _OFFER_NOTICE(self, key, event)
    self._slots = slots


_OFFER_NOTICE = Subscription._offer_notice


def loss_of_a_slow_reader_not_told(patch: pytest.MonkeyPatch) -> None:
    """Events dropped from a full queue are not announced."""

    def no_setter(self: Subscription, value: int) -> None:
        del self, value

    patch.setattr(Subscription, "_lagged", property(lambda _: 0, no_setter), raising=False)


def stale_values_handed_out(patch: pytest.MonkeyPatch) -> None:
    """``latest`` returns what it has."""
    latest = Feed.latest
    patch.setattr(Feed, "latest", lambda self, topic, **_: latest(self, topic, allow_stale=True))


def prices_through_floats(patch: pytest.MonkeyPatch) -> None:
    """A price makes a detour over binary floating point."""
    decimal = book_view._decimal
    patch.setattr(book_view, "_decimal", lambda token: type(decimal(token))(str(float(decimal(token)))))


def wall_clock_for_ages(patch: pytest.MonkeyPatch) -> None:
    """What was received when, and so how long a line has been silent, is told by the wall clock."""
    deliver = Session.deliver

    async def wrong(self: Session, frames: list[bytes], received_s: float) -> None:
        await deliver(self, frames, (self.line.runtime.clock.wall_ns() - WALL_START_NS) / 1e9)

    patch.setattr(Session, "deliver", wrong)


def already_subscribed_believed(patch: pytest.MonkeyPatch) -> None:
    """The venue's word that a subscription is there counts, whether data comes or not."""
    patch.setattr(Subscriptions, "_present_already", lambda self, entry, now: self._confirmed(entry, "subscribe"))


def lost_book_not_told(patch: pytest.MonkeyPatch) -> None:
    """A book that lost its way is dropped, and its readers are left with the last one."""
    drop = BookSync._drop
    patch.setattr(BookSync, "_drop", lambda self, reason, **times: drop(self, reason, **times)[:0])


MUTANTS: dict[str, Mutant] = {
    mutant.__name__: mutant
    for mutant in (
        checksum_not_checked,
        line_loss_not_told,
        silence_not_told,
        watchdog_off,
        depth_change_not_told,
        heartbeat_makes_live,
        gap_swallowed,
        trades_repeated,
        snapshot_not_asked_for,
        reconnect_without_subscriptions,
        no_distance_between_attempts,
        conflation_overtakes_notices,
        loss_of_a_slow_reader_not_told,
        stale_values_handed_out,
        prices_through_floats,
        wall_clock_for_ages,
        already_subscribed_believed,
        lost_book_not_told,
    )
}
