"""What happened to an account while nobody watched: which questions to ask, and how the answers add up.

A snapshot says how things are, not how they came to be. This closes the hole between what was known and the snapshot:
fills that were missed, in order, orders that closed meanwhile, and orders that came and went unseen. All of it is put
down as reports that go through the same checks as those of the stream, on a copy; only when every quantity adds up is
anything taken over.

Three cases. The *first* look at an account: the snapshot is where its story begins, and older fills are history. A
*restart*: the fills up to some point are on record, the orders are not. A *reconnect*: both are known.

Nothing is asked that the snapshot answers: when no order is gone, and its fills reach back far enough, REST is not
needed. An order that came and went unfilled leaves no trace then; it changed nothing.

REST may run ahead of the snapshot, and behind it: what is newer than the newest fill of the snapshot is left to the
stream, whose reports follow; what is not there yet makes the closure fail, and the questions are asked again.

Knows nothing of connections, and how the questions are asked. Sources: docs "Executions", "Get Closed Orders",
"Query Orders Info", "Get Trades History".
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from decimal import Decimal

import attrs

from kraken_engine.model import OrderStatus, minus, plus
from kraken_engine.normalise.account_events import ExecType, ExecutionReport, Order
from kraken_engine.normalise.events import AccountEvent
from kraken_engine.state.orders import Inconsistency, Orders, opened
from kraken_engine.state.venue_time import is_before, time_key

__all__ = [
    "SNAPSHOT_FILLS",
    "AskClosed",
    "AskOrders",
    "AskTrades",
    "Beginning",
    "GapClosure",
    "History",
    "Question",
    "Unresolved",
]

SNAPSHOT_FILLS = 50
"""So many fills a snapshot repeats; when there are fewer, there never were more."""

_ZERO = Decimal(0)
_EPOCH = "1970-01-01T00:00:00Z"


@attrs.frozen
class AskClosed:
    """Which orders closed at ``since`` or later?"""

    since: str


@attrs.frozen
class AskTrades:
    """Which fills were there at ``since`` or later?"""

    since: str


@attrs.frozen
class AskOrders:
    """How are these orders?"""

    order_ids: tuple[str, ...]


Question = AskClosed | AskTrades | AskOrders


class Beginning(enum.Enum):
    """What is known from before the hole."""

    FIRST = "first"
    RESTART = "restart"
    RECONNECT = "reconnect"


class Unresolved(Exception):
    """The answers do not add up (yet)."""


@attrs.frozen(kw_only=True)
class History:
    """Where the story of an account begins: what is older is nobody's news."""

    until: str = ""
    """Venue time; what happened before it is history ..."""
    fills: frozenset[str] = frozenset()
    """... and so are these fills, which were in the very first snapshot."""

    def has(self, report: ExecutionReport) -> bool:
        """Return whether ``report`` is about a time before the story."""
        return report.exec_id in self.fills or _time(report) < time_key(self.until)


