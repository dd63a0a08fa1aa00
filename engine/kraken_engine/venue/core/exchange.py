"""The simulated exchange as one object: everything it does follows from its seed, its inputs and their times."""

from __future__ import annotations

from kraken_engine.venue.core.ports import RestRequest, RestResponse
from kraken_engine.venue.core.sessions import Session

__all__ = ["Exchange"]


class Exchange:
    """The simulated exchange."""

    def __init__(self, seed: int, symbols: int, rate: float, now: float, wall_ns: int) -> None:
        self.seed = seed
        self.rate = rate
        self.symbols: list[str] = [f"S{i}/USD" for i in range(symbols)]
        self.sessions: dict[int, Session] = {}
        self._now = now
        self._wall_ns = wall_ns
        self._connected = 0

    def advance(self, now: float) -> None:
        """Let everything happen that is due until ``now``; a bounded amount of it per call."""
        self._now = max(self._now, now)

    def next_due(self) -> float:
        """Return when :meth:`advance` is wanted next; in the past when the last call left work over."""
        return self._now + 1.0

    def connect(self, kind: str, now: float) -> Session:
        """Open a session of ``kind`` ``public`` or ``auth``; it is greeted with a status frame."""
        self.advance(now)
        self._connected += 1
        session = self.sessions[self._connected] = Session(self, self._connected, kind)
        session.send(b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online"}]}')
        return session

    def rest(self, request: RestRequest, now: float) -> RestResponse:
        """Answer one HTTP request."""
        self.advance(now)
        return RestResponse(
            status=200,
            headers={"content-type": "application/json"},
            body=b'{"error":["EGeneral:Unknown method"]}' if request.path else b"",
        )
