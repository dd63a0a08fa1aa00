"""The control port: the venue's own truth as JSON, and faults on command.

::

    GET  /symbols                 every symbol
    GET  /books[?depth=10]        every book as the venue has it
    GET  /books/BTC/USD[?depth=]  one book
    GET  /books/BTC/USD?checksum= the top ten of the latest recent book that had this checksum
    GET  /told/BTC/USD[?depth=&since=N]  time and checksum of every update of a book, from the N-th on
    GET  /trades/BTC/USD[?since=ID]      the trades after one
    GET  /journal[?since=N]       what sessions did and asked for, from the N-th entry on
    GET  /counters                what the venue counted
    GET  /faults                  what was applied so far
    POST /faults                  {"fault": name, ...parameters}: apply one, answer what it did

Meant for tests, demonstrations and the operator of a simulation on the same machine. A web page must not reach it
through the operator's browser: the Host header has to be this port's own address (against DNS rebinding), and a request
that says it comes from a page (Origin) is refused. Errors are ``{"error": text}``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, final
from urllib.parse import unquote

import attrs
import msgspec

from kraken_engine.errors import EngineError, shown
from kraken_engine.runtime import Clock
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.ports import RestRequest, RestResponse
from kraken_engine.venue.shells.http import json_response

__all__ = ["ControlPort"]

DEFAULT_DEPTH = 10

MOST_NUMBER = 10**12


@final
@attrs.define(kw_only=True)
class ControlPort:
    """Answer the requests of one control port."""

    exchange: Exchange
    hosts: Collection[str]
    """Every Host header that names this port."""
    clock: Clock
    nudge: Callable[[], None]
    """Called after a fault, which may have changed when the exchange wants its next turn."""

    def answer(self, request: RestRequest) -> RestResponse:
        """Answer one request; what is wrong with it is in the answer."""
        try:
            self._check_sender(request)
            return json_response(200, self._result(request))
        except _Problem as problem:
            return json_response(problem.status, {"error": problem.text})
        except EngineError as error:
            return json_response(400, {"error": str(error)})

    def _check_sender(self, request: RestRequest) -> None:
        host = request.headers.get("host", "")
        if host.lower() not in self.hosts:
            raise _Problem(421, f"Host: expected {' or '.join(self.hosts)}, got {shown(host)}")
        if "origin" in request.headers:
            raise _Problem(403, f"Origin: expected none, got {shown(request.headers['origin'])}: not for web pages")

    def _result(self, request: RestRequest) -> object:
        match request.method, unquote(request.path).strip("/").split("/", 1):
            case "GET", ["symbols"]:
                return self.exchange.symbols
            case "GET", ["counters"]:
                return self.exchange.counters()
            case "GET", ["books"]:
                depth = _depth(request)
                return {symbol: self.exchange.book_state(symbol, depth) for symbol in self.exchange.symbols}
            case "GET", ["books", symbol]:
                self._check_symbol(symbol)
                if "checksum" in request.query:
                    return self.exchange.past_book(symbol, _whole(request, "checksum", 2**32 - 1, ""))
                return self.exchange.book_state(symbol, _depth(request))
            case "GET", ["told", symbol]:
                self._check_symbol(symbol)
                since = _whole(request, "since", MOST_NUMBER, "0")
                first, books = self.exchange.told(symbol, _depth(request), since)
                return {"first": first, "next": first + len(books), "books": books}
            case "GET", ["trades", symbol]:
                self._check_symbol(symbol)
                return self.exchange.trades_after(symbol, _whole(request, "since", MOST_NUMBER, "0"))
            case "GET", ["journal"]:
                entries = self.exchange.journal.since(_whole(request, "since", MOST_NUMBER, "0"))
                return {"next": self.exchange.journal.next, "entries": [attrs.asdict(entry) for entry in entries]}
            case "GET", ["faults"]:
                return self.exchange.faults.log
            case "POST", ["faults"]:
                return self._apply(request.body)
            case _, ["symbols" | "counters" | "faults" | "journal"] | ["books" | "told" | "trades", *_]:
                raise _Problem(405, f"method: expected GET, or POST on /faults, got {shown(request.method)}")
            case _:
                expected = "/symbols, /books, /told/{symbol}, /trades/{symbol}, /journal, /counters or /faults"
                raise _Problem(404, f"path: expected {expected}, got {shown(request.path)}")

    def _check_symbol(self, symbol: str) -> None:
        if symbol not in self.exchange.symbols:
            raise _Problem(404, f"symbol: expected one of GET /symbols, got {shown(symbol)}")

    def _apply(self, body: bytes) -> dict[str, object]:
        try:
            params = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError) as error:
            raise _Problem(
                400, f'body: expected a JSON object such as {{"fault": "drop_connection"}}: {error}'
            ) from None
        name = params.pop("fault", None)
        if not isinstance(name, str):
            raise _Problem(400, f"fault: expected the name of a fault, got {shown(name)}")
        done = self.exchange.faults.apply(name, params, self.clock.now())
        self.nudge()
        return done


class _Problem(Exception):
    """An answer in flight."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


def _depth(request: RestRequest) -> int:
    depth = _whole(request, "depth", 9999, str(DEFAULT_DEPTH))
    if depth == 0:
        raise _Problem(400, "depth: expected a whole number from 1 to 9999, got 0")
    return depth


def _whole(request: RestRequest, name: str, most: int, default: str) -> int:
    text = request.query.get(name, default)
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
        raise _Problem(400, f"{name}: expected a whole number up to {most}, got {shown(text)}")
    return int(text)
