"""Positions on margin: what the venue said was open, and every fill since, each counted once.

Theory of operation. The stream tells of fills, not of positions; ``OpenPositions`` tells of positions, not of the
moment it speaks of. That moment lies somewhere between the question, less how far REST may be behind, and the answer,
plus how long a fill may be on its way (both ``rest_lag_s``). So an answer is put together with the fills of that window
in every way there is: as if it held none of them, the first, the first two … all of them. One way only, and the
position is known exactly. Several, and they are carried along as candidates until a later answer leaves one of them.

Once a position is known, fills alone carry it on, through lost connections as well, since what was missed is replayed.
A later answer is then a check: it has to agree with a candidate. One that does not may be older than thought, so it
counts as a dispute; only a second answer that says the same is taken over.

Fills without margin make no position. Knows nothing of connections, REST, or prices now.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from kraken_engine.model import Side, Source, plus, times
from kraken_engine.normalise.account_events import Fill
from kraken_engine.state.position_lots import Lot, OpenLots, traded

__all__ = ["Position", "PositionState", "Positions"]

_ZERO = Decimal(0)

_State = OpenLots | None
"""What is open in one symbol; None: nothing."""


@attrs.frozen(kw_only=True)
class Position:
    """What is open in one symbol on margin."""

    symbol: str
    side: Side
    """``buy``: long."""
    lots: tuple[Lot, ...]
    """Oldest first."""
    realised: Decimal
    """What closing earned since the position is known, in the quote asset, before fees."""

    @property
    def qty(self) -> Decimal:
        """Quantity open, in the base asset."""
        return _total(lot.qty for lot in self.lots)

    @property
    def cost(self) -> Decimal:
        """What the open quantity was opened for, in the quote asset."""
        return _total(times(lot.qty, lot.price) for lot in self.lots)


@attrs.frozen(kw_only=True)
class PositionState:
    """What is known of one symbol, and what that is based on."""

    symbol: str
    position: Position | None
    """None: nothing is open."""
    realised: Decimal
    """What closing earned since the position is known, whether anything is open or not."""
    known: bool
    """Whether the venue ever said what is open; if not, this is what the fills seen so far would make of nothing."""
    why: str
    """Why it is not verified; empty when it is."""
    checked_s: float | None
    """Monotonic seconds at which the venue last agreed; None: never."""
    source: Source
    """``rest``: ``OpenPositions`` and the fills since; ``websocket_v2``: fills alone."""

    @property
    def verified(self) -> bool:
        """Whether the venue's answer and the fills leave no other possibility."""
        return not self.why


@attrs.define
class _Symbol:
    candidates: list[_State]
    realised: Decimal = _ZERO
    disputed: list[_State] = attrs.field(factory=list[_State])
    """What an answer would make of it that no candidate explains."""
    checked_s: float | None = None

    def take(self, fill: Fill) -> None:
        if len(self.candidates) == 1:
            self.realised = plus(self.realised, traded(self.candidates[0], fill)[1])
        self.candidates = _unique(traded(state, fill)[0] for state in self.candidates)
        self.disputed = _unique(traded(state, fill)[0] for state in self.disputed)


@attrs.define
class _Window:
    """The time an answer may speak of."""

    fills: list[Fill]
    answer: Mapping[str, OpenLots] | None = None


