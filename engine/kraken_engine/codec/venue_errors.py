"""The venue's error strings: one table of what each means, what it asks for, and what it says of the venue's health.

A string is ``<E|W><Category>:<text>[:<detail>]`` over REST and mostly so over WebSocket, which has some plain
sentences besides. The longest known beginning wins, whatever the letter case and the blanks round the colons. What is
not known is treated as it is safest: a question may be asked once more, what became of an order has to be asked.

Knows words, not calls: whether a call is repeated, and when, is decided by ``control``. Sources: docs "API Error
Messages", "Spot REST Rate Limits", recordings.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import attrs

from kraken_engine.errors import (
    AuthRejected,
    NonceRejected,
    NotNow,
    OrderRefused,
    RateLimited,
    Rejected,
    RequestInvalid,
    SessionRejected,
    VenueUnavailable,
)

__all__ = [
    "VENUE_ERRORS",
    "BreakerEffect",
    "ErrorAction",
    "ErrorRule",
    "RetryClass",
    "VenueError",
    "breaker_effect",
    "classify",
    "is_warning",
    "rejected",
]


class RetryClass(enum.Enum):
    """What may be done after an answer."""

    RETRY = "R"
    """Not executed: the same again is safe, after a pause."""
    RETRY_READS = "R?"
    """Nobody knows: a question may be repeated, what became of an order has to be asked."""
    WAIT = "W"
    """Wait for a state to change, then the same again."""
    FIX = "F"
    """Never the same again."""
    STOP = "X"
    """Stop and tell somebody."""


class BreakerEffect(enum.Enum):
    """What an answer says of the venue's health, for the circuit breaker."""

    NONE = "none"
    """The venue worked; it just said no."""
    FAILURE = "failure"
    """One failure more in a row."""
    RATE_LIMIT = "rate_limit"
    """Too many calls: leave it alone at once."""


class ErrorAction(enum.StrEnum):
    """The actions of the founding document's table (section 5.2)."""

    RECONNECT_WITH_BACKOFF = "reconnect_with_backoff"
    REFRESH_TOKEN_AND_RECONNECT = "refresh_token_and_reconnect"  # noqa: S105 - no password
    ACTIVATE_CIRCUIT_BREAKER = "activate_circuit_breaker"
    RESET_NONCE_AND_RETRY = "reset_nonce_and_retry"
    LOG_AND_SKIP = "log_and_skip"
    RESTORE_FROM_CHECKPOINT = "restore_from_checkpoint"
    LOG_AND_CONTINUE = "log_and_continue"


@attrs.frozen(kw_only=True)
class ErrorRule:
    """One row of the table."""

    retry: RetryClass
    error: type[Rejected]
    breaker: BreakerEffect = BreakerEffect.NONE
    action: ErrorAction = ErrorAction.LOG_AND_CONTINUE
    pause_s: float = 0.0
    """The shortest pause that makes sense before anything like it is asked again."""
    known: bool = True
    """False for the rule of last resort."""


_R, _READS, _W, _F, _X = RetryClass
_FAILURE, _LIMIT = BreakerEffect.FAILURE, BreakerEffect.RATE_LIMIT
_OPEN = ErrorAction.ACTIVATE_CIRCUIT_BREAKER

_INVALID = ErrorRule(retry=_F, error=RequestInvalid)
_REFUSED = ErrorRule(retry=_F, error=OrderRefused)
_NO_ROOM = ErrorRule(retry=_W, error=OrderRefused)
_MODE = ErrorRule(retry=_W, error=NotNow)
_AUTH = ErrorRule(retry=_X, error=AuthRejected)
_DOWN = ErrorRule(retry=_READS, error=VenueUnavailable, breaker=_FAILURE)
_TOO_MANY = ErrorRule(retry=_R, error=RateLimited, breaker=_LIMIT, action=_OPEN, pause_s=15.0)
_PAIR_LIMIT = ErrorRule(retry=_R, error=RateLimited, pause_s=5.0)
_IGNORED = ErrorRule(retry=_F, error=Rejected)
_SESSION = ErrorRule(retry=_R, error=SessionRejected, action=ErrorAction.REFRESH_TOKEN_AND_RECONNECT)
_UNKNOWN = ErrorRule(retry=_READS, error=Rejected, known=False)

