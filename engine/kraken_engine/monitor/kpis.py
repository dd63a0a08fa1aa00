"""The six key figures of a running engine, and the report made of them.

Counts what it is told, once per batch rather than once per message, and knows nothing of lines, sockets or calls
but their names. Memory is bounded: rates keep one count per slot of their window, latencies the last 1,000 batches.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import attrs

__all__ = ["UNITS", "Kpis"]

UNITS = {
    "websocket_uptime": "percent",
    "websocket_message_rate": "messages per second",
    "rest_api_calls": "calls per minute",
    "data_latency": "milliseconds",
    "failover_count": "count",
    "error_rate": "errors per minute",
}
"""The key figures by name, and their units."""

_LATENCIES = 1000
_MESSAGE_WINDOW_S = 10
_MINUTE_S = 60
_DAY_NS = 86_400 * 10**9


@attrs.define
class Kpis:
    """The key figures since ``now`` (monotonic seconds), the moment of making."""

    _started: float = attrs.field(alias="now")
    _lines_up: dict[str, None] = attrs.field(factory=dict[str, None], init=False)
    _up_since: float = attrs.field(default=0.0, init=False)
    _up_before_s: float = attrs.field(default=0.0, init=False)
    _messages: _Rate = attrs.field(init=False)
    _errors: _Rate = attrs.field(init=False)
    _calls: _Rate = attrs.field(init=False)
    _latencies_s: deque[float] = attrs.field(factory=lambda: deque[float](maxlen=_LATENCIES), init=False)
    _call_times_s: deque[float] = attrs.field(factory=lambda: deque[float](maxlen=_LATENCIES), init=False)
    _failovers: int = attrs.field(default=0, init=False)
    _rate_limits: int = attrs.field(default=0, init=False)
    _day: int = attrs.field(default=-1, init=False)
    _calls_today: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._messages = _Rate(_MESSAGE_WINDOW_S, self._started)
        self._errors = _Rate(_MINUTE_S, self._started)
        self._calls = _Rate(_MINUTE_S, self._started)

    # -- what happens

    def line_up(self, line: str, *, now: float) -> None:
        """Note that ``line`` has a connection; the WebSocket side counts as up while at least one line has."""
        if not self._lines_up:
            self._up_since = now
        self._lines_up[line] = None

    def line_down(self, line: str, *, now: float) -> None:
        """Note that ``line`` lost its connection."""
        if self._lines_up.pop(line, self) is None and not self._lines_up:
            self._up_before_s += now - self._up_since

    def messages(self, count: int, *, latency_s: float, now: float) -> None:
        """Note a batch of ``count`` messages, published ``latency_s`` after it was received."""
        self._messages.add(count, now)
        self._latencies_s.append(latency_s)

    def error(self, *, now: float) -> None:
        """Note one error of any kind."""
        self._errors.add(1, now)

    def rest_call(self, *, response_s: float, now: float, wall_ns: int) -> None:
        """Note one REST call and how long its answer took; ``wall_ns`` (UTC) decides to which day it belongs."""
        self._calls.add(1, now)
        self._call_times_s.append(response_s)
        day = wall_ns // _DAY_NS
        if day != self._day:
            self._day, self._calls_today = day, 0
        self._calls_today += 1

    def rate_limit(self) -> None:
        """Note that the venue refused a REST call for its rate."""
        self._rate_limits += 1

    def failover(self) -> None:
        """Note one change of the source, in either direction."""
        self._failovers += 1

    # -- what it comes to

    def values(self, *, now: float) -> dict[str, float]:
        """Return the six key figures in the units of :data:`UNITS`; the latency is the median."""
        return {
            "websocket_uptime": self._uptime(now),
            "websocket_message_rate": self._messages.per_second(now),
            "rest_api_calls": self._calls.per_second(now) * _MINUTE_S,
            "data_latency": self.latency_ms(0.5),
            "failover_count": float(self._failovers),
            "error_rate": self._errors.per_second(now) * _MINUTE_S,
        }

    def latency_ms(self, quantile: float) -> float:
        """Return a quantile (0 to 1, nearest rank) of the latency of the last 1,000 batches; 0.0 before the first."""
        if not self._latencies_s:
            return 0.0
        ordered = sorted(self._latencies_s)
        return ordered[max(0, math.ceil(quantile * len(ordered)) - 1)] * 1000

    def generate_report(self, *, now: float, wall_ns: int) -> dict[str, dict[str, Any]]:
        """Return the performance report; ``calls_today`` starts again at 00:00 UTC. Times are milliseconds."""
        return {
            "websocket": {
                "uptime": self._uptime(now),
                "message_rate": self._messages.per_second(now),
                "avg_latency": _mean_ms(self._latencies_s),
                "p50_latency": self.latency_ms(0.5),
                "p99_latency": self.latency_ms(0.99),
            },
            "rest_api": {
                "calls_today": self._calls_today if wall_ns // _DAY_NS == self._day else 0,
                "rate_limits_hit": self._rate_limits,
                "avg_response_time": _mean_ms(self._call_times_s),
            },
        }

    def _uptime(self, now: float) -> float:
        up_s = self._up_before_s + (now - self._up_since if self._lines_up else 0.0)
        lived_s = now - self._started
        if lived_s <= 0.0:
            return 100.0 if self._lines_up else 0.0
        return 100.0 * up_s / lived_s


class _Rate:
    """Events per second over the last ``window_s`` seconds, from one count per whole second."""

    __slots__ = ("_counts", "_second", "_started")

    def __init__(self, window_s: int, now: float) -> None:
        self._counts = [0] * window_s
        self._started = now
        self._second = int(now)

    def add(self, count: int, now: float) -> None:
        self._advance(now)
        self._counts[self._second % len(self._counts)] += count

    def per_second(self, now: float) -> float:
        self._advance(now)
        window_s = len(self._counts) - 1 + now % 1.0
        return sum(self._counts) / min(window_s, max(1.0, now - self._started))

    def _advance(self, now: float) -> None:
        size, second = len(self._counts), int(now)
        for passed in range(self._second + 1, min(second, self._second + size) + 1):
            self._counts[passed % size] = 0
        self._second = max(self._second, second)


def _mean_ms(times_s: deque[float]) -> float:
    return 1000 * sum(times_s) / len(times_s) if times_s else 0.0
