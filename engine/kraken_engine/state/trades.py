"""The sequence of one symbol's trades: each id once, in order, and every hole announced (I-5).

Knows nothing of why a trade is missing or comes twice; a reconnect, a snapshot that overlaps and a lost frame all
look the same here. Where several lines bring the trades, a hole that one of them leaves may be filled by another: it is
announced when all of them are past it, or when waiting has become too long.

Ids only grow, until the venue numbers its trades anew, or one came with an id that was none. Then what follows would be
taken for old, for as long as it takes to reach that id again. So the times are looked at as well: a trade with an id
that is not above the last one, but clearly later than that, begins the sequence anew. What comes with times from before
that is of the old numbering, and was told.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kraken_engine.errors import Stale
from kraken_engine.normalise.events import Event, Trade, TradeGap
from kraken_engine.state.venue_time import is_before, is_later_by

__all__ = ["RENUMBERED_S", "TRADE_PATIENCE_S", "MergedTrades", "SharedTrades", "TradeSequence", "renumbered"]

TRADE_PATIENCE_S = 0.5
"""How long trades wait for those before them that another line may still bring."""

RENUMBERED_S = 1.0
"""How much later than the last trade one with a lower id has to be; REST and WebSocket round times differently."""


def renumbered(last: Trade, trade: Trade) -> Stale:
    """Return how readers are told that ``trade`` follows ``last``, although its id is not above that one's."""
    why = f"trade ids went back from {last.trade_id} to {trade.trade_id}: what came between is not known"
    return Stale("trade", trade.symbol, why, since_s=last.received_s)


def _goes_back(last: Trade, trade: Trade) -> bool:
    """Return whether ``trade``, whose id is not above that of ``last``, is newer all the same."""
    if trade.venue_time is None or last.venue_time is None:
        return False
    return is_later_by(trade.venue_time, last.venue_time, RENUMBERED_S)


_REPEATED = 1000
"""So many trades may be given once more, with those of an old numbering among them; no answer has more."""


@attrs.define
class _Renumbering:
    """Tells trades of an old numbering from those of the present one, as long as the old ones may come again."""

    _until: str = attrs.field(default="", init=False)
    """Venue time of the last trade of the old numbering."""
    _left: int = attrs.field(default=0, init=False)

    def begin(self, last: Trade) -> None:
        self._until, self._left = last.venue_time or "", _REPEATED

    def is_old(self, trade: Trade) -> bool:
        """Return whether ``trade``, whose id would be news, is of the old numbering.

        It is asked so often and no more: should the venue's clock be set back, all would look old for ever.
        """
        if not self._left:
            return False
        self._left -= 1
        return trade.venue_time is not None and not is_before(self._until, trade.venue_time)


@attrs.define
class TradeSequence:
    """Passes each trade once; what is missing before one is announced first."""

    symbol: str
    latest: Trade | None = attrs.field(default=None)
    """The latest trade passed on, or known to have been."""
    repeated: int = attrs.field(default=0, init=False)
    """Trades dropped because they, or later ones, had been passed on."""
    missing: int = attrs.field(default=0, init=False)
    """Trades announced as missing."""
    _numbering: _Renumbering = attrs.field(factory=_Renumbering, init=False)

    @property
    def last_id(self) -> int | None:
        """Id of the latest trade passed on; None before the first."""
        return None if self.latest is None else self.latest.trade_id

    def receive(self, trade: Trade, *, now: float) -> Sequence[Event]:
        """Return what consumers are to see of ``trade``.

        That is itself, a :class:`TradeGap` and itself, :class:`~kraken_engine.errors.Stale` and itself where the ids
        went back, or nothing.
        """
        last, trade_id = self.latest, trade.trade_id
        if last is None:
            self.latest = trade
            return (trade,)
        if trade_id <= last.trade_id:
            if not _goes_back(last, trade):
                self.repeated += 1
                return ()
            self._numbering.begin(last)
            self.latest = trade
            return (renumbered(last, trade), trade)
        if self._numbering.is_old(trade):
            self.repeated += 1
            return ()
        self.latest = trade
        if trade_id == last.trade_id + 1:
            return (trade,)
        self.missing += trade_id - last.trade_id - 1
        gap = TradeGap(at_s=now, symbol=self.symbol, first=last.trade_id + 1, last=trade_id - 1)
        return (gap, trade)


