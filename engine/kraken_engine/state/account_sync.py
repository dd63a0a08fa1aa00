"""Decides, from events alone, whether an account is in step with the venue, and what has to happen until it is.

::

    DOWN ──connected──> AWAITING ──both snapshots──> CLOSING ──all adds up──> LIVE
      ^                    ^                            │                       │
      │                    └──── gap, refusal, doubt ───┴───────────────────────┘
      └──────────────────────────── line down ──────────────────────────────────┘

A subscription's messages are numbered; a number that is missing, or a report that contradicts what is known, costs the
state of that channel until a fresh snapshot is here (I-14). After a snapshot of executions the hole before it is closed
(:mod:`~kraken_engine.state.gap_closure`); reports that arrive meanwhile wait, and follow in their order. Only then
is the account live, and only then may it trade (I-15).

Knows nothing of sockets, tasks or REST: it is told the time and what came, and answers with what to do.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping

import attrs

from kraken_engine.codec.ws_v2_private import BalancesMessage, ExecutionsMessage
from kraken_engine.config import ReconciliationSettings
from kraken_engine.errors import DecodeError
from kraken_engine.model import Instrument, Source
from kraken_engine.normalise.account import balance_reports, execution_reports
from kraken_engine.normalise.account_events import (
    AccountDiffers,
    AccountGap,
    AccountLive,
    AccountStale,
    ExecutionReport,
    Fill,
)
from kraken_engine.normalise.events import AccountEvent
from kraken_engine.state.balances import Balances, holds
from kraken_engine.state.gap_closure import Beginning, GapClosure, History, Question, Unresolved
from kraken_engine.state.orders import Inconsistency, Orders
from kraken_engine.state.positions import Positions
from kraken_engine.state.sequence import Place, Sequence
from kraken_engine.state.venue_time import is_before

__all__ = ["CHANNELS", "AccountAction", "AccountSync", "Ask", "Phase", "Resubscribe", "Tell"]

CHANNELS = ("executions", "balances")
_MESSAGES_KEPT = 64


class Phase(enum.Enum):
    """How far an account has come."""

    DOWN = "down"
    """No connection."""
    AWAITING = "awaiting"
    """Connected, and a snapshot is not here yet."""
    CLOSING = "closing"
    """What happened before the snapshot is being found out."""
    LIVE = "live"


@attrs.frozen
class Tell:
    """Publish this."""

    event: AccountEvent | AccountLive | AccountGap | AccountStale | AccountDiffers


@attrs.frozen
class Resubscribe:
    """Ask the venue for a fresh snapshot of a channel."""

    channel: str
    reason: str


@attrs.frozen
class Ask:
    """Ask REST, and bring the answer to :meth:`AccountSync.answered` or :meth:`AccountSync.failed`."""

    question: Question
    generation: int


AccountAction = Tell | Resubscribe | Ask


@attrs.define
class _Channel:
    sequence: Sequence = attrs.field(factory=Sequence)
    whole: bool = False
    """A snapshot is here, and nothing is missing since."""
    due: float = math.inf
    """When a snapshot that was asked for counts as overdue."""
    taken: dict[int, ExecutionsMessage | BalancesMessage] = attrs.field(
        factory=dict[int, ExecutionsMessage | BalancesMessage]
    )
    """The last messages by number: what comes under the same number has to be the same."""


@attrs.define(eq=False)
class AccountSync:
    """The state of one account, kept from the messages of its private line."""

    account: str
    instruments: Mapping[str, Instrument]
    settings: ReconciliationSettings = attrs.field(factory=ReconciliationSettings)
    orders: Orders = attrs.field(init=False)
    balances: Balances = attrs.field(init=False)
    positions: Positions = attrs.field(init=False)
    history: History | None = attrs.field(default=None, init=False)
    """Where the story begins; None: the next snapshot is its beginning."""
    why: str = attrs.field(default="not connected yet", init=False)
    """Why the account is not live; empty when it is."""
    fills_told: int = attrs.field(default=0, init=False)
    fills_replayed: int = attrs.field(default=0, init=False)
    closures: int = attrs.field(default=0, init=False)
    unresolved: int = attrs.field(default=0, init=False)
    """Closures that did not add up at first."""
    gaps: int = attrs.field(default=0, init=False)
    """Losses noticed on a live connection."""
    _channels: dict[str, _Channel] = attrs.field(init=False)
    _connected: bool = attrs.field(default=False, init=False)
    _live: bool = attrs.field(default=False, init=False)
    _suspected: bool = attrs.field(default=False, init=False)
    """The connection is silent: perhaps there is something to hear, and we do not hear it."""
    _stale_since: float | None = attrs.field(default=None, init=False)
    _stale_why: str = attrs.field(default="", init=False)
    _complete_until: str | None = attrs.field(default=None, init=False)
    """Venue time up to which every report was taken."""
    _asked_time: str | None = attrs.field(default=None, init=False)
    """Venue time of the request behind the subscription that was confirmed last: its snapshot is not older."""
    _snapshot_time: str | None = attrs.field(default=None, init=False)
    """That of the present snapshot."""
    _closure: GapClosure | None = attrs.field(default=None, init=False)
    _waiting: list[ExecutionReport] = attrs.field(factory=list[ExecutionReport], init=False)
    _generation: int = attrs.field(default=0, init=False)
    _asking: bool = attrs.field(default=False, init=False)
    _tries: int = attrs.field(default=0, init=False)
    _retry_at: float = attrs.field(default=math.inf, init=False)
    _replayed: int = attrs.field(default=0, init=False)
    _renewed: bool = attrs.field(default=False, init=False)
    """A snapshot came since the account was live."""
    _asked: bool = attrs.field(default=False, init=False)
    """REST was asked since the account was live."""
    _restarted: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.orders = Orders(self.account)
        self.balances = Balances(self.account)
        self.positions = Positions(self.settings.rest_lag_s)
        self._channels = {channel: _Channel() for channel in CHANNELS}

    def restore(self, history: History, *, fills: Iterable[str], until: str | None) -> None:
        """Continue a story that is on record: its beginning, the fills told last, and the time of the last of them."""
        self.history = history
        self.orders.note_fills(fills)
        self._complete_until = until or history.until
        self._restarted = True

    # -- questions

    @property
    def phase(self) -> Phase:
        """How far the account has come."""
        if self._live:
            return Phase.LIVE
        if not self._connected:
            return Phase.DOWN
        return Phase.CLOSING if self._closure is not None else Phase.AWAITING

    @property
    def complete_until(self) -> str | None:
        """Venue time up to which every report was taken; None: no snapshot yet."""
        return self._complete_until

    @property
    def may_trade(self) -> bool:
        """Whether a new order may leave (I-15)."""
        return self._live

    @property
    def stale(self) -> AccountStale | None:
        """Why the account may not be relied on, or None when it may."""
        return None if self._live else AccountStale(self.account, self.why, since_s=self._stale_since)

    @property
    def next_due(self) -> float | None:
        """When :meth:`tick` is wanted next."""
        due = min(self._retry_at, *(channel.due for channel in self._channels.values()))
        return None if due == math.inf else due

    # -- the connection

    def connected(self, *, now: float) -> list[AccountAction]:
        """A connection is up, and the venue is about to be asked for both channels."""
        self._connected = True
        self._asked_time = None
        for channel in self._channels.values():
            channel.due = now + self.settings.snapshot_timeout_s
        return self._stop("waiting for the snapshots", now)

    def disconnected(self, why: str, *, now: float) -> list[AccountAction]:
        """The connection is gone, and with it everything that was current."""
        self._connected = self._suspected = False
        for name in CHANNELS:
            self._forget(name)
        return self._stop(why, now)

    def confirmed(self, channel: str, *, venue_time: str | None, now: float) -> None:
        """The venue confirmed a subscription: its snapshot is not older than ``venue_time``."""
        known = self._channels.get(channel)
        if known is None:
            return
        if known.sequence.last is None:
            known.due = now + self.settings.snapshot_timeout_s
        if channel == "executions":
            self._asked_time = venue_time

    def refused(self, why: str, *, now: float) -> list[AccountAction]:
        """The venue refused a subscription, and nothing here can heal that: say why the account stays out of step."""
        return self._stop(why, now)

    def suspect(self, why: str, *, now: float) -> list[AccountAction]:
        """The connection is silent: until it speaks again, nothing here counts as current."""
        self._suspected = True
        return self._stop(why, now)

    def spoke_again(self, *, now: float) -> list[AccountAction]:
        """The silence is over. What was lost in it shows in the sequence; if nothing was, all is current."""
        self._suspected = False
        return self._perhaps_live(now)

    def lose(self, channel: str, why: str, *, now: float, ask: bool = True) -> list[AccountAction]:
        """Messages of ``channel`` are missing, or may be: nothing of it is current until a fresh snapshot."""
        if channel not in self._channels:
            return []
        self.gaps += 1
        self._forget(channel)
        actions = self._stop(f"{channel}: {why}", now)
        if ask:
            self._channels[channel].due = now + self.settings.snapshot_timeout_s
            actions.append(Resubscribe(channel, why))
        return actions

    # -- messages

    def receive(self, message: ExecutionsMessage | BalancesMessage, *, received_s: float) -> list[AccountAction]:
        """Take one message of either channel."""
        executions = isinstance(message, ExecutionsMessage)
        name = "executions" if executions else "balances"
        channel, snapshot = self._channels[name], message.type == "snapshot"
        expected = (channel.sequence.last or 0) + 1
        match channel.sequence.take(message.sequence, snapshot=snapshot):
            case Place.EARLY:
                return []
            case Place.REPEATED:
                known = channel.taken.get(message.sequence)
                if known is None or known == message:
                    return []
                return self.lose(name, f"sequence {message.sequence} came twice, and differs", now=received_s)
            case Place.BEYOND:
                return self.lose(name, f"expected sequence {expected}, got {message.sequence}", now=received_s)
            case Place.NEXT:
                pass
        if snapshot:
            channel.due = math.inf
            channel.taken.clear()
            self._renewed = True
        channel.taken[message.sequence] = message
        channel.taken.pop(message.sequence - _MESSAGES_KEPT, None)
        try:
            if isinstance(message, BalancesMessage):
                return self._take_balances(message, received_s)
            reports = execution_reports(message, account=self.account, received_s=received_s)
        except DecodeError as error:
            return self.lose(name, str(error), now=received_s)
        return self._begin(reports, received_s) if snapshot else self._take(reports, received_s)

    def answered(self, ask: Ask, reports: Iterable[ExecutionReport], *, now: float) -> list[AccountAction]:
        """Take REST's answer; one to an earlier snapshot's question is worth nothing any more."""
        if ask.generation != self._generation or self._closure is None:
            return []
        self._asking = False
        self._closure.answered(ask.question, reports)
        return self._advance(now)

    def failed(self, ask: Ask, why: str, *, now: float) -> list[AccountAction]:
        """REST did not answer: say so, and ask again later, for as long as it takes."""
        if ask.generation != self._generation or self._closure is None:
            return []
        self._asking = False
        self.why = f"missed reports cannot be fetched: {why}"
        self._retry_at = now + self.settings.retry_pause_s
        return []

    def tick(self, *, now: float) -> list[AccountAction]:
        """Do what is due by now."""
        actions: list[AccountAction] = []
        for name, channel in self._channels.items():
            if channel.due <= now:
                why = f"no snapshot within {self.settings.snapshot_timeout_s:g} s"
                actions += self.lose(name, why, now=now)
        if self._retry_at <= now:
            self._retry_at = math.inf
            actions += self._advance(now)
        return actions

    # -- executions

    def _begin(self, reports: list[ExecutionReport], now: float) -> list[AccountAction]:
        """A snapshot of executions is here: the hole before it has to be closed."""
        self._channels["executions"].whole = False
        self._waiting.clear()
        self._generation += 1
        self._snapshot_time = self._asked_time
        self._tries, self._asking, self._retry_at = 0, False, math.inf
        if self.history is None:
            if self._snapshot_time is None:  # it would not be known what is older than the story
                return self.lose("executions", "a snapshot before its confirmation", now=now)
            beginning = Beginning.FIRST
            self.history = self._beginning_of_history(reports)
        else:
            beginning = Beginning.RESTART if self._restarted else Beginning.RECONNECT
        self._closure = GapClosure(self.orders, beginning, self._complete_until, self.history, reports)
        stopped = self._stop("finding out what happened before the snapshot", now)
        return stopped + self._advance(now)

    def _beginning_of_history(self, reports: list[ExecutionReport]) -> History:
        until = self._snapshot_time or ""
        fills = [r.exec_id for r in reports if r.exec_id is not None and not is_before(r.venue_time or "", until)]
        return History(until=until, fills=frozenset(fills))

    def _take(self, reports: list[ExecutionReport], now: float) -> list[AccountAction]:
        """Merge the reports of one update, or let them wait for the closure."""
        if self._closure is not None:
            self._waiting += reports
            if len(self._waiting) > self.settings.most_waiting:
                return self.lose("executions", f"{len(self._waiting)} reports waited for REST", now=now)
            return []
        if not self._channels["executions"].whole:
            return []
        return self._merge(reports, now)

    def _merge(self, reports: list[ExecutionReport], now: float) -> list[AccountAction]:
        actions: list[AccountAction] = []
        for report in reports:
            try:
                events = self.orders.apply(report)
            except Inconsistency as error:
                return actions + self.lose("executions", str(error), now=now)
            actions += self._told(events)
            self._note_time(report.venue_time)
        return actions + self._holds_changed()

    def _advance(self, now: float) -> list[AccountAction]:
        """Ask what is still unknown; when nothing is, close the hole and let go what waited."""
        closure = self._closure
        if closure is None or self._asking:
            return []
        closure.streamed = frozenset(report.order_id for report in self._waiting if report.order_id is not None)
        question = closure.question()
        if question is not None:
            self._asking = self._asked = True
            return [Ask(question, self._generation)]
        try:
            events = closure.close()
        except Unresolved as error:
            return self._not_yet(closure, str(error), now)
        self._closure, self._restarted = None, False
        self.closures += 1
        self._channels["executions"].whole = True
        self._note_time(self._snapshot_time)
        self._replayed += sum(isinstance(event, Fill) for event in events)
        waiting, self._waiting = self._waiting, []
        actions = self._told(events) + self._merge(waiting, now)
        return actions + self._perhaps_live(now)

    def _not_yet(self, closure: GapClosure, why: str, now: float) -> list[AccountAction]:
        self.unresolved += 1
        self._tries += 1
        self.why = f"what was missed does not add up yet: {why}"
        if self._tries >= self.settings.tries:
            return self.lose("executions", why, now=now)
        closure.again()
        self._retry_at = now + self.settings.retry_pause_s
        return []

    def _told(self, events: Iterable[AccountEvent]) -> list[AccountAction]:
        told: list[AccountAction] = []
        for event in events:
            if isinstance(event, Fill):
                self.fills_told += 1
                self.fills_replayed += event.replayed
                self.positions.apply(event)
            told.append(Tell(event))
        return told

    def _note_time(self, venue_time: str | None) -> None:
        if venue_time is not None and is_before(self._complete_until or "", venue_time):
            self._complete_until = venue_time

    # -- balances

    def _take_balances(self, message: BalancesMessage, now: float) -> list[AccountAction]:
        reports = balance_reports(message)
        channel = self._channels["balances"]
        if message.type == "snapshot":
            channel.whole = True
            updates = self.balances.snapshot(reports, source=Source.WEBSOCKET_V2, received_s=now)
            return [*map(Tell, updates), *self._holds_changed(), *self._perhaps_live(now)]
        if not channel.whole:
            return []
        return [Tell(self.balances.apply(report, received_s=now)) for report in reports]

    def _holds_changed(self) -> list[AccountAction]:
        held = holds(self.orders.open().values(), self.instruments)
        return [Tell(update) for update in self.balances.hold(held)]

    # -- in step, or not

    def _perhaps_live(self, now: float) -> list[AccountAction]:
        if self._live or self._suspected or not all(channel.whole for channel in self._channels.values()):
            return []
        self._live = True
        why, since = self._stale_why, self._stale_since
        self.why = ""
        told: list[AccountAction] = []
        if since is not None:
            healed_by = "rest" if self._asked else "snapshot" if self._renewed else "line"
            told.append(
                Tell(
                    AccountGap(
                        at_s=now,
                        channel="account",
                        symbol=self.account,
                        start_s=since,
                        end_s=now,
                        reason=why,
                        healed_by=healed_by,
                        fills=self._replayed,
                    )
                )
            )
        self._stale_since, self._replayed, self._renewed, self._asked = None, 0, False, False
        return [*told, Tell(AccountLive(at_s=now, channel="account", symbol=self.account))]

    def _stop(self, why: str, now: float) -> list[AccountAction]:
        """Note why the account is not in step; readers are told once, when it stops being."""
        self.why = why
        if not self._live:
            return []
        self._live = False
        self.positions.abandon()  # fills may be missing from what its answer is put together with
        self._stale_since, self._stale_why = now, why
        return [Tell(AccountStale(self.account, why, since_s=now))]

    def _forget(self, name: str) -> None:
        channel = self._channels[name]
        channel.sequence.reset()
        channel.whole, channel.due = False, math.inf
        if name == "executions":
            self._closure = self._asked_time = None
            self._waiting.clear()
            self._generation += 1
            self._asking, self._retry_at = False, math.inf
