"""What each state of the venue, and of one market, makes the engine expect and allow.

====================  ============================  =======  ========  =====================
state                 new orders                    cancels  matching  market data
====================  ============================  =======  ========  =====================
online                all                           yes      yes       flows
limit_only            limit orders                  yes      yes       flows
post_only             limit orders that only rest   yes      no        books, no trades
reduce_only           that reduce a position        yes      yes       flows
cancel_only           none                          yes      no        books, no trades
maintenance           none                          no       no        none is to be expected
anything else         none                          yes      no        none is to be expected
====================  ============================  =======  ========  =====================

The whole venue has a state (docs "Status"), and each market has one of its own (docs "Instruments"); what both allow is
allowed. While the venue is away on purpose, its silence is no fault: alarms are held back, and pauses between attempts
to connect do not grow. All of it ends by itself with the first status that says otherwise.

An announced window is read by its words, since the names of its fields are not documented: those that advise to stop,
or to stay away, count from their final warning on.

Knows nothing of sockets or orders; what an order is like is told in :class:`OrderShape`. Who has to act when a state
changes says so with :meth:`VenueModes.observe`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

import attrs

from kraken_engine.model import VenueMode
from kraken_engine.normalise.events import VenueStatus

__all__ = ["ModeRules", "OrderShape", "Orders", "Permit", "VenueModes", "rules_of"]


class Orders(enum.Enum):
    """Which new orders a state takes."""

    ALL = "all orders"
    LIMIT = "limit orders"
    RESTING = "limit orders that only rest (post only)"
    REDUCING = "orders that reduce a position"
    NONE = "no new orders"


@attrs.frozen(kw_only=True)
class OrderShape:
    """What of an order decides whether a state takes it."""

    limit: bool
    """A limit order, rather than one that takes any price."""
    post_only: bool = False
    reduce_only: bool = False


@attrs.frozen
class Permit:
    """Whether something may be asked of the venue now; true if it may."""

    refusal: str | None
    """Why not, in words; None: it may."""

    def __bool__(self) -> bool:
        return self.refusal is None


@attrs.frozen(kw_only=True)
class ModeRules:
    """What one state means."""

    orders: Orders
    cancels: bool
    matching: bool
    """Whether anything trades: else no trades and no candles are to be expected."""
    data: bool
    """Whether market data is to be expected at all: else silence is no fault."""

    def refuses(self, order: OrderShape) -> bool:
        """Return whether this state does not take a new order of this shape."""
        match self.orders:
            case Orders.ALL:
                return False
            case Orders.LIMIT:
                return not order.limit
            case Orders.RESTING:
                return not (order.limit and order.post_only)
            case Orders.REDUCING:
                return not order.reduce_only
            case Orders.NONE:
                return True


_RULES: Mapping[str, ModeRules] = {
    "online": ModeRules(orders=Orders.ALL, cancels=True, matching=True, data=True),
    "limit_only": ModeRules(orders=Orders.LIMIT, cancels=True, matching=True, data=True),
    "post_only": ModeRules(orders=Orders.RESTING, cancels=True, matching=False, data=True),
    "reduce_only": ModeRules(orders=Orders.REDUCING, cancels=True, matching=True, data=True),
    "cancel_only": ModeRules(orders=Orders.NONE, cancels=True, matching=False, data=True),
    "maintenance": ModeRules(orders=Orders.NONE, cancels=False, matching=False, data=False),
}
_OTHER = ModeRules(orders=Orders.NONE, cancels=True, matching=False, data=False)

_IMMINENT = frozenset({"imminent_5m", "final_warning_30s"})
_STOP = frozenset({"stop_new_orders", "cancel_open_orders", "disconnect_and_wait"})
_LEAVE = frozenset({"disconnect_and_wait"})
_OURS = frozenset({"spot_ws", "spot_rest", "spot_trading", "all", "unspecified"})
_MOST_WORDS = 200


def rules_of(state: str) -> ModeRules:
    """Return what a state means, by the venue's word for it; a word not known here allows nothing new."""
    return _RULES.get(state, _OTHER)


