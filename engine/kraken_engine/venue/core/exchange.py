"""The simulated exchange as one object: everything it does follows from its seed, its inputs and their times.

Sans-IO: the shell tells the time, and puts on the wire what it finds in the outboxes. Market steps, heartbeats,
time-outs and the requests of clients are all entries of one agenda with times of their own. So it makes no difference
how often or how unevenly :meth:`Exchange.advance` is called: the same inputs at the same times give the same bytes.

``rate`` is the mean number of market steps a second over all symbols. A step changes the ten best levels of its symbol
in one book message (1.005 on average), so one client that subscribes to the book of all symbols gets about ``rate``
book messages a second. Trades, tickers and candles come on top: one step in ten is a trade. Symbols are not equally
busy: number *i* (from 0) gets a share proportional to ``1 / (i + 4)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from kraken_engine.errors import ConfigError, UsageError
from kraken_engine.runtime import seeded_rng
from kraken_engine.venue.core import frames
from kraken_engine.venue.core.accounts.channels import Listener
from kraken_engine.venue.core.accounts.registry import Accounts
from kraken_engine.venue.core.accounts.settings import AccountSettings
from kraken_engine.venue.core.accounts.side import PrivateSide
from kraken_engine.venue.core.agenda import Agenda, Happening
from kraken_engine.venue.core.book_channel import RECENT
from kraken_engine.venue.core.delivery import Delivery
from kraken_engine.venue.core.faults import Faults
from kraken_engine.venue.core.gateway import Gateway
from kraken_engine.venue.core.instruments import assets_of, listed_pairs
from kraken_engine.venue.core.journal import Journal
from kraken_engine.venue.core.listing import Listing
from kraken_engine.venue.core.maintenance import Notice
from kraken_engine.venue.core.market import TradingMode
from kraken_engine.venue.core.names import Names
from kraken_engine.venue.core.oracle import Oracle
from kraken_engine.venue.core.ports import Close, RestRequest, RestResponse
from kraken_engine.venue.core.rest_form import failure
from kraken_engine.venue.core.rest_gate import PublicPace, RestGate
from kraken_engine.venue.core.rest_public import PublicRest
from kraken_engine.venue.core.sessions import Session
from kraken_engine.venue.core.timestamps import NS_PER_S, NS_PER_US, Stamps, http_date

__all__ = ["Exchange"]

MOST_PER_CALL = 2_000
"""Entries of the agenda that one call of ``advance`` works off."""

MOST_RATE = 1e6

MOST_WAITING = 1_000
"""Unanswered requests of one session before it is closed."""

IDLE_NS = 60 * NS_PER_S
"""A session whose client sent no text frame for so long is closed; what we send does not count."""

_LEVELS_IN_ALL = 60_000
"""Levels a side, over all symbols: 1,200 each for up to 50 symbols, 60 each for 1,000."""
_FEWEST_LEVELS = 60
_MOST_LEVELS = 1_200

_RECENT_IN_ALL = 100_000
"""Whole books kept for judges, over all symbols."""
_FEWEST_RECENT = 32


class Exchange:
    """The simulated exchange."""

    def __init__(
        self,
        seed: int,
        symbols: int,
        rate: float,
        now: float,
        wall_ns: int,
        *,
        levels: int | None = None,
        accounts: Sequence[AccountSettings] = (),
        public_pace: PublicPace | None = None,
    ) -> None:
        """Open the exchange.

        Args:
            seed: decides everything that is drawn.
            symbols: how many pairs are listed, 1 to 5000.
            rate: mean number of book messages a second over all symbols, see above.
            now: monotonic seconds of this moment.
            wall_ns: wall-clock time of this moment, nanoseconds since 1970; later wall times follow from ``now``.
            levels: levels a side of every book. By default 1,200 for up to 50 symbols, fewer for more, so that
                opening stays quick; a world that needs only shallow books opens faster with fewer.
            accounts: those that it has from the start; ``accounts.create`` opens more.
            public_pace: how often an address may ask REST for public data; None: as often as it likes.

        Raises:
            ConfigError: ``symbols``, ``rate`` or ``levels`` is out of range.
            UsageError: two accounts have the same name or key.
        """
        if not 0 < rate < MOST_RATE:
            raise ConfigError(f"rate: expected more than 0 and less than {MOST_RATE:g} messages a second, got {rate!r}")
        if levels is not None and not _FEWEST_LEVELS <= levels <= _MOST_LEVELS:
            raise ConfigError(f"levels: expected {_FEWEST_LEVELS} to {_MOST_LEVELS}, got {levels!r}")
        pairs = listed_pairs(symbols)
        self.seed = seed
        self.symbols: list[str] = [pair.symbol for pair in pairs]
        self.sessions: dict[int, Session] = {}
        """The open ones, by id."""
        self._start_s = now
        self._wall_start_ns = wall_ns
        self._agenda = Agenda()
        self._delivery = Delivery(self.now_s)
        self.journal = Journal(self.now_s)
        """What sessions did and asked for."""
        self._stamps = Stamps()
        self._opened = 0
        self._closed_idle = 0
        self._mode = TradingMode.ONLINE
        self._notices: list[Notice] = []
        kept = levels or max(_FEWEST_LEVELS, min(_MOST_LEVELS, _LEVELS_IN_ALL // symbols))
        weights = [1 / (place + 4) for place in range(symbols)]
        self._listings = {
            pair.symbol: Listing(
                pair,
                seed=seed,
                steps_per_s=rate * weight / sum(weights),
                levels=kept,
                recent_books=max(_FEWEST_RECENT, min(RECENT, _RECENT_IN_ALL // symbols)),
                wall_ns=wall_ns,
                delivery=self._delivery,
                stamps=self._stamps,
            )
            for pair, weight in zip(pairs, weights, strict=True)
        }
        self.faults = Faults(self, self._listings, self._delivery)
        """Everything that may be made to go wrong."""
        self._announced = {pair.symbol: pair for pair in pairs}
        self._assets = assets_of(pairs)
        names = Names(tuple(self._listings.values()), self._assets)
        self._rest = PublicRest(names)
        self._gate = RestGate(public_pace)
        self._rest_requests = 0
        self.private = PrivateSide(
            self,
            listings=self._listings,
            names=names,
            delivery=self._delivery,
            stamps=self._stamps,
            faults=self.faults,
            accounts=accounts,
        )
        """Orders, listeners and calls of accounts."""
        self._gateway = Gateway(
            listings=self._listings,
            delivery=self._delivery,
            agenda=self._agenda,
            faults=self.faults,
            journal=self.journal,
            stamps=self._stamps,
            wall_start_ns=wall_ns,
            private=self.private.gateway,
        )
        self._gateway.instruments = frames.instrument_frame(b"snapshot", self._assets, pairs)
        self._oracle = Oracle(self._listings)
        for place, listing in enumerate(self._listings.values()):
            self._agenda.at(listing.pause_ns(), self._market(listing), order=place)

    @property
    def accounts(self) -> Accounts:
        """The accounts by name, their keys and their tokens."""
        return self.private.accounts

    @property
    def system(self) -> str:
        """State of the venue: ``online``, ``maintenance``, ``cancel_only``, ``post_only``, ``limit_only``."""
        return self._mode.value

    def advance(self, now: float) -> None:
        """Let everything happen that is due until ``now``, at most 2,000 happenings per call.

        When more is due, :meth:`next_due` stays in the past and the next call goes on.
        """
        self._agenda.run(self.elapsed_ns(now), MOST_PER_CALL)

    def next_due(self) -> float:
        """Return when :meth:`advance` is wanted next, on the clock of ``now``."""
        next_ns = self._agenda.next_ns
        if next_ns is None:
            return self.now_s() + 1.0
        # A microsecond late, so that rounding to a float never lands before the happening itself.
        return self._start_s + (next_ns + NS_PER_US) / NS_PER_S

    def connect(self, kind: str, now: float) -> Session:
        """Open a session of ``kind`` ``public`` or ``auth``; a status frame greets it."""
        self.advance(now)
        self._opened += 1
        connection_id = seeded_rng(f"{self.seed}:connection:{self._opened}").getrandbits(64)
        session = self.sessions[self._opened] = Session(self, self._opened, kind, connection_id)
        session.heard_ns = self._agenda.now_ns
        self.journal.add(session.id, "open")
        self._agenda.at(session.heard_ns + IDLE_NS, self._idle_check(session))
        self._tell_status(session)
        return session

    def rest(self, request: RestRequest, now: float) -> RestResponse:
        """Answer one HTTP request."""
        self.advance(now)
        self._rest_requests += 1
        wall_ns = self._wall_start_ns + self._agenda.now_ns

        def answer() -> RestResponse:
            refused = self._gate.refuses(request, wall_ns)
            if refused is not None:
                return failure(refused)
            if request.path.startswith("/0/private/"):
                return self.private.rest.answer(request, wall_ns)
            return self._rest.answer(request, wall_ns, self.system)

        said = self.faults.on_rest(request, answer)
        return attrs.evolve(said, headers={"date": http_date(wall_ns), **said.headers})

    def listeners_to(self, account: str) -> list[Listener]:
        """Return everybody who listens to an account."""
        return self.private.channels.of_account(account)

    def listing(self, symbol: str) -> Listing:
        """Return one market. UsageError: it is not listed."""
        if symbol not in self._listings:
            raise UsageError(f"symbol: expected a listed one such as {self.symbols[0]}, got {symbol!r}")
        return self._listings[symbol]

    def book_state(self, symbol: str, depth: int = 10) -> dict[str, object]:
        """Return the true book: text levels, checksum, time of its last change. UsageError for an unknown symbol."""
        return self._oracle.book_state(symbol, depth)

    def past_book(self, symbol: str, checksum: int) -> dict[str, object]:
        """Return the latest recent book of ``symbol`` that had ``checksum``. UsageError when none had."""
        return self._oracle.past_book(symbol, checksum)

    def recent_books(self, symbol: str) -> Iterator[dict[str, object]]:
        """Yield the last books of ``symbol``, the latest one first. UsageError for an unknown symbol."""
        return self._oracle.recent_books(symbol)

    def ever_had(self, symbol: str, checksum: int, timestamp: str | None = None) -> bool:
        """Return whether the book of ``symbol`` ever had ``checksum`` (at ``timestamp``, as sent on the wire)."""
        return self._oracle.ever_had(symbol, checksum, timestamp)

    def trades(self, symbol: str, last: int = 50) -> list[dict[str, object]]:
        """Return the last trades of ``symbol``, oldest first."""
        return self._oracle.trades(symbol, last)

    def trades_after(self, symbol: str, trade_id: int) -> list[dict[str, object]]:
        """Return the trades of ``symbol`` after the one called ``trade_id``, as far as they are kept."""
        return self._oracle.trades_after(symbol, trade_id)

    def told(self, symbol: str, depth: int = 10, since: int = 0) -> tuple[int, list[tuple[int, int]]]:
        """Return which books subscribers of ``depth`` were sent as updates, beginning with the one numbered ``since``.

        Returns:
            The number of the first (above ``since`` when that one is forgotten) and, for each, its time in µs since
            1970 and its checksum. Numbers begin with the first subscriber ever.
        """
        return self._oracle.told(symbol, depth, since)

    def counters(self) -> dict[str, object]:
        """Return what was counted since the start."""
        return {
            "now_s": self.now_s(),
            "system": self.system,
            "steps": sum(listing.steps for listing in self._listings.values()),
            "frames": dict(self._delivery.frames),
            "requests": self._gateway.requests,
            "rest_requests": self._rest_requests,
            "sessions_opened": self._opened,
            "sessions_open": len(self.sessions),
            "sessions_closed_idle": self._closed_idle,
            "faults_given": self.faults.given,
            "faults_hit": self.faults.hits(),
        }

    # What sessions and faults ask for.

    def now_s(self) -> float:
        """Return how far the exchange has got, on the clock of ``now``."""
        return self._start_s + self._agenda.now_ns / NS_PER_S

    def wall_ns(self) -> int:
        """Return how far the exchange has got, in nanoseconds since 1970."""
        return self._wall_start_ns + self._agenda.now_ns

    def elapsed_ns(self, now: float) -> int:
        """Return ``now`` as nanoseconds since the exchange opened."""
        return round((now - self._start_s) * NS_PER_S)

    def at(self, time_ns: int, happening: Happening) -> None:
        """Enter something into the agenda, in nanoseconds since the exchange opened."""
        self._agenda.at(time_ns, happening)

    def at_wall(self, wall_ns: int, happening: Happening) -> None:
        """Enter something into the agenda, in nanoseconds since 1970."""
        self._agenda.at(wall_ns - self._wall_start_ns, happening)

    def receive(self, session: Session, text: bytes, now: float) -> None:
        """Queue a frame of a client; it is answered when all that is due before it has happened."""
        if not session.open:
            return
        if session.waiting >= MOST_WAITING:
            session.end(Close(1008, "too many requests"))
            return
        session.waiting += 1

        def handle(now_ns: int) -> None:
            session.waiting -= 1
            if session.open:
                self._gateway.handle(session, text, now_ns)

        self._agenda.at(self.elapsed_ns(now), handle)
        self.advance(now)

    def ended(self, session: Session) -> None:
        """Forget a session, once what is happening now is over."""
        self.sessions.pop(session.id, None)
        self.journal.add(session.id, "end")
        self._agenda.at(self._agenda.now_ns, lambda _: self._gateway.drop(session))

    def set_mode(self, mode: TradingMode) -> int:
        """Change the state of the venue, tell every session, and return how many were told."""
        self._mode = mode
        for listing in self._listings.values():
            listing.flow.mode = mode
        return self._tell_all()

    def announce(self, notice: Notice) -> int:
        """Tell of maintenance from now on, and return how many were told."""
        self._notices.append(notice)
        return self._tell_all(notice.session_id)

    def retract(self, notice: Notice) -> None:
        """Tell of it no more."""
        self._notices.remove(notice)
        self._tell_all(notice.session_id)

    def _tell_all(self, session_id: int | None = None) -> int:
        told = [session for session in self.sessions.values() if session_id in (None, session.id)]
        for session in told:
            self._tell_status(session)
        return len(told)

    def _tell_status(self, session: Session) -> None:
        entries = [one.entry(self._stamps) for one in self._notices if one.session_id in (None, session.id)]
        self._delivery.tell(session, "status", frames.status_frame(self.system, session.connection_id, entries))

    def change_precision(self, symbol: str, price: int, qty: int) -> int:
        """Announce so many digits more than listed for ``symbol``, write its books so, and return how many were told.

        Only instruments and books change; the same numbers elsewhere keep their digits.
        """
        listing = self._listings[symbol]
        listing.book.write_digits(price, qty)
        pair = self._announced[symbol] = listing.pair.with_digits(price, qty)
        gateway = self._gateway
        gateway.instruments = frames.instrument_frame(b"snapshot", self._assets, tuple(self._announced.values()))
        told = dict(gateway.instrument_subscribers)
        self._delivery.publish("instrument", None, told, frames.instrument_frame(b"update", (), (pair,)))
        return len(told)

    def _market(self, listing: Listing) -> Happening:
        wall_start_ns = self._wall_start_ns

        def step(now_ns: int) -> int:
            listing.step(wall_start_ns + now_ns)
            return now_ns + listing.pause_ns()

        return step

    def _idle_check(self, session: Session) -> Happening:
        def check(now_ns: int) -> int | None:
            if not session.open:
                return None
            if now_ns < session.heard_ns + IDLE_NS:
                return session.heard_ns + IDLE_NS
            self._closed_idle += 1
            session.end(Close(1000))
            return None

        return check