@attrs.define
class Positions:
    """The positions of one account."""

    lag_s: float = 3.0
    """How far REST may be behind the stream, and the stream behind REST."""
    corrected: int = attrs.field(default=0, init=False)
    """Positions that were not what fills had made of them, as two answers said."""
    _symbols: dict[str, _Symbol] = attrs.field(factory=dict[str, _Symbol], init=False)
    _recent: deque[Fill] = attrs.field(factory=deque[Fill], init=False)
    """Fills that an answer to a question asked now may not hold yet."""
    _window: _Window | None = attrs.field(default=None, init=False)
    _settled_s: float | None = attrs.field(default=None, init=False)
    """When an answer was last put together with the fills."""
    _unknown: str = attrs.field(default="the venue was not asked yet", init=False)
    last_fill_s: float = attrs.field(default=-math.inf, init=False)
    """When the last fill on margin was read. A question in a quiet time has one answer."""

    # -- what is known

    def get(self, symbol: str) -> PositionState:
        """Return what is known of ``symbol``."""
        known = self._symbols.get(symbol) or self._untouched()
        state = known.candidates[-1]
        position = None
        if state is not None:
            position = Position(symbol=symbol, side=state.side, lots=state.lots, realised=known.realised)
        return PositionState(
            symbol=symbol,
            position=position,
            realised=known.realised,
            known=self._settled_s is not None,
            why=self._why(known),
            checked_s=known.checked_s,
            source=Source.WEBSOCKET_V2 if self._settled_s is None else Source.REST,
        )

    def all(self) -> dict[str, PositionState]:
        """Return every symbol in which something is open, or may be."""
        return {symbol: self.get(symbol) for symbol, known in self._symbols.items() if known.candidates != [None]}

    @property
    def unknown(self) -> str | None:
        """Why the venue does not say what is open; None: it did, once, and fills have carried that on."""
        return f"positions from before are unknown: {self._unknown}" if self._settled_s is None else None

    @property
    def wanted(self) -> bool:
        """Whether the venue has to be asked: it never was, or its answer left a doubt."""
        return self._settled_s is None or any(
            known.disputed or len(known.candidates) > 1 for known in self._symbols.values()
        )

    @property
    def in_play(self) -> bool:
        """Whether the account trades on margin at all, as far as anybody has seen."""
        return bool(self._symbols)

    # -- fills

    def apply(self, fill: Fill) -> None:
        """Take one fill."""
        if not fill.margin:
            return
        self.last_fill_s = fill.received_s
        self._recent.append(fill)
        if self._window is not None:
            self._window.fills.append(fill)
        else:
            self._forget_before(fill.received_s - self.lag_s)
        self._symbols.setdefault(fill.symbol, self._untouched()).take(fill)

    # -- the venue's word

    def begin(self, *, now: float) -> None:
        """Note that the venue is about to be asked for everything that is open."""
        self._forget_before(now - self.lag_s)
        self._window = _Window(list(self._recent))

    def answered(self, answer: Mapping[str, OpenLots]) -> None:
        """Take its answer; what it means is decided by :meth:`settle`, ``lag_s`` later."""
        if self._window is not None:
            self._window.answer = answer

    def abandon(self) -> None:
        """Forget the question that is open: fills may be missing from its window."""
        self._window = None

    def failed(self, why: str) -> None:
        """Note that the venue does not say what is open."""
        self._window = None
        if self._settled_s is None:
            self._unknown = why

    def settle(self, *, now: float) -> bool:
        """Put the answer together with the fills of its window; return whether there was one."""
        window, self._window = self._window, None
        if window is None or window.answer is None:
            return False
        for symbol in dict.fromkeys((*self._symbols, *window.answer)):
            known = self._symbols.setdefault(symbol, self._untouched())
            fills = [fill for fill in window.fills if fill.symbol == symbol]
            self._compare(known, _explained(window.answer.get(symbol), fills), now)
        self._settled_s = now
        return True

    def _compare(self, known: _Symbol, said: list[_State], now: float) -> None:
        """Keep what both the answer and the fills allow."""
        before = known.candidates
        agreed = said if self._settled_s is None else _agreeing(known.candidates, said)
        if agreed:
            known.candidates = agreed if len(agreed) == 1 or len(said) > 1 else said
            known.disputed = []
        elif again := _agreeing(known.disputed, said):
            self.corrected += 1
            known.candidates, known.disputed = again, []
        else:
            known.disputed = said
            return
        if known.candidates != before and len(before) == 1:
            known.realised = _ZERO  # it was worked out from something else
        if len(known.candidates) == 1:
            known.checked_s = now

    # -- helpers

    def _untouched(self) -> _Symbol:
        """Return what is known of a symbol that neither an answer nor a fill has mentioned."""
        return _Symbol([None], checked_s=self._settled_s)

    def _why(self, known: _Symbol) -> str:
        if (unknown := self.unknown) is not None:
            return unknown
        if known.disputed:
            theirs, ours = _net(known.disputed[-1]), _net(known.candidates[-1])
            return f"OpenPositions makes it {theirs:f}, the fills {ours:f}; it will be asked again"
        if len(known.candidates) > 1:
            return "fills came while the venue was asked; it will be asked again"
        return ""

    def _forget_before(self, at_s: float) -> None:
        while self._recent and self._recent[0].received_s < at_s:
            self._recent.popleft()


def _explained(start: _State, fills: list[Fill]) -> list[_State]:
    """Return what may be open now if ``start`` holds none of ``fills``, the first, the first two … all of them."""
    states: list[_State] = []
    for first in range(len(fills) + 1):
        state = start
        for fill in fills[first:]:
            state, _ = traded(state, fill)
        states.append(state)
    return _unique(states)


def _agreeing(candidates: list[_State], said: list[_State]) -> list[_State]:
    """Return the candidates that an answer allows; lots are compared by quantity, for the venue may merge them."""
    nets = [_net(state) for state in said]
    return [state for state in candidates if _net(state) in nets]


def _unique(states: Iterable[_State]) -> list[_State]:
    return list(dict.fromkeys(states))


def _net(state: _State) -> Decimal:
    return _ZERO if state is None else state.net


def _total(numbers: Iterable[Decimal]) -> Decimal:
    total = _ZERO
    for number in numbers:
        total = plus(total, number)
    return total
