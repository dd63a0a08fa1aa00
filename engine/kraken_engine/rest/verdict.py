"""What one attempt at a call says: of the venue's health, and of whether to try again.

The table of the venue's words decides for what it said itself (:mod:`~kraken_engine.codec.venue_errors`). What it did
not say is decided here: no answer, another answer than its own, an answer that makes no sense.

A retry is for questions, for cancels, whose second copy does no harm, and for what certainly was not executed. Sans-IO;
knows nothing of queues and of when.
"""

from __future__ import annotations

import attrs

from kraken_engine.codec.venue_errors import BreakerEffect, breaker_effect, classify, rejected
from kraken_engine.errors import AuthRejected, DecodeError, EngineError, NonceRejected, NotSent, Rejected, RestFailed
from kraken_engine.rest.operations import Operation

__all__ = ["Verdict", "refusal", "verdict"]

MOST_RETRIES_UNKNOWN = 1
"""A question may be asked once more after words that nobody knows."""


@attrs.frozen(kw_only=True)
class Verdict:
    """The meaning of one attempt that did not succeed."""

    error: EngineError
    """What the caller gets if there is no other attempt."""
    effect: BreakerEffect | None
    """What the breaker hears; None: nothing, for nothing was learnt about the venue."""
    may_retry: bool
    most_retries: int | None = None
    """A limit of its own; None: that of the settings."""
    pause_s: float = 0.0
    """The shortest pause before anything like it, from now."""
    retry_at_unix_s: float | None = None
    """The venue's own word for that, by its clock."""
    nonce_refused: bool = False
    nonce_accepted: bool = False
    """The venue got as far as the nonce, and took it."""


def refusal(what: Operation, errors: tuple[str, ...]) -> Verdict:
    """Return the verdict on the venue's own ``errors``."""
    error = rejected(what.name, errors, read=what.read)
    known = [classify(words) for words in errors]
    times = [found.retry_at_unix_s for found in known if found.retry_at_unix_s is not None]
    nonce_refused = isinstance(error, NonceRejected)
    effect = breaker_effect(errors)
    return Verdict(
        error=error,
        effect=effect,
        # After a rate limit the breaker is open: another attempt would only be told so.
        may_retry=(error.retryable or (what.repeatable and error.maybe_executed))
        and effect is not BreakerEffect.RATE_LIMIT,
        most_retries=None if all(found.rule.known for found in known) else MOST_RETRIES_UNKNOWN,
        pause_s=error.retry_after_s,
        retry_at_unix_s=max(times, default=None),
        nonce_refused=nonce_refused,
        # A venue that is in trouble, or has had too many calls, may not have got so far.
        nonce_accepted=effect is BreakerEffect.NONE and not nonce_refused and not isinstance(error, AuthRejected),
    )


def verdict(what: Operation, error: EngineError) -> Verdict:
    """Return the verdict on an attempt to which the venue itself gave no answer that makes sense."""
    match error:
        case NotSent() | Rejected():  # a nonce that was held back, for one: the venue has nothing to do with it
            return Verdict(error=error, effect=None, may_retry=False)
        case RestFailed():
            throttled = error.status == 429
            return Verdict(
                error=error,
                effect=BreakerEffect.RATE_LIMIT if throttled else BreakerEffect.FAILURE,
                may_retry=(what.repeatable or not error.maybe_executed) and not throttled,
                pause_s=error.retry_after_s,
            )
        case DecodeError():
            failed: EngineError = error
            if not what.read:
                failed = RestFailed(what.name, f"the answer makes no sense: {error}", maybe_executed=True)
                failed.__cause__ = error
            return Verdict(error=failed, effect=BreakerEffect.FAILURE, may_retry=what.repeatable)
        case _:
            return Verdict(error=error, effect=None, may_retry=False)
