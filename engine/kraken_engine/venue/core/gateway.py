"""Answers the requests of WebSocket sessions: one ack per symbol, then the snapshots, then whatever the channels send.

It decides who is subscribed to what. Words and shapes are those of ``requests``; data comes from the listings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from kraken_engine.venue.core import frames
from kraken_engine.venue.core.accounts.private_gateway import PrivateGateway
from kraken_engine.venue.core.agenda import Agenda, Happening
from kraken_engine.venue.core.delivery import Delivery
from kraken_engine.venue.core.journal import Journal
from kraken_engine.venue.core.listing import Listing
from kraken_engine.venue.core.requests import (
    Refused,
    Request,
    ack,
    pong,
    read_request,
    read_subscription,
    refusal,
)
from kraken_engine.venue.core.sessions import Session, Subscription
from kraken_engine.venue.core.timestamps import NS_PER_S, NS_PER_US, Stamps

__all__ = ["Gateway", "RequestFaults"]

HEARTBEAT_NS = NS_PER_S

_HANDLING_US = 23
"""Shortest time between ``time_in`` and ``time_out``, in µs."""


class RequestFaults(Protocol):
    """What may go wrong on command while a subscription is made."""

    def ignores(self, symbol: str | None) -> bool:
        """Return whether this subscription gets no answer at all."""
        ...

    def refuses(self, symbol: str | None) -> str | None:
        """Return the words with which this subscription is refused."""
        ...

    def snapshot_delay_ns(self, symbol: str | None) -> int:
        """Return how long the snapshot of this book is held back."""
        ...


class Gateway:
    """The venue's end of every WebSocket session."""

    def __init__(
        self,
        *,
        listings: Mapping[str, Listing],
        delivery: Delivery,
        agenda: Agenda,
        faults: RequestFaults,
        journal: Journal,
        stamps: Stamps,
        wall_start_ns: int,
        private: PrivateGateway,
    ) -> None:
        self.requests = 0
        self.instruments = b""
        """The snapshot of the instrument channel."""
        self.instrument_subscribers: dict[int, Session] = {}
        self._listings = listings
        self._delivery = delivery
        self._agenda = agenda
        self._faults = faults
        self._journal = journal
        self._stamps = stamps
        self._wall_start_ns = wall_start_ns
        self._private = private

    def handle(self, session: Session, text: bytes, now_ns: int) -> None:
        """Answer one frame of a client."""
        self.requests += 1
        session.heard_ns = now_ns
        try:
            request = read_request(text)
            if request.method == "ping":
                self._reply(session, pong(request.req_id, *self._times(now_ns)))
            elif self._private.concerns(request):
                self._about_accounts(session, request, now_ns)
            else:
                self._subscription(session, request, now_ns)
        except Refused as refused:
            for symbol in refused.symbols or (None,):
                self._reply(session, refusal(refused, symbol, *self._times(now_ns)))

    def drop(self, session: Session) -> None:
        """Forget everything an ended session was subscribed to."""
        for subscription in session.subscriptions.values():
            self._detach(session, subscription)
        session.subscriptions.clear()
        self._private.drop(session)

    def _about_accounts(self, session: Session, request: Request, now_ns: int) -> None:
        channel: object = (request.params or {}).get("channel")
        self._journal.add(session.id, request.method, channel if isinstance(channel, str) else None)
        answered = self._private.handle(session, request, self._wall_start_ns + now_ns, self._times(now_ns))
        if answered is None:
            return
        reply, and_then = answered
        self._reply(session, reply)
        if request.method == "subscribe":
            self._start_heartbeats(session, now_ns)
        and_then()

    def _subscription(self, session: Session, request: Request, now_ns: int) -> None:
        asked = read_subscription(request, session.kind)
        first, *_ = asked.subscriptions
        self._journal.add(session.id, request.method, first.channel, (one.symbol for one in asked.subscriptions))
        act = self._subscribe if request.method == "subscribe" else self._unsubscribe
        accepted: list[Subscription] = []
        for subscription in asked.subscriptions:
            symbol = subscription.symbol
            if request.method == "subscribe" and self._faults.ignores(symbol):
                continue
            error = self._unknown(symbol)
            if error is None and request.method == "subscribe":
                error = self._faults.refuses(symbol)
            if error is None:
                error = act(session, subscription)
            times = self._times(now_ns)
            if error is None:
                accepted.append(subscription)
                self._reply(session, ack(request, subscription, asked.snapshot, *times))
            else:
                refused = Refused(error, method=request.method, req_id=request.req_id)
                self._reply(session, refusal(refused, symbol, *times))
        if request.method == "subscribe":
            for subscription in accepted:
                self._begin(session, subscription, asked.snapshot, now_ns)

    def _unknown(self, symbol: str | None) -> str | None:
        return None if symbol is None or symbol in self._listings else f"Currency pair not supported {symbol}"

    def _subscribe(self, session: Session, subscription: Subscription) -> str | None:
        if subscription.place in session.subscriptions:
            return "Already subscribed"
        session.subscriptions[subscription.place] = subscription
        return None

    def _unsubscribe(self, session: Session, subscription: Subscription) -> str | None:
        if session.subscriptions.get(subscription.place) != subscription:
            return "Subscription Not Found"
        del session.subscriptions[subscription.place]
        self._detach(session, subscription)
        return None

    def _start_heartbeats(self, session: Session, now_ns: int) -> None:
        if not session.heartbeats:
            session.heartbeats = True
            self._agenda.at(now_ns + HEARTBEAT_NS, self._heartbeat(session))

    def _begin(self, session: Session, subscription: Subscription, snapshot: bool, now_ns: int) -> None:
        self._start_heartbeats(session, now_ns)
        delay_ns = (
            self._faults.snapshot_delay_ns(subscription.symbol) if subscription.channel == "book" and snapshot else 0
        )
        if not delay_ns:
            self._attach(session, subscription, snapshot, now_ns)
            return

        def late(at_ns: int) -> None:
            if session.open and session.subscriptions.get(subscription.place) is subscription:
                self._attach(session, subscription, snapshot, at_ns)

        self._agenda.at(now_ns + delay_ns, late)

    def _attach(self, session: Session, subscription: Subscription, snapshot: bool, now_ns: int) -> None:
        symbol = subscription.symbol
        if symbol is None:
            self.instrument_subscribers[session.id] = session
            if snapshot:
                self._delivery.tell(session, "instrument", self.instruments)
            return
        listing = self._listings[symbol]
        listing.attach(session, subscription)
        if snapshot:
            frame = listing.snapshot(subscription, self._wall_start_ns + now_ns)
            self._delivery.tell(session, subscription.channel, frame, symbol)

    def _detach(self, session: Session, subscription: Subscription) -> None:
        if subscription.symbol is None:
            self.instrument_subscribers.pop(session.id, None)
        else:
            self._listings[subscription.symbol].detach(session, subscription)

    def _heartbeat(self, session: Session) -> Happening:
        def beat(now_ns: int) -> int | None:
            if not session.open:
                return None
            self._delivery.tell(session, "heartbeat", frames.HEARTBEAT)
            return now_ns + HEARTBEAT_NS

        return beat

    def _reply(self, session: Session, payload: bytes) -> None:
        self._delivery.tell(session, "reply", payload)

    def _times(self, now_ns: int) -> tuple[bytes, bytes]:
        """Return ``time_in`` and the later ``time_out``."""
        wall_ns = self._wall_start_ns + now_ns
        handled_ns = (_HANDLING_US + self.requests % 40) * NS_PER_US
        return self._stamps.micros(wall_ns), self._stamps.micros(wall_ns + handled_ns)
