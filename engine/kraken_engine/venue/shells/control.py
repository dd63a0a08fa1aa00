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
    .../accounts...               see ``control_accounts``

Meant for tests, demonstrations and the operator of a simulation on the same machine. A web page must not reach it
through the operator's browser: the Host header has to be this port's own address (against DNS rebinding), and a request
that says it comes from a page (Origin) is refused. Errors are ``{"error": text}``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import final
from urllib.parse import unquote

import attrs

from kraken_engine.errors import EngineError, shown
from kraken_engine.runtime import Clock
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.ports import RestRequest, RestResponse
from kraken_engine.venue.shells.control_accounts import answer_about_accounts
from kraken_engine.venue.shells.control_form import MOST_NUMBER, Problem, read_object, whole
from kraken_engine.venue.shells.http import json_response

__all__ = ["ControlPort"]

DEFAULT_DEPTH = 10


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
        except Problem as problem:
            return json_response(problem.status, {"error": problem.text})
        except EngineError as error:
            return json_response(400, {"error": str(error)})

    def _check_sender(self, request: RestRequest) -> None:
        host = request.headers.get("host", "")
        if host.lower() not in self.hosts:
            raise Problem(421, f"Host: expected {' or '.join(self.hosts)}, got {shown(host)}")
        if "origin" in request.headers:
            raise Problem(403, f"Origin: expected none, got {shown(request.headers['origin'])}: not for web pages")

    def _result(self, request: RestRequest) -> object:
        path = unquote(request.path).strip("/")
        match request.method, path.split("/", 1):
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
                    return self.exchange.past_book(symbol, whole(request, "checksum", 2**32 - 1, ""))
                return self.exchange.book_state(symbol, _depth(request))
            case "GET", ["told", symbol]:
                self._check_symbol(symbol)
                since = whole(request, "since", MOST_NUMBER, "0")
                first, books = self.exchange.told(symbol, _depth(request), since)
                return {"first": first, "next": first + len(books), "books": books}
            case "GET", ["trades", symbol]:
                self._check_symbol(symbol)
                return self.exchange.trades_after(symbol, whole(request, "since", MOST_NUMBER, "0"))
            case "GET", ["journal"]:
                entries = self.exchange.journal.since(whole(request, "since", MOST_NUMBER, "0"))
                return {"next": self.exchange.journal.next, "entries": [attrs.asdict(entry) for entry in entries]}
            case method, ["accounts", *_] if method in ("GET", "POST"):
                done = answer_about_accounts(self.exchange, request, path, self.clock.now())
                self.nudge()
                return done
            case "GET", ["faults"]:
                return self.exchange.faults.log
            case "POST", ["faults"]:
                return self._apply(request.body)
            case _, ["symbols" | "counters" | "faults" | "journal"] | ["accounts" | "books" | "told" | "trades", *_]:
                raise Problem(
                    405, f"method: expected GET, or POST on /faults and /accounts, got {shown(request.method)}"
                )
            case _:
                expected = (
                    "/symbols, /books, /told/{symbol}, /trades/{symbol}, /journal, /counters, /accounts or /faults"
                )
                raise Problem(404, f"path: expected {expected}, got {shown(request.path)}")

    def _check_symbol(self, symbol: str) -> None:
        if symbol not in self.exchange.symbols:
            raise Problem(404, f"symbol: expected one of GET /symbols, got {shown(symbol)}")

    def _apply(self, body: bytes) -> dict[str, object]:
        params = read_object(body, '{"fault": "drop_connection"}')
        name = params.pop("fault", None)
        if not isinstance(name, str):
            raise Problem(400, f"fault: expected the name of a fault, got {shown(name)}")
        done = self.exchange.faults.apply(name, params, self.clock.now())
        self.nudge()
        return done


def _depth(request: RestRequest) -> int:
    depth = whole(request, "depth", 9999, str(DEFAULT_DEPTH))
    if depth == 0:
        raise Problem(400, "depth: expected a whole number from 1 to 9999, got 0")
    return depth