VENUE_ERRORS: Mapping[str, ErrorRule] = MappingProxyType(
    {
        "EAPI:Invalid key": _AUTH,
        "EAPI:Invalid signature": _AUTH,
        "EAPI:Invalid nonce": ErrorRule(retry=_R, error=NonceRejected, action=ErrorAction.RESET_NONCE_AND_RETRY),
        "EAPI:Rate limit exceeded": _TOO_MANY,
        "EAPI:Feature disabled": _INVALID,
        "EAPI:Bad request": _INVALID,
        "EAuth:Rate limit exceeded": _TOO_MANY,
        "EAuth:Too many requests": _TOO_MANY,
        "EAuth": _AUTH,
        "EAuth:Account temporary disabled": _AUTH,
        "EAuth:Account unconfirmed": _AUTH,
        "EAccount:Invalid permissions": _AUTH,
        "ESession:Invalid session": _SESSION,
        # Some 15 minutes: knocking meanwhile makes it longer.
        "EGeneral:Temporary lockout": ErrorRule(
            retry=_X, error=RateLimited, breaker=_LIMIT, action=_OPEN, pause_s=900.0
        ),
        "EGeneral:Too many requests": _TOO_MANY,
        "EGeneral:Permission denied": _AUTH,
        "EGeneral:Invalid arguments": _INVALID,
        # The earlier order is there: that one has to be looked for.
        "EGeneral:Invalid arguments:cl_ord_id not unique": _REFUSED,
        "EGeneral:Invalid arguments:volume minimum not met": _REFUSED,
        "EGeneral:Unknown method": _INVALID,
        "EGeneral:Internal error": _DOWN,
        "EDatabase": _DOWN,
        "EDatabase:Internal error": _DOWN,
        "EService": _DOWN,
        "EService:Unavailable": _DOWN,
        "EService:Busy": _DOWN,
        "EService:Throttled": _TOO_MANY,
        "EService:Market in": _MODE,
        "EService:Market in cancel_only mode": _MODE,
        "EService:Market in post_only mode": _MODE,
        "EService:Market in limit_only mode": _MODE,
        # The engine saw it too late and says so: it works, and nothing was executed. The same again has the same
        # deadline: another order, with another one, is for whoever made this one.
        "EService:Deadline elapsed": _REFUSED,
        "EQuery": _INVALID,
        "EQuery:Unknown asset pair": _INVALID,
        "EQuery:Unknown asset": _INVALID,
        "EQuery:Invalid asset pair": _INVALID,
        "EOrder:Insufficient funds": _REFUSED,
        "EOrder:Order minimum not met": _REFUSED,
        "EOrder:Cost minimum not met": _REFUSED,
        "EOrder:Tick size check failed": _REFUSED,
        "EOrder:Invalid price": _REFUSED,
        "EOrder:Invalid order": _REFUSED,
        "EOrder:Unknown order": _REFUSED,
        "EOrder:Post only order": _REFUSED,
        # Of one pair: the rest of the API is well.
        "EOrder:Rate limit exceeded": _PAIR_LIMIT,
        "EOrder:Domain rate limit exceeded": _PAIR_LIMIT,
        "EOrder:Orders limit exceeded": _NO_ROOM,
        "EOrder:Scheduled orders limit exceeded": _NO_ROOM,
        "EOrder:Positions limit exceeded": _NO_ROOM,
        "EOrder:Cannot open position": _REFUSED,
        "EOrder:Cannot open opposing position": _REFUSED,
        "EOrder:Insufficient margin": _REFUSED,
        "EOrder:Margin allowance exceeded": _REFUSED,
        "EOrder:Margin level too low": _REFUSED,
        "EOrder:Margin position size exceeded": _REFUSED,
        "EOrder:Unknown position": _REFUSED,
        "EOrder:Reduce only": _REFUSED,
        "EOrder:Reduce only:No position exists": _REFUSED,
        "EOrder:Reduce only:Position is closed": _REFUSED,
        "EOrder:Reduce only:Non-PC": _REFUSED,
        "ETrade:Invalid request": _INVALID,
        "ETrade:User Locked": _AUTH,
        "EBM:limit exceeded": ErrorRule(retry=_X, error=OrderRefused),
        "EBM:limit exceeded:CAL": ErrorRule(retry=_X, error=OrderRefused),
        "EFunding": _INVALID,
        "EFunding:Unknown withdraw key": _INVALID,
        "EFunding:Invalid amount": _INVALID,
        "EFunding:Unknown asset": _INVALID,
        "EFunding:No funding method": _INVALID,
        "EFunding:Max fee exceeded": _INVALID,
        "EFunding:Too many addresses": _INVALID,
        "EFunding:Unknown reference id": _INVALID,
        "EFunding:Invalid reference id": _INVALID,
        "EEarnings": _INVALID,
        "EEarnings:Busy": ErrorRule(retry=_R, error=VenueUnavailable),
        "EEarnings:Below min": _INVALID,
        "EEarnings:Above max": _INVALID,
        "EEarnings:Insufficient funds": _INVALID,
        "EEarnings:Permission denied": _AUTH,
        "WDatabase:No change": _IGNORED,
        # WebSocket alone
        "Currency pair not supported": _INVALID,
        "Malformed request": _INVALID,
        "Unsupported event": _INVALID,
        "Unsupported field": _INVALID,
        "Token(s) not found": _SESSION,
        "Exceeded msg rate": ErrorRule(retry=_R, error=RateLimited, pause_s=1.0),
        "Private data and trading are unavailable on this endpoint": _INVALID,
        "Public market data subscriptions are unavailable on this endpoint": _INVALID,
    }
)
"""Every string the venue is known to use, in its own spelling; a bare category stands for what it may add to it."""

