"""What one line should be subscribed to, what the venue has confirmed, and which request comes next.

The object outlives connections: wants stay, everything the venue said is forgotten when the connection ends. It
decides from wants, replies and time, and knows nothing of sockets, of who wants a key, or of what the data says.

Theory of operation. Each key has a *phase*: our belief about the venue's side. Requests follow from the difference
between the belief and the want, never from the history, so every loss heals the same way::

    ABSENT ──subscribe──> ASKED ──ack──> PRESENT ──unsubscribe──> LEAVING ──ack──> ABSENT
      ^                     │                ^                        │
      └──────refused────────┤                └──────refused for now───┤
                            └──no answer──> UNCERTAIN <──no answer────┘

UNCERTAIN is asked again when wanted and unsubscribed when not: both are right whatever the venue has. A book is
resubscribed by unsubscribing a key that is still wanted.

Requests go out by priority of the channel, then urgent symbols first, then in the order in which the keys were wanted;
several symbols share one. Books of urgent symbols go before all other market data.
Each symbol has its own reply (docs "Subscribe"), so a burst that is refused in part is repaired in part.

A key whose retries are used up is reported, and then rests: it is asked for once a minute, for what the venue could not
do then it may do now. Only a refusal that says that asking again cannot help is the end.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Collection, Iterator

import attrs

from kraken_engine.codec.ws_v2 import Ack
from kraken_engine.config import SubscriptionSettings
from kraken_engine.control.request_pace import RequestPace
from kraken_engine.normalise.events import Notice, Refused
from kraken_engine.state.subscription_requests import (
    Refusal,
    Request,
    SubscriptionKey,
    SubscriptionStatus,
    request_for,
    same_parameters,
)

__all__ = ["Request", "SubscriptionKey", "SubscriptionStatus", "Subscriptions"]


class _Phase(enum.Enum):
    ABSENT = enum.auto()
    ASKED = enum.auto()
    PRESENT = enum.auto()
    LEAVING = enum.auto()
    UNCERTAIN = enum.auto()


_IN_FLIGHT = {_Phase.ASKED: "subscribe", _Phase.LEAVING: "unsubscribe"}
_REPLY_METHODS = frozenset({"subscribe", "unsubscribe", "error"})
_LAST = 1000
"""Priority of a channel that has none."""


@attrs.define(eq=False)
class _Entry:
    key: SubscriptionKey
    rank: tuple[int, int]
    wanted: bool = True
    phase: _Phase = _Phase.ABSENT
    before: _Phase = _Phase.ABSENT
    """The phase a refusal for now goes back to."""
    live: bool = False
    renew: bool = False
    """Unsubscribe although wanted: a new snapshot is needed."""
    not_before: float = 0.0
    asked_at: float = 0.0
    deadline: float = 0.0
    req_id: int = 0
    since: int = 0
    """Number of the request that turned from one method to the other last; answers to earlier ones may be outdated."""
    sent: str = ""
    """Method of the latest request."""
    failures: int = 0
    final: bool = False
    """The venue's words leave no hope."""
    rests: bool = False
    """The retries are used up: it is asked for now and then, and reported no more."""
    error: str | None = None

    def method(self) -> str | None:
        """Return the request that brings the venue's side nearer to the want, if any."""
        if self.final and self.wanted:
            return None
        match self.phase:
            case _Phase.ABSENT:
                return "subscribe" if self.wanted else None
            case _Phase.PRESENT:
                return None if self.wanted and not self.renew else "unsubscribe"
            case _Phase.UNCERTAIN:
                return "subscribe" if self.wanted and not self.renew else "unsubscribe"
            case _:
                return None


