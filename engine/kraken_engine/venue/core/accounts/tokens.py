"""Tokens for the private WebSocket: 15 minutes, and longer on a connection that holds a subscription with one."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import attrs

from kraken_engine.runtime import Rng
from kraken_engine.venue.core.timestamps import NS_PER_S

__all__ = ["LIFETIME_S", "Token", "Tokens"]

LIFETIME_S = 900
"""Docs "Get Websockets Token": to be used within 15 minutes of its creation."""

MOST_KEPT = 10_000


@attrs.define(eq=False)
class Token:
    """One token."""

    text: str = attrs.field(repr=False)
    account: str
    key: str
    """The public half of the key that asked for it."""
    made_ns: int
    revoked: bool = False
    sessions: dict[int, int] = attrs.field(factory=dict[int, int])
    """Subscriptions that each session holds with it, by session id."""


class Tokens:
    """Every token of the venue."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._tokens: dict[str, Token] = {}

    def make(self, account: str, key: str, now_ns: int) -> Token:
        """Make a token; the oldest that nobody holds any more is forgotten when there are too many."""
        text = base64.b64encode(self._rng.getrandbits(256).to_bytes(32, "big")).decode().rstrip("=")
        token = self._tokens[text] = Token(text, account, key, now_ns)
        if len(self._tokens) > MOST_KEPT:
            unheld = next((text for text, old in self._tokens.items() if not old.sessions), None)
            if unheld is not None:
                del self._tokens[unheld]
        return token

    def find(self, text: str, session_id: int, now_ns: int) -> Token | None:
        """Return a token that is good for this session now, or None."""
        token = self._tokens.get(text)
        if token is None or token.revoked:
            return None
        if session_id not in token.sessions and now_ns - token.made_ns >= LIFETIME_S * NS_PER_S:
            return None
        return token

    def hold(self, token: Token, session_id: int) -> None:
        """Note a subscription that keeps the token alive on its session."""
        token.sessions[session_id] = token.sessions.get(session_id, 0) + 1

    def let_go(self, token: Token, session_id: int) -> None:
        """Note the end of such a subscription."""
        left = token.sessions.get(session_id, 0) - 1
        if left > 0:
            token.sessions[session_id] = left
        else:
            token.sessions.pop(session_id, None)

    def of(self, account: str) -> list[Token]:
        """Return the tokens of an account, oldest first."""
        return [token for token in self._tokens.values() if token.account == account]

    def revoke(self, account: str) -> Mapping[int, int]:
        """Make every token of an account worthless; return the sessions that held one."""
        held: dict[int, int] = {}
        for token in self.of(account):
            token.revoked = True
            held |= token.sessions
        return held
