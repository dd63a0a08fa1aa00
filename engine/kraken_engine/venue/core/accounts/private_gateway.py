"""Answers what WebSocket sessions ask of their accounts: who may listen, until when, and what he hears first.

A token is checked with every request that carries one; once a subscription holds it, it does not age on that
connection. Trading over the WebSocket is switched off here: whoever asks is told so in the venue's words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kraken_engine.venue.core.accounts.channels import Listener, PrivateChannels
from kraken_engine.venue.core.accounts.private_requests import NEEDED, acknowledged, read_private
from kraken_engine.venue.core.accounts.registry import Accounts
from kraken_engine.venue.core.accounts.tokens import Token
from kraken_engine.venue.core.requests import ONLY_PRIVATE, PRIVATE_CHANNELS, TRADING, Refused, Request, success
from kraken_engine.venue.core.sessions import Session

__all__ = ["PrivateGateway", "PrivateRequestFaults"]


class PrivateRequestFaults(Protocol):
    """What may go wrong on command while a private subscription is made."""

    def ignores(self, symbol: str | None) -> bool:
        """Return whether this subscription gets no answer at all."""
        ...

    def refuses(self, symbol: str | None) -> str | None:
        """Return the words with which this subscription is refused."""
        ...

    def refuses_private(self, account: str, channel: str) -> str | None:
        """Return the words with which a subscription to this account is refused."""
        ...

    def private_delay_ns(self, account: str, channel: str) -> int:
        """Return how long the snapshot of this subscription is held back."""
        ...


class PrivateGateway:
    """The private half of the venue's end of a WebSocket session."""

    def __init__(
        self,
        accounts: Accounts,
        channels: PrivateChannels,
        faults: PrivateRequestFaults,
        later: Callable[[int, Callable[[], None]], None],
    ) -> None:
        """Serve these accounts; ``later`` calls something in so many nanoseconds."""
        self._accounts = accounts
        self._channels = channels
        self._faults = faults
        self._later = later

    @staticmethod
    def concerns(request: Request) -> bool:
        """Return whether a request is about accounts."""
        return request.method in TRADING or (request.params or {}).get("channel") in PRIVATE_CHANNELS

    def handle(
        self, session: Session, request: Request, wall_ns: int, times: tuple[bytes, bytes]
    ) -> tuple[bytes, Callable[[], None]] | None:
        """Answer a request that concerns us.

        Returns:
            The success reply, and what to do once it is sent; or None: no answer at all, on command.

        Raises:
            Refused: with the venue's words.
        """
        token = self._token(session, request, wall_ns)
        account = self._accounts[token.account]
        if request.method in TRADING:
            raise self._refused(request, "EAPI:Feature disabled")
        channel = (request.params or {})["channel"]
        if request.method not in ("subscribe", "unsubscribe") or channel not in NEEDED:
            raise self._refused(request, "Unsupported event")
        subscription = read_private(request)
        listener = self._channels.find(session.id, channel)
        if request.method == "unsubscribe":
            if listener is None:
                raise self._refused(request, "Subscription Not Found")
            return (
                success(request, acknowledged(request, subscription, account.tier), *times),
                lambda: self._end(listener),
            )
        if self._faults.ignores(None):
            return None
        error = self._faults.refuses(None) or self._faults.refuses_private(account.name, channel)
        if error is None and not self._accounts.api_keys[token.key].permits(NEEDED[channel]):
            error = "EGeneral:Permission denied"
        if error is None and listener is not None:
            error = "Already subscribed"
        if error is not None:
            raise self._refused(request, error)
        new = Listener(session, subscription, account, token)
        self._channels.add(new)
        self._accounts.tokens.hold(token, session.id)
        return success(request, acknowledged(request, subscription, account.tier), *times), lambda: self._begin(new)

    def drop(self, session: Session) -> None:
        """Forget everything an ended session listened to."""
        for listener in self._channels.of_session(session.id):
            self._end(listener)

    def _begin(self, listener: Listener) -> None:
        delay_ns = self._faults.private_delay_ns(listener.account.name, listener.subscription.channel)
        if not delay_ns:
            self._channels.begin(listener)
            return

        def late() -> None:
            if self._channels.find(listener.session.id, listener.subscription.channel) is listener:
                self._channels.begin(listener)

        self._later(delay_ns, late)

    def _end(self, listener: Listener) -> None:
        self._channels.remove(listener)
        self._accounts.tokens.let_go(listener.token, listener.session.id)

    def _token(self, session: Session, request: Request, wall_ns: int) -> Token:
        if session.kind != "auth":
            raise self._refused(request, ONLY_PRIVATE)
        text = (request.params or {}).get("token")
        if text is None:
            raise self._refused(request, "Token(s) not found")
        if not isinstance(text, str):
            raise self._refused(request, "Token field must be a string")
        token = self._accounts.tokens.find(text, session.id, wall_ns)
        if token is None:
            raise self._refused(request, "ESession:Invalid session")
        return token

    def _refused(self, request: Request, error: str) -> Refused:
        channel = (request.params or {}).get("channel")
        named = error.startswith("E") and isinstance(channel, str) and request.method not in TRADING
        extra = {"channel": str(channel), "status": "error"} if named else {}
        return Refused(error, method=request.method, req_id=request.req_id, extra=extra)
