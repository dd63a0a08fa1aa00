"""A venue in a process of its own, and what a drill asks its control port: truth, faults, who is subscribed to what."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs
import trio

__all__ = ["Control", "Door", "Refused", "Session"]

TIMEOUT_S = 20.0


class Refused(Exception):
    """The control port did not like a question."""


@attrs.define
class Session:
    """One connection as the venue sees it."""

    id: int
    opened_s: float
    requests: list[tuple[float, str, str, int]] = attrs.field(factory=list[tuple[float, str, str, int]])
    """When it asked what (method, channel, number of symbols)."""
    subscribed: dict[tuple[str, str], None] = attrs.field(factory=dict[tuple[str, str], None])
    ended_s: float | None = None

    def has(self, channel: str, symbols: list[str]) -> bool:
        """Whether it asked for ``channel`` of all ``symbols``."""
        return self.ended_s is None and all((channel, symbol) in self.subscribed for symbol in symbols)


@attrs.define
class Control:
    """Asks the control port at ``url`` from threads, so that the engine is not held up."""

    url: str

    async def get(self, path: str, **query: object) -> Any:
        """Return what ``GET path`` answers."""
        return await trio.to_thread.run_sync(partial(self._ask, path, query, None))

    async def fault(self, name: str, **params: object) -> Mapping[str, Any]:
        """Give the venue a fault command, and return its log entry."""
        entry: Mapping[str, Any] = await trio.to_thread.run_sync(
            partial(self._ask, "faults", {}, {"fault": name, **params})
        )
        return entry

    def _ask(self, path: str, query: Mapping[str, object], body: Mapping[str, object] | None) -> Any:
        url = f"{self.url}/{urllib.parse.quote(path)}"
        if query:
            url += "?" + urllib.parse.urlencode(query)
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(url, data, timeout=TIMEOUT_S) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise Refused(f"{path}: {error.read().decode()}") from None


@attrs.define
class Door:
    """Follows the venue's journal: which sessions there are, and what they asked for."""

    control: Control
    sessions: dict[int, Session] = attrs.field(factory=dict[int, Session])
    _next: int = 0

    async def look(self) -> list[Session]:
        """Read on, and return the sessions that are open, oldest first."""
        journal = await self.control.get("journal", since=self._next)
        self._next = journal["next"]
        for entry in journal["entries"]:
            self._note(entry)
        return [session for session in self.sessions.values() if session.ended_s is None]

    def _note(self, entry: Mapping[str, Any]) -> None:
        number, at_s, what = entry["session"], entry["at_s"], entry["what"]
        if what == "open":
            self.sessions[number] = Session(number, at_s)
            return
        session = self.sessions[number]
        if what == "end":
            session.ended_s = at_s
            return
        channel, symbols = str(entry["channel"]), entry["symbols"]
        session.requests.append((at_s, what, channel, len(symbols)))
        for symbol in symbols:
            if what == "subscribe":
                session.subscribed[channel, symbol] = None
            else:
                session.subscribed.pop((channel, symbol), None)