class Subscriptions:
    """The subscriptions of one line."""

    def __init__(
        self,
        settings: SubscriptionSettings,
        urgent: Callable[[], Collection[str]] = tuple,
        is_away: Callable[[], bool] = bool,
    ) -> None:
        """Make it for one line.

        Args:
            settings: paces and patience.
            urgent: names the symbols that come first: those with open orders (I-27).
            is_away: whether the venue is away on purpose: what it refuses or leaves unanswered then does not count.
        """
        self._settings = settings
        self._urgent = urgent
        self._is_away = is_away
        self._entries: dict[SubscriptionKey, _Entry] = {}
        self._by_stream: dict[tuple[str, str | None], list[_Entry]] = {}
        self._active: dict[SubscriptionKey, _Entry] = {}
        """Entries with a request in flight or to come; the settled many are not looked at again."""
        self._in_flight: dict[int, list[_Entry]] = {}
        self._ranks = itertools.count()
        self._req_ids = itertools.count(1)
        self._connected = False
        self._notices: list[Notice] = []
        self._pace = RequestPace(settings.per_second)
        self.unmatched = 0
        """Replies that belonged to nothing asked for."""
        self.abandoned = 0
        """Keys nobody wanted that the venue may still be sending: every unsubscribe stayed without effect."""

    # -- what is wanted

    def want(self, key: SubscriptionKey, *, now: float) -> None:
        """Want ``key`` from now on; a key that was refused for good is asked for again."""
        entry = self._entries.get(key)
        if entry is None:
            rank = (self._settings.priorities.get(key.channel, _LAST), next(self._ranks))
            entry = self._entries[key] = _Entry(key, rank)
            self._by_stream.setdefault((key.channel, key.symbol), []).append(entry)
        if entry.final or entry.rests or not entry.wanted:
            entry.final = entry.rests = False
            entry.failures, entry.not_before = 0, now
        entry.wanted = True
        self._settle(entry)
        for rival in self._rivals(entry):
            rival.not_before = min(rival.not_before, now)

    def drop(self, key: SubscriptionKey, *, now: float) -> None:
        """Want ``key`` no longer; it is unsubscribed after ``grace_s`` unless wanted again."""
        entry = self._entries.get(key)
        if entry is None or not entry.wanted:
            return
        entry.wanted = entry.renew = entry.rests = False
        awaited = any(entry in self._rivals(other) for other in self._of_stream(key) if other.wanted)
        entry.not_before = now if awaited else now + self._settings.grace_s
        entry.failures = 0
        self._settle(entry)

    def resubscribe(self, key: SubscriptionKey, *, now: float) -> bool:
        """Unsubscribe and subscribe ``key`` again, for a new snapshot.

        Returns:
            False when there is nothing to do: unknown or unwanted, or a new snapshot is on its way already.
        """
        entry = self._entries.get(key)
        if entry is None or not entry.wanted or entry.renew:
            return False
        if entry.rests and entry.phase in (_Phase.ABSENT, _Phase.UNCERTAIN):
            entry.not_before = min(entry.not_before, now)  # somebody misses it, so it rests no longer
            return True
        if entry.phase not in (_Phase.PRESENT, _Phase.UNCERTAIN):
            return False
        entry.renew, entry.not_before, entry.failures = True, now, 0
        self._settle(entry)
        return True

    # -- the connection

    def connected(self, *, now: float) -> None:
        """Start on a new connection: the venue has nothing, every wanted key is due, budgets are renewed."""
        self._forget(now)
        self._connected = True
        self._pace = RequestPace(self._settings.per_second)

    def disconnected(self, *, now: float) -> None:
        """Stop asking; wants stay."""
        self._forget(now)
        self._connected = False

    def due(self, *, now: float) -> list[Request]:
        """Return the requests to send now, in order, and count them as sent.

        Answers that did not come in time are accounted for first, see :meth:`take_notices`.
        """
        if not self._connected:
            return []
        self._expire(now)
        if self._pace.wait_s(now=now) > 0.0:
            return []
        requests: list[Request] = []
        for method, batch in self._batches(now):
            if not self._pace.take(now=now):
                break
            requests.append(self._send(method, batch, now))
        return requests

    def next_due(self, *, now: float) -> float | None:
        """Return when :meth:`due` is wanted next (monotonic), or None while nothing waits for time to pass."""
        if not self._connected:
            return None
        ready = now + self._pace.wait_s(now=now)
        times = [
            entry.deadline if entry.phase in _IN_FLIGHT else max(entry.not_before, ready)
            for entry in self._active.values()
            if entry.method() != "subscribe" or not self._rivals(entry)
        ]
        return min(times, default=None)

    def take_notices(self) -> list[Notice]:
        """Return, once, what :meth:`due` found out: keys the venue did not answer for."""
        notices, self._notices = self._notices, []
        return notices

    # -- what the venue says

    def ack(self, ack: Ack, *, now: float) -> list[Notice]:
        """Take one reply to a subscribe or unsubscribe; replies that belong to nothing are counted and ignored."""
        entries = self._match(ack)
        if not entries:
            self.unmatched += 1
        notices: list[Notice] = []
        for entry in entries:
            method = _IN_FLIGHT.get(entry.phase, ack.method) if ack.method == "error" else ack.method
            if ack.success and ack.req_id is not None and ack.req_id < entry.since:
                self._outdated(entry, method)
            elif ack.success:
                self._confirmed(entry, method)
            elif method == "subscribe":
                notices += self._refused(entry, ack.error or "refused without a reason", now)
            else:
                self._unsubscribe_refused(entry, ack.error or "", now)
            self._settle(entry)
        return notices

    def data(self, channel: str, symbol: str | None, *, now: float) -> None:  # noqa: ARG002 - one signature for all events
        """Note that data of a stream arrived: what is subscribed there is live."""
        for entry in self._by_stream.get((channel, symbol), ()):
            if entry.phase in (_Phase.PRESENT, _Phase.ASKED, _Phase.UNCERTAIN):
                entry.live = True

    # -- questions

    def status(self, key: SubscriptionKey) -> SubscriptionStatus | None:
        """Return how far ``key`` has come; None when nobody wants it and the venue has nothing of it."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        match entry.phase:
            case _Phase.ASKED:
                return SubscriptionStatus.REQUESTED
            case _Phase.PRESENT:
                return SubscriptionStatus.LIVE if entry.live else SubscriptionStatus.ACKED
            case _Phase.LEAVING:
                return SubscriptionStatus.LEAVING
            case _:
                return SubscriptionStatus.WANTED if entry.error is None else SubscriptionStatus.REFUSED

    def error(self, key: SubscriptionKey) -> str | None:
        """Return the venue's last refusal of ``key``, until it is confirmed."""
        return self._entries[key].error if key in self._entries else None

    def wanted(self) -> list[SubscriptionKey]:
        """Return the wanted keys, in the order in which they are asked for."""
        return [entry.key for entry in sorted(self._entries.values(), key=_by_rank) if entry.wanted]

    # -- requests

    def _batches(self, now: float) -> Iterator[tuple[str, list[_Entry]]]:
        """Group what is due into requests: first what is wanted, by rank, then what nobody wants any more."""
        groups: dict[tuple[str, object], list[_Entry]] = {}
        urgent = self._urgent()
        front = min((entry.rank[0] for entry in self._active.values() if entry.key.symbol is not None), default=0)

        def goes_ahead(entry: _Entry) -> bool:
            return entry.key.channel == "book" and entry.key.symbol in urgent

        def turn(entry: _Entry) -> tuple[bool, int, bool, bool, int]:
            (channel, place), ahead = entry.rank, goes_ahead(entry)
            return not entry.wanted, front if ahead else channel, not ahead, entry.key.symbol not in urgent, place

        for entry in sorted(self._active.values(), key=turn):
            method = entry.method()
            if method is None or now < entry.not_before:
                continue
            if method == "subscribe" and self._rivals(entry):
                continue  # their messages could not be told apart: it is their turn to leave first
            key = entry.key
            same_request = (entry.wanted, goes_ahead(entry), attrs.evolve(key, symbol=None), key.symbol is None)
            groups.setdefault((method, same_request), []).append(entry)
        size = self._settings.symbols_per_request
        for (method, _), entries in groups.items():
            for i in range(0, len(entries), size):
                yield method, entries[i : i + size]

    def _rivals(self, entry: _Entry) -> list[_Entry]:
        """Return the unwanted subscriptions whose messages look just like this one's, but for what they hold.

        A message names its symbol, and a candle its interval, but neither the depth of its book nor the trigger of
        its ticker. So a book subscribed at another depth first has to go, without its grace period.
        """
        key, stream = entry.key, self._of_stream(entry.key)
        if len(stream) == 1:  # itself: nearly always, and this is asked often
            return []
        return [
            rival
            for rival in stream
            if not rival.wanted and rival.phase is not _Phase.ABSENT and rival.key.interval == key.interval
        ]

    def _of_stream(self, key: SubscriptionKey) -> list[_Entry]:
        return self._by_stream.get((key.channel, key.symbol), [])

    def _send(self, method: str, batch: list[_Entry], now: float) -> Request:
        req_id = next(self._req_ids)
        for entry in batch:
            entry.before = entry.phase
            if entry.sent != method:
                entry.sent, entry.since = method, req_id
            entry.phase = _Phase.ASKED if method == "subscribe" else _Phase.LEAVING
            entry.live = entry.live and entry.before is _Phase.UNCERTAIN and method == "subscribe"
            entry.renew = False
            entry.asked_at, entry.deadline, entry.req_id = now, now + self._settings.ack_timeout_s, req_id
        self._in_flight[req_id] = list(batch)
        return request_for(method, [entry.key for entry in batch], req_id)

    # -- replies

    def _match(self, ack: Ack) -> list[_Entry]:
        if ack.method not in _REPLY_METHODS:
            return []
        if ack.req_id in self._in_flight:
            return [e for e in self._in_flight[ack.req_id] if _answers(ack, e)]
        if ack.req_id is None and not ack.success and ack.symbol is not None:
            return [e for e in self._active.values() if e.phase in _IN_FLIGHT and _answers(ack, e)]
        if not ack.success or ack.channel is None:
            return []  # a refusal of an earlier try: the later one is still on its way
        return [e for e in self._by_stream.get((ack.channel, ack.symbol), ()) if same_parameters(ack, e.key)]

    def _confirmed(self, entry: _Entry, method: str) -> None:
        if method == "subscribe":
            if entry.phase is _Phase.LEAVING:
                return  # the unsubscribe was sent after it, and has the last word
            self._land(entry, _Phase.PRESENT)
        else:
            if entry.phase is _Phase.ASKED:
                return  # likewise the subscribe
            self._land(entry, _Phase.ABSENT)
        if method == "subscribe" or not entry.wanted:
            entry.failures = 0
        entry.final, entry.error = False, None
        entry.rests = entry.rests and method == "unsubscribe" and entry.wanted
        if entry.wanted and not entry.rests:
            entry.not_before = 0.0

    def _outdated(self, entry: _Entry, method: str) -> None:
        """Take a confirmation from before the latest request, whose own answer may be the one that was lost.

        Which of the two the venue acted on last is not known: unless it says what is believed anyway, or a request is
        in flight that will tell, ask again.
        """
        believed = _Phase.PRESENT if method == "subscribe" else _Phase.ABSENT
        if entry.phase is not believed and entry.phase not in _IN_FLIGHT:
            self._land(entry, _Phase.UNCERTAIN)

    def _refused(self, entry: _Entry, error: str, now: float) -> list[Notice]:
        refusal = Refusal.of(error)
        if refusal is Refusal.ALREADY:
            return self._present_already(entry, error, now)
        self._land(entry, entry.before)
        pause_s = self._settings.retry_pause_s
        if refusal is Refusal.TOO_FAST:
            self._pace.complained(sent_at=entry.asked_at, now=now)
            pause_s *= 2
        return self._failed(entry, error, now + pause_s, now, final=refusal in (Refusal.FINAL, Refusal.SESSION))

    def _present_already(self, entry: _Entry, error: str, now: float) -> list[Notice]:
        """Believe that the subscription is there; if no data ever came from it, only a new one brings its snapshot."""
        failures, silent = entry.failures + 1, entry.wanted and not entry.live
        if silent and failures > self._settings.retries:
            self._land(entry, _Phase.UNCERTAIN)
            return self._failed(entry, f"{error}, but no data came of it", now, now, final=False)
        self._confirmed(entry, "subscribe")
        if silent:
            entry.failures, entry.renew = failures, True
            entry.not_before = now + self._settings.retry_pause_s
        return []

    def _unsubscribe_refused(self, entry: _Entry, error: str, now: float) -> None:
        if Refusal.of(error) is not Refusal.TOO_FAST:
            self._confirmed(entry, "unsubscribe")  # there was nothing to unsubscribe
            return
        self._pace.complained(sent_at=entry.asked_at, now=now)
        self._land(entry, entry.before)
        entry.renew = entry.wanted
        self._leaving_failed(entry, now + self._settings.retry_pause_s * 2)

    def _expire(self, now: float) -> None:
        for entry in [e for e in self._active.values() if e.phase in _IN_FLIGHT and now >= e.deadline]:
            asked = entry.phase is _Phase.ASKED
            self._land(entry, _Phase.UNCERTAIN)
            if asked and entry.wanted:
                error = f"no answer within {self._settings.ack_timeout_s:g} s"
                self._notices += self._failed(entry, error, now, now, final=False)
            elif not entry.wanted:
                self._leaving_failed(entry, max(now, entry.not_before))
            self._settle(entry)

    def _failed(self, entry: _Entry, error: str, retry_at: float, now: float, *, final: bool) -> list[Notice]:
        """Count a subscribe that came to nothing, and say so while the key is wanted."""
        entry.error = error
        if not entry.wanted:
            return []
        if self._is_away() and not final:
            entry.not_before = now + self._settings.ack_timeout_s
            return []
        entry.failures += 1
        was_told, entry.final = entry.rests, final
        entry.rests = not final and entry.failures > self._settings.retries
        entry.not_before = max(retry_at, now + self._settings.rest_s) if entry.rests else retry_at
        if entry.rests and was_told:
            return []
        key, final = entry.key, final or entry.rests
        return [Refused(at_s=now, channel=key.channel, symbol=key.symbol, error=error, final=final)]

    def _leaving_failed(self, entry: _Entry, retry_at: float) -> None:
        """Count an unsubscribe that came to nothing; give up in the end."""
        entry.failures += 1
        entry.not_before = retry_at
        if entry.failures <= self._settings.retries:
            return
        entry.failures, entry.renew = 0, False
        if not entry.wanted:
            self.abandoned += 1
            self._land(entry, _Phase.ABSENT)

    # -- bookkeeping

    def _land(self, entry: _Entry, phase: _Phase) -> None:
        """Take ``entry`` out of flight, if it was in flight, and put it into ``phase``."""
        if entry.phase in _IN_FLIGHT:
            others = self._in_flight[entry.req_id]
            others.remove(entry)
            if not others:
                del self._in_flight[entry.req_id]
        entry.phase = phase

    def _settle(self, entry: _Entry) -> None:
        """File ``entry`` under active, settled or gone, after any change of it."""
        if not entry.wanted and entry.phase is _Phase.ABSENT:
            self._entries.pop(entry.key, None)
            self._active.pop(entry.key, None)
            stream = (entry.key.channel, entry.key.symbol)
            rest = [e for e in self._by_stream.get(stream, ()) if e is not entry]
            if rest:
                self._by_stream[stream] = rest
            else:
                self._by_stream.pop(stream, None)
        elif entry.phase in _IN_FLIGHT or entry.method() is not None:
            self._active[entry.key] = entry
        else:
            self._active.pop(entry.key, None)

    def _forget(self, now: float) -> None:
        self._in_flight.clear()
        for entry in list(self._entries.values()):
            entry.phase = entry.before = _Phase.ABSENT
            entry.live = entry.renew = entry.final = entry.rests = False
            entry.failures, entry.error, entry.not_before = 0, None, now
            self._settle(entry)


def _by_rank(entry: _Entry) -> tuple[int, int]:
    return entry.rank


def _answers(ack: Ack, entry: _Entry) -> bool:
    """Say whether ``ack`` is about this entry's request in flight; a refusal that names nothing is about all of it."""
    key = entry.key
    if ack.method not in ("error", _IN_FLIGHT[entry.phase]):
        return False
    if ack.symbol != key.symbol and (ack.success or ack.symbol is not None):
        return False
    return ack.channel in (None, key.channel) and same_parameters(ack, key)