_ANYWHERE = {"field must be a number_float": _INVALID}
"""What follows a name the venue puts first."""


@attrs.frozen(kw_only=True)
class VenueError:
    """What one error string means."""

    words: str
    """As the venue wrote it."""
    rule: ErrorRule
    retry_at_unix_s: float | None = None
    """The venue's own word for when to come back (``EService: Throttled: <time>``)."""

    @property
    def counts_for_breaker(self) -> bool:
        """Whether the circuit breaker has to hear of it."""
        return self.rule.breaker is not BreakerEffect.NONE

    def retryable(self, *, read: bool) -> bool:
        """Return whether the same request may be sent again after a pause; ``read`` for one that changes nothing."""
        return self.rule.retry is RetryClass.RETRY or (self.rule.retry is RetryClass.RETRY_READS and read)

    def maybe_executed(self, *, read: bool) -> bool:
        """Return whether the venue may have acted on the request in spite of its answer."""
        return self.rule.retry is RetryClass.RETRY_READS and not read


def classify(words: str) -> VenueError:
    """Return what the error string ``words`` means; :attr:`ErrorRule.known` is False for one that is in no row."""
    text = _plain(words)
    rule = next((_RULES[beginning] for beginning in _beginnings(text) if beginning in _RULES), None)
    if rule is None:
        rule = next((rule for part, rule in _ANYWHERE.items() if part in text), _UNKNOWN)
    found = _THROTTLED.fullmatch(text)
    return VenueError(words=words, rule=rule, retry_at_unix_s=float(found[1]) if found else None)


def is_warning(words: str) -> bool:
    """Return whether a member of a reply's ``error`` list is a warning, beside which the result stands."""
    return _WARNING.match(words) is not None


def rejected(operation: str, errors: Sequence[str], *, read: bool) -> Rejected:
    """Return the error to raise for the venue's ``errors``; the gravest of them decides its type.

    Args:
        operation: what was asked.
        errors: at least one string, none of them a warning.
        read: whether the operation changes nothing at the venue.
    """
    found = [classify(words) for words in errors]
    gravest = max(found, key=lambda error: _GRAVITY[error.rule.retry])
    return gravest.rule.error(
        operation,
        "; ".join(errors),
        retryable=all(error.retryable(read=read) for error in found),
        action=str(gravest.rule.action),
        maybe_executed=any(error.maybe_executed(read=read) for error in found),
        retry_after_s=max(error.rule.pause_s for error in found),
    )


def breaker_effect(errors: Sequence[str]) -> BreakerEffect:
    """Return what the venue's ``errors`` together say of its health: a rate limit outweighs a failure."""
    effects = {classify(words).rule.breaker for words in errors}
    return next(
        (effect for effect in (BreakerEffect.RATE_LIMIT, BreakerEffect.FAILURE) if effect in effects),
        BreakerEffect.NONE,
    )


_COLON = re.compile(r"\s*:\s*")
_BLANKS = re.compile(r"\s+")
_WARNING = re.compile(r"\s*W[A-Z][A-Za-z]*\s*:")
_THROTTLED = re.compile(r"eservice:throttled:([0-9]{1,12}(?:\.[0-9]{1,9})?)")
_LOOKED_AT = 200
_GRAVITY = {retry: gravity for gravity, retry in enumerate((_R, _W, _READS, _F, _X))}


def _plain(words: str) -> str:
    return _COLON.sub(":", _BLANKS.sub(" ", words[:_LOOKED_AT])).strip().casefold()


def _beginnings(text: str) -> Iterator[str]:
    """Give ``text`` and every shorter beginning of it that ends where a word does, longest first."""
    yield text
    for at in range(len(text) - 1, 0, -1):
        if text[at] in ": .,":
            yield text[:at]


_RULES = {_plain(words): rule for words, rule in VENUE_ERRORS.items()}