@attrs.define
class MergedTrades:
    """One symbol's trades from several lines, as one sequence."""

    symbol: str
    repeated: int = attrs.field(default=0, init=False)
    """Trades dropped because another line, or the same one, had brought them."""
    missing: int = attrs.field(default=0, init=False)
    """Trades announced as missing."""
    filled: int = attrs.field(default=0, init=False)
    """Trades that one line lacked and another one brought."""
    _last: Trade | None = attrs.field(default=None, init=False)
    _waiting: dict[int, tuple[Trade, float]] = attrs.field(factory=dict[int, tuple[Trade, float]], init=False)
    """Trades after a hole, by id, and until when each may wait for what is missing before it."""
    _reached: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    """By line: the latest id it brought on its present connection."""
    _due: float | None = attrs.field(default=None, init=False)
    _numbering: _Renumbering = attrs.field(factory=_Renumbering, init=False)

    @property
    def last_id(self) -> int | None:
        """Id of the latest trade passed on; None before the first."""
        return None if self._last is None else self._last.trade_id

    @property
    def next_due(self) -> float | None:
        """When :meth:`tick` is wanted; None: no trade waits for those before it."""
        return self._due

    def reached(self, line: str) -> int | None:
        """Return the latest id that ``line`` brought on its present connection."""
        return self._reached.get(line)

    def receive(self, line: str, trade: Trade, *, now: float) -> list[Event]:
        """Return what consumers are to see now that ``line`` brought ``trade``.

        Where the ids went back, that is ``trade`` itself; whoever tells readers sees it by the ids.
        """
        trade_id, last = trade.trade_id, self._last
        if last is not None and trade_id <= last.trade_id and _goes_back(last, trade):
            return self._begin_anew(line, trade, now)
        if last is not None and trade_id > last.trade_id and self._numbering.is_old(trade):
            self.repeated += 1
            return []
        self._reached[line] = max(trade_id, self._reached.get(line, trade_id))
        if last is None or (trade_id == last.trade_id + 1 and not self._waiting):
            self._last = trade
            return [trade]
        if trade_id <= last.trade_id or trade_id in self._waiting:
            self.repeated += 1
        else:
            self._waiting[trade_id] = (trade, now + TRADE_PATIENCE_S)
        # Even a known trade is news of how far its line has come: perhaps nobody is left to fill the hole.
        return self._settle(now) if self._waiting else []

    def passes(self, line: str, trade_id: int) -> bool:
        """Take note that ``line`` brought ``trade_id`` and all before it, if nothing more is to be done about it."""
        if self._last is None or trade_id > self._last.trade_id or self._waiting:
            return False
        self._reached[line] = trade_id
        self.repeated += 1
        return True

    def leave(self, line: str, *, now: float) -> list[Event]:
        """A line brings nothing any more, or may lack something: nobody waits for it."""
        self._reached.pop(line, None)
        return self._settle(now) if self._waiting else []

    def tick(self, *, now: float) -> list[Event]:
        """Announce what was waited for long enough."""
        return self._settle(now) if self._waiting else []

    def _begin_anew(self, line: str, trade: Trade, now: float) -> list[Event]:
        """Tell all that was waiting for others, then ``trade``, with which another numbering begins."""
        lines = list(self._reached)
        self._reached.clear()  # nobody is waited for
        passed = self._settle(now)
        assert self._last is not None
        self._numbering.begin(self._last)
        self._reached = {**dict.fromkeys(lines, 0), line: trade.trade_id}  # whoever had come far has it all to come
        self._last = trade
        return [*passed, trade]

    def _settle(self, now: float) -> list[Event]:
        passed: list[Event] = []
        holes = self._due is not None
        self._due = None
        while self._waiting:
            assert self._last is not None
            first = min(self._waiting)
            trade, due = self._waiting[first]
            last_id = self._last.trade_id
            if first != last_id + 1:
                if now < due and any(reached <= last_id for reached in self._reached.values()):
                    self._due = due
                    return passed
                self.missing += first - last_id - 1
                passed.append(TradeGap(at_s=now, symbol=self.symbol, first=last_id + 1, last=first - 1))
            elif holes:
                self.filled += 1
            holes = False
            del self._waiting[first]
            self._last = trade
            passed.append(trade)
        return passed


class SharedTrades:
    """The merged trades of all symbols, each shared by the lines that want it."""

    def __init__(self) -> None:
        self._merged: dict[str, tuple[MergedTrades, dict[str, None]]] = {}

    def begin(self, symbol: str, line: str) -> MergedTrades:
        """Return the sequence of ``symbol``, in which ``line`` takes part from now on."""
        merged, lines = self._merged.setdefault(symbol, (MergedTrades(symbol), {}))
        lines[line] = None
        return merged

    def end(self, symbol: str, line: str) -> None:
        """``line`` takes no part any more; without lines the sequence is forgotten."""
        lines = self._merged[symbol][1]
        lines.pop(line, None)
        if not lines:
            del self._merged[symbol]