@attrs.define
class VenueModes:
    """The state of the venue and of its markets, and what follows from them."""

    _status: VenueStatus | None = attrs.field(default=None, init=False)
    _markets: dict[str, str] = attrs.field(factory=dict[str, str], init=False)
    """Markets that are not online."""
    _advice: frozenset[str] = attrs.field(default=frozenset(), init=False)
    """What the venue advises to do now."""
    _observers: list[Callable[[], None]] = attrs.field(factory=list[Callable[[], None]], init=False)

    # -- what is heard

    def status(self, status: VenueStatus) -> bool:
        """Take note of the venue's state; return whether anything that follows from it is another than before."""
        before = self.state, self._advice
        self._status = status
        self._advice = _advice(status.maintenance)
        if before == (self.state, self._advice):
            return False
        for observer in list(self._observers):
            observer()
        return True

    def market(self, symbol: str, state: str) -> bool:
        """Take note of the state of one market; return whether it is another one than before."""
        before = self.state_of(symbol)
        if state == "online":
            self._markets.pop(symbol, None)
        else:
            self._markets[symbol] = state
        return state != before

    def observe(self, observer: Callable[[], None]) -> Callable[[], None]:
        """Call ``observer`` whenever the venue's state has changed, until the returned function is called."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    # -- what follows

    @property
    def state(self) -> str:
        """The venue's word for its state; ``online`` until it has said one."""
        return VenueMode.ONLINE.value if self._status is None else self._status.text

    def state_of(self, symbol: str) -> str:
        """Return the venue's word for the state of one market; ``online`` for one it has said nothing of."""
        return self._markets.get(symbol, VenueMode.ONLINE.value)

    @property
    def rules(self) -> ModeRules:
        """What the state of the venue as a whole means."""
        return rules_of(self.state)

    @property
    def away(self) -> str | None:
        """Why no data is to be expected from the venue, in words; None: it is.

        While this is set, alarms are held back, pauses between attempts do not grow, and REST is asked for nothing but
        the venue's state.
        """
        if not self.rules.data:
            return f"the venue is in {self.state}"
        if self._advice & _LEAVE:
            return "the venue announced maintenance and advises to disconnect and wait"
        return None

    def blame(self, why: str) -> str:
        """Return ``why`` something is missing, with the reason behind it while the venue is away on purpose."""
        away = self.away
        return why if away is None or why.startswith(away) else f"{away}: {why}"

    def expects(self, channel: str, symbol: str | None = None) -> bool:
        """Return whether messages of ``channel`` may be expected; where not, their absence says nothing."""
        if self.away is not None:
            return False
        market = rules_of(self.state_of(symbol or ""))
        if not market.data:
            return False
        return channel not in ("trade", "ohlc") or (self.rules.matching and market.matching)

    def refuses_order(self, symbol: str, order: OrderShape) -> str | None:
        """Return why a new order may not be sent now, in words; None: the venue would take it."""
        for state, where in ((self.state, "the venue"), (self.state_of(symbol), symbol)):
            rules = rules_of(state)
            if rules.refuses(order):
                return f"{where} is in {state}: {rules.orders.value}"
        if self._advice & _STOP:
            return f"{self.state}, but maintenance is imminent: the venue advises {', '.join(sorted(self._advice))}"
        return None

    def refuses_cancel(self, symbol: str) -> str | None:
        """Return why a cancel would be refused now, in words; None: it may be sent."""
        for state, where in ((self.state, "the venue"), (self.state_of(symbol), symbol)):
            if not rules_of(state).cancels:
                return f"{where} is in {state}: no cancels"
        return None


def _advice(announced: Sequence[object]) -> frozenset[str]:
    """Return what imminent windows that concern us advise, whatever their fields are called."""
    advice: set[str] = set()
    for entry in announced:
        words = set(_words(entry, [_MOST_WORDS]))
        if words & _IMMINENT and words & _OURS:
            advice |= words & _STOP
    return frozenset(advice)


def _words(value: object, left: list[int]) -> Iterable[str]:
    """Return the texts in a JSON value, at most so many as are left."""
    if left[0] <= 0:
        return
    left[0] -= 1
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in cast("Mapping[object, object]", value).values():
            yield from _words(part, left)
    elif isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        for part in cast("Sequence[object]", value):
            yield from _words(part, left)