@attrs.define
class GapClosure:
    """Closes one hole; a new snapshot needs a new closure."""

    orders: Orders
    """What was known before. Not changed until :meth:`close`."""
    beginning: Beginning
    since: str | None
    """Venue time up to which everything is known; a little earlier does no harm."""
    history: History
    """What happened before the account was ever watched, and is not to be told."""
    snapshot: Sequence[ExecutionReport]
    """The reports of the snapshot: open orders, and its last fills."""
    streamed: frozenset[str] = frozenset()
    """Orders whose first report came on the stream after the snapshot: their story is told there."""
    _live: dict[str, ExecutionReport] = attrs.field(factory=dict[str, ExecutionReport], init=False)
    _recent: dict[str, ExecutionReport] = attrs.field(factory=dict[str, ExecutionReport], init=False)
    _ended: dict[str, ExecutionReport] = attrs.field(factory=dict[str, ExecutionReport], init=False)
    _fetched: dict[str, ExecutionReport] = attrs.field(factory=dict[str, ExecutionReport], init=False)
    _asked: list[Question] = attrs.field(factory=list[Question], init=False)
    _newest: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    """Number of the last trade in the snapshot, by symbol."""
    _oldest: str = attrs.field(default="", init=False)
    """Time of the oldest fill in the snapshot."""

    def __attrs_post_init__(self) -> None:
        for report in self.snapshot:
            if report.exec_type is ExecType.TRADE and report.exec_id is not None:
                self._recent[report.exec_id] = report
                if report.symbol is not None and report.trade_id is not None:
                    self._newest[report.symbol] = max(self._newest.get(report.symbol, 0), report.trade_id)
            elif report.order_id is not None:
                self._live[report.order_id] = report
        self._oldest = min(map(_time, self._recent.values()), default="")

    # -- questions and answers

    def question(self) -> Question | None:
        """Return what has to be asked next, or None when everything there is to know is here."""
        if self.beginning is Beginning.FIRST:
            return None
        since = self.since or self.history.until or _EPOCH
        unclear = (*self._vanished(), *self._orphaned())
        if unclear and not self._has_asked(AskClosed):
            return AskClosed(since)
        if not self._has_asked(AskTrades) and (not self._reaches_back() or self._short()):
            return AskTrades(since)
        if unclear and not self._has_asked(AskOrders):
            return AskOrders(unclear)
        return None

    def answered(self, question: Question, reports: Iterable[ExecutionReport]) -> None:
        """Take the answer: reports of orders (full ones, with their last status and quantity) or of fills."""
        self._asked.append(question)
        for report in reports:
            if isinstance(question, AskTrades):
                if report.exec_id is not None:
                    self._fetched.setdefault(report.exec_id, report)
            elif report.order_id is not None and report.status is not None and report.status.is_terminal:
                self._ended[report.order_id] = report

    def again(self) -> None:
        """Forget that anything was asked: REST was behind, and is asked once more."""
        self._asked.clear()

    # -- the closure

    def close(self) -> list[AccountEvent]:
        """Take everything over, and return what readers are told, in the order in which it happened.

        Raises:
            Unresolved: the answers do not add up; nothing was changed.
        """
        trial = self.orders.copy()
        told: list[AccountEvent] = []
        try:
            for order in self._adopted(trial):
                trial.put(order)
            for report in self._story(trial):
                told.extend(trial.apply(report, replayed=True))
            for order_id, report in self._live.items():
                update = trial.refresh(report)
                if not _same(self.orders.get_open(order_id), update.order):
                    told.append(update)
        except Inconsistency as error:
            raise Unresolved(str(error)) from None
        if self.beginning is Beginning.FIRST:
            trial.note_fills(self._recent)
        self.orders.become(trial)
        return told

    def _adopted(self, known: Orders) -> list[Order]:
        """Return the orders as they were before their missed fills, those that were not known before included."""
        adopted: list[Order] = []
        for order_id, report in (*self._live.items(), *self._concluded().items()):
            still_open = known.get_open(order_id)
            if still_open is not None:
                if report.order_qty is not None:  # amended, perhaps, before it was filled further
                    adopted.append(attrs.evolve(still_open, order_qty=report.order_qty))
                continue
            order = opened(report, external=known.is_external(report.cl_ord_id))
            before = known.get(order_id)
            if before is not None:  # said to have ended, and it has not
                adopted.append(attrs.evolve(before, status=order.status, evidence=None))
                continue
            base = self._base(order_id, report, order.cum_qty)
            if base < 0:
                raise Inconsistency(f"{order_id}: more fills than the {order.cum_qty:f} it has")
            status = OrderStatus.PARTIALLY_FILLED if base > 0 else OrderStatus.PENDING_NEW
            adopted.append(attrs.evolve(order, cum_qty=base, status=status, evidence=None))
        return adopted

    def _base(self, order_id: str, report: ExecutionReport, cum_qty: Decimal) -> Decimal:
        """Return what of an order that was not known before had been filled before the hole, and is not told."""
        if self._began_in_the_hole(report):
            return _sum(fill for fill in self._fills_of(order_id) if self.history.has(fill))
        return minus(cum_qty, _sum(self._unseen(order_id)))

    def _began_in_the_hole(self, report: ExecutionReport) -> bool:
        """Whether all fills of an order that was not known before have to be found."""
        if self.beginning is not Beginning.RECONNECT:
            return False
        if any(self.orders.has_fill(fill.exec_id or "") for fill in self._fills_of(report.order_id or "")):
            return False  # an earlier process knew it
        return report.opened_time is None or not is_before(report.opened_time, self.history.until)

    def _story(self, known: Orders) -> list[ExecutionReport]:
        """Return the missed fills and endings in the order in which they happened."""
        story: list[tuple[tuple[str, int, int, int], ExecutionReport]] = []
        told = {**self._live, **self._concluded()}
        for order_id, report in told.items():
            order = known.get(order_id)
            assert order is not None
            fills = self._chosen(order, report)
            at = ""
            for place, fill in enumerate(fills):
                at = max(at, _time(fill))  # one order's fills stay in their order, however their times are rounded
                story.append(((at, 0, fill.trade_id or 0, place), fill))
            if order_id not in self._live:
                story.append(((max(at, _time(report)), 1, 0, 0), report))
        for order_id in self._vanished():
            raise Inconsistency(f"{order_id}: not open any more, and the venue does not say how it ended")
        for order_id in self._orphaned():
            raise Inconsistency(f"{order_id}: filled, and the venue does not say what order it is")
        return [report for _, report in sorted(story, key=lambda entry: entry[0])]

    def _chosen(self, order: Order, report: ExecutionReport) -> list[ExecutionReport]:
        """Return the missed fills that lead from what is known of ``order`` to what the venue says, oldest first."""
        wanted = order.cum_qty if report.cum_qty is None else report.cum_qty
        chosen: list[ExecutionReport] = []
        reached = order.cum_qty
        for fill in self._unseen(order.order_id):
            if reached >= wanted:
                break  # REST is ahead: the rest will come on the stream
            assert fill.last_qty is not None
            reached = plus(reached, fill.last_qty)
            chosen.append(fill)
        if reached != wanted:
            raise Inconsistency(f"{order.order_id}: fills for {reached:f} are known, the venue says {wanted:f}")
        return chosen

    def _unseen(self, order_id: str) -> list[ExecutionReport]:
        """Return the fills of one order that were not told yet and belong before the snapshot, oldest first."""
        if self.beginning is Beginning.FIRST:
            return []
        missed = [fill for fill in self._fills_of(order_id) if self._is_missed(fill.exec_id or "", fill)]
        numbered = all(fill.trade_id is not None for fill in missed)  # an order has one symbol: its trades are in order
        return sorted(missed, key=lambda fill: ((fill.trade_id or 0) if numbered else 0, _time(fill)))

    def _fills_of(self, order_id: str) -> list[ExecutionReport]:
        return [fill for fill in {**self._fetched, **self._recent}.values() if fill.order_id == order_id]

    def _is_missed(self, exec_id: str, fill: ExecutionReport) -> bool:
        """Whether a fill is neither told nor history, and belongs before the snapshot."""
        if self.orders.has_fill(exec_id) or self.history.has(fill):
            return False
        if exec_id in self._recent:
            return True
        if len(self._recent) < SNAPSHOT_FILLS:
            return False  # the snapshot had all there were: this one is newer
        # Not among the last ones, so it is older than all of them, or newer than the snapshot. Numbers of trades tell
        # exactly; REST's times are rounded.
        newest = self._newest.get(fill.symbol or "")
        if newest is not None and fill.trade_id is not None:
            return fill.trade_id < newest
        return _time(fill) <= self._oldest

    def _concluded(self) -> dict[str, ExecutionReport]:
        """Return the orders that are known to have ended in the hole."""
        return {
            order_id: report
            for order_id, report in self._ended.items()
            if order_id not in self._live and order_id not in self.streamed and self._is_news(order_id, report)
        }

    def _is_news(self, order_id: str, ending: ExecutionReport) -> bool:
        known = self.orders.get(order_id)
        if known is not None:
            return known.is_open
        if self.orders.has_ended(order_id) or self.history.has(ending):
            return False
        # REST is asked a little too far back, and names what ended before the hole: an earlier process told of that.
        return self.since is None or _time(ending) >= time_key(self.since) or bool(self._unseen(order_id))

    def _vanished(self) -> list[str]:
        """Return the orders that were open before, and of which neither the snapshot nor an answer says anything."""
        return [
            order_id for order_id in self.orders.open() if order_id not in self._live and order_id not in self._ended
        ]

    def _orphaned(self) -> list[str]:
        """Return the orders of which there are missed fills, and nothing else."""
        if self.beginning is Beginning.FIRST:
            return []
        told = {**self._live, **self._concluded()}
        fills = {**self._fetched, **self._recent}
        missed = [fill.order_id or "" for exec_id, fill in fills.items() if self._is_missed(exec_id, fill)]
        return [order_id for order_id in dict.fromkeys(missed) if order_id not in told]

    def _reaches_back(self) -> bool:
        """Whether the fills of the snapshot leave no room for others between what is known and them."""
        if not self._recent or len(self._recent) < SNAPSHOT_FILLS:
            return True
        since = time_key(self.since or "")
        return any(self.orders.has_fill(exec_id) for exec_id in self._recent) or any(
            _time(fill) < since for fill in self._recent.values()
        )

    def _short(self) -> bool:
        """Whether an order was filled by more than the fills that are here."""
        for order_id, report in {**self._live, **self._concluded()}.items():
            known = self.orders.get(order_id)
            if report.cum_qty is None:
                continue
            base = self._base(order_id, report, report.cum_qty) if known is None else known.cum_qty
            if plus(base, _sum(self._unseen(order_id))) < report.cum_qty:
                return True
        return False

    def _has_asked(self, kind: type[Question]) -> bool:
        return any(isinstance(question, kind) for question in self._asked)


def _sum(fills: Iterable[ExecutionReport]) -> Decimal:
    total = _ZERO
    for fill in fills:
        assert fill.last_qty is not None
        total = plus(total, fill.last_qty)
    return total


def _same(before: Order | None, after: Order) -> bool:
    return before is not None and attrs.evolve(after, updated_time=before.updated_time) == before


def _time(report: ExecutionReport) -> str:
    return time_key(report.venue_time or "")
