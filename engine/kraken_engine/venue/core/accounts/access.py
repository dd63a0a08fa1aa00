"""Who may call: API keys, their signatures, their nonces, and when they are locked out.

Written from docs "Spot REST Authentication". The nonce window is 0: every nonce has to be above the last one the key
used, whatever became of that call.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import deque

import attrs

from kraken_engine.venue.core.accounts.settings import KeySettings
from kraken_engine.venue.core.timestamps import NS_PER_S

__all__ = ["LOCKOUT_NS", "ApiKey", "Denied", "NonceSeen", "signature"]

NONCES_KEPT = 100_000

MOST_BAD = 5
"""So many bad nonces or signatures within ``_BAD_WITHIN_NS`` lock a key out."""
_BAD_WITHIN_NS = 60 * NS_PER_S
LOCKOUT_NS = 900 * NS_PER_S

_MOST_NONCE = 2**64 - 1


class Denied(Exception):
    """The call is refused with these words of the venue."""


@attrs.frozen
class NonceSeen:
    """One nonce with a right signature, in order of arrival."""

    nonce: int
    at_ns: int
    refused: bool
    """Whether it was not above the last one."""
    path: str


def signature(secret: str, path: str, nonce: str, payload: bytes) -> str:
    """Return what ``API-Sign`` has to be.

    Args:
        secret: the private key, base64.
        path: of the request, from ``/0/private/`` on, without query.
        nonce: as it stands in the payload.
        payload: the body exactly as sent.
    """
    inner = hashlib.sha256(nonce.encode() + payload).digest()
    outer = hmac.new(base64.b64decode(secret), path.encode() + inner, hashlib.sha512)
    return base64.b64encode(outer.digest()).decode()


@attrs.define(eq=False)
class ApiKey:
    """One key and what became of it."""

    settings: KeySettings
    account: str
    """Name of the account it belongs to."""
    permissions: set[str]
    deleted: bool = False
    last_nonce: int = -1
    last_used_ns: int | None = None
    locked_until_ns: int = -1
    nonces: deque[NonceSeen] = attrs.field(factory=lambda: deque[NonceSeen](maxlen=NONCES_KEPT))
    """The last 100,000, for judges."""
    refused_nonces: int = 0
    _bad: deque[int] = attrs.field(factory=lambda: deque[int](maxlen=MOST_BAD), init=False)

    def check(self, path: str, nonce: str, payload: bytes, sign: str, *, now_ns: int) -> None:
        """Let a signed call pass, or refuse it.

        Raises:
            Denied: a wrong signature, a nonce that is not above the last, or a key that is locked out.
        """
        if self.deleted:
            raise Denied("EAPI:Invalid key")
        if now_ns < self.locked_until_ns:
            raise Denied("EGeneral:Temporary lockout")
        if not _equal(sign, signature(self.settings.secret, path, nonce, payload)):
            self._misused(now_ns)
            raise Denied("EAPI:Invalid signature")
        number = int(nonce) if nonce.isascii() and nonce.isdigit() and len(nonce) <= 20 else -1
        refused = not self.last_nonce < number <= _MOST_NONCE
        self.nonces.append(NonceSeen(number, now_ns, refused, path))
        if refused:
            self.refuse_nonce(now_ns)
            raise Denied("EAPI:Invalid nonce")
        self.last_nonce = number
        self.last_used_ns = now_ns

    def refuse_nonce(self, now_ns: int) -> None:
        """Count a refused nonce; too many lock the key out."""
        self.refused_nonces += 1
        self._misused(now_ns)

    def lock_out(self, until_ns: int) -> None:
        """Refuse every call until then."""
        self.locked_until_ns = until_ns

    def permits(self, any_of: tuple[str, ...]) -> bool:
        """Return whether one of these permissions was given; none needed is always permitted."""
        return not any_of or not self.permissions.isdisjoint(any_of)

    def _misused(self, now_ns: int) -> None:
        self._bad.append(now_ns)
        if len(self._bad) == MOST_BAD and now_ns - self._bad[0] <= _BAD_WITHIN_NS:
            self._bad.clear()
            self.lock_out(now_ns + LOCKOUT_NS)


def _equal(given: str, expected: str) -> bool:
    try:
        return hmac.compare_digest(base64.b64decode(given, validate=True), base64.b64decode(expected))
    except (binascii.Error, ValueError):
        return False
