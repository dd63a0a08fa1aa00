"""Every exception this package raises on purpose, by who has to act.

::

    EngineError
    ├── ConfigError             you: a setting, an argument or a file is wrong
    ├── UsageError              you: the call makes no sense here (unknown symbol, closed feed)
    │   └── OperationNotAllowed a REST operation that is in none of the named groups; no byte was sent
    ├── StartupError            you or the world: the engine did not become ready; every reason is listed
    ├── EngineFailed            us: a background task failed; its cause is the exception (group)
    ├── ProtocolError           them or us: bytes that break the protocol
    │   └── DecodeError         one frame or document, with the path to the fault
    ├── LineError               the world: this connection is gone, a retry may work
    │   ├── ConnectFailed       no connection came about (stage: resolve, dial, tls, upgrade, token, session)
    │   │   └── UpgradeRejected the peer answered the WebSocket upgrade with another HTTP status
    │   └── LineClosed          an open connection ended
    ├── RestFailed              the world: a REST call got no answer of the venue, and may have been executed
    │   └── NotSent             no byte of it left: no room, no time, or nothing may be signed now
    ├── CircuitOpen             the world: too much went wrong lately, no byte was sent; says for how long
    ├── Rejected                the venue said no; its words are kept
    │   ├── RequestInvalid      you: a name, an argument or a method is wrong
    │   ├── OrderRefused        you: this order cannot be (funds, limits, prices, not open)
    │   ├── NotNow              the market or the account is in a state that does not allow it
    │   ├── RateLimited         too many calls; wait
    │   ├── AuthRejected        the key, its signature, its permissions or its account
    │   │   └── SessionRejected the WebSocket token is bad or too old
    │   ├── NonceRejected       the nonce was not above the last one; nothing was executed
    │   └── VenueUnavailable    the venue's own trouble; an order may have been executed
    ├── StoreError              the world: the disk did not keep or give back what it should, as far as we know
    │   ├── StoreCorrupt        the world: what is on the disk is not what was written
    │   └── StoreLocked         you: another engine holds the directory or the key; it is named
    ├── Stale                   the value exists but may not be trusted now
    └── SlowConsumer            you: this subscription was ended because it was not read

Messages name what, where, expected and got. Nothing here ever holds a secret.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "AuthRejected",
    "CircuitOpen",
    "ConfigError",
    "ConnectFailed",
    "DecodeError",
    "EngineError",
    "EngineFailed",
    "LineClosed",
    "LineError",
    "NonceRejected",
    "NotNow",
    "NotSent",
    "OperationNotAllowed",
    "OrderRefused",
    "ProtocolError",
    "RateLimited",
    "Rejected",
    "RequestInvalid",
    "RestFailed",
    "SessionRejected",
    "SlowConsumer",
    "Stale",
    "StartupError",
    "StoreCorrupt",
    "StoreError",
    "StoreLocked",
    "UpgradeRejected",
    "UsageError",
    "VenueUnavailable",
    "shown",
]

_SHOWN = 120
"""How many characters of a foreign value a message repeats."""
_SHOWN_OF_FAILURE = 300
"""And of the words of a failure, which may be those of another error of ours, with such a value at its end."""


def shown(value: object, most: int = _SHOWN) -> str:
    """Return a foreign value for a message: at most ``most`` characters of it, printable, on one line."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except ValueError:  # Python writes out no integer of more than 4,300 digits
        text = f"a value of type {type(value).__name__} that cannot be written out"
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[: most + 1])
    return text if len(text) <= most else text[:most] + "…"


class EngineError(Exception):
    """Base of everything this package raises on purpose."""


class ConfigError(EngineError):
    """A setting is wrong. ``mistakes`` holds all of them, each ``where: what``."""

    def __init__(self, mistakes: str | Sequence[str]) -> None:
        self.mistakes: tuple[str, ...] = (mistakes,) if isinstance(mistakes, str) else tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


class UsageError(EngineError):
    """The call makes no sense in this situation; the message says what would."""


class OperationNotAllowed(UsageError):
    """A REST operation that this client never calls; no byte was sent. ``operation`` is its name."""

    def __init__(self, operation: str, why: str) -> None:
        self.operation = shown(operation)
        super().__init__(f"{self.operation}: {why}")


class StartupError(EngineError):
    """The engine did not become ready. ``reasons`` lists everything that is missing."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("not ready: " + "; ".join(self.reasons))


class EngineFailed(EngineError):
    """A task of the engine failed in the background; ``__cause__`` says how."""


class ProtocolError(EngineError):
    """The peer, or we, broke the protocol."""


class DecodeError(ProtocolError):
    """One frame or document could not be decoded.

    ``path`` is a JSON path such as ``$.data[0].bids[1].qty``; ``$`` is the whole document.
    """

    def __init__(self, path: str, expected: str, got: object) -> None:
        self.path = path
        self.expected = expected
        self.got = shown(got)
        super().__init__(f"{path}: expected {expected}, got {self.got}")


class LineError(EngineError):
    """This connection is unusable; trying again may work."""


class ConnectFailed(LineError):
    """No connection came about.

    ``stage`` is ``resolve``, ``dial``, ``tls`` or ``upgrade``, and of a private line also ``token`` (there is none to
    connect with) or ``session`` (the venue did not take it); ``retry_floor_s`` is the shortest pause
    that makes sense before the next attempt (0 when nothing is known).
    """

    def __init__(self, stage: str, target: str, why: str, *, retry_floor_s: float = 0.0) -> None:
        self.stage = stage
        self.target = target
        self.why = shown(why)
        self.retry_floor_s = retry_floor_s
        super().__init__(f"{target}: {stage} failed: {self.why}")


class UpgradeRejected(ConnectFailed):
    """The peer answered the WebSocket upgrade with an HTTP status other than 101."""

    def __init__(self, target: str, status: int, *, retry_floor_s: float = 0.0) -> None:
        self.status = status
        super().__init__("upgrade", target, f"expected HTTP 101, got {status}", retry_floor_s=retry_floor_s)


class LineClosed(LineError):
    """An open connection ended. ``code`` is the RFC 6455 close code (1006: no close frame was seen)."""

    def __init__(self, target: str, code: int, reason: str = "") -> None:
        self.target = target
        self.code = code
        self.reason = shown(reason)
        super().__init__(f"{target}: closed with {code}" + (f" ({self.reason})" if reason else ""))


class RestFailed(EngineError):
    """A REST call got no answer of the venue: the network, TLS or HTTP failed, or the body was none of the venue's.

    ``maybe_executed`` says whether the venue may have acted on it all the same; ask before doing it again.
    ``status`` is the HTTP status, if one came; ``retry_after_s`` is how long the answer asked to wait (0: not at all).
    """

    def __init__(
        self,
        operation: str,
        why: str,
        *,
        maybe_executed: bool,
        status: int | None = None,
        retry_after_s: float = 0.0,
    ) -> None:
        self.operation = operation
        self.why = shown(why, _SHOWN_OF_FAILURE)
        self.maybe_executed = maybe_executed
        self.status = status
        self.retry_after_s = retry_after_s
        executed = "; the venue may have acted on it" if maybe_executed else ""
        super().__init__(f"{operation}: {self.why}{executed}")


class NotSent(RestFailed):
    """No byte of the call left: the queue had no room or no time for it, or nothing may be signed now."""

    def __init__(self, operation: str, why: str) -> None:
        super().__init__(operation, why, maybe_executed=False)


class CircuitOpen(EngineError):
    """The circuit breaker called ``breaker`` lets no call through for another ``retry_in_s``; no byte was sent."""

    def __init__(self, breaker: str, retry_in_s: float, why: str = "") -> None:
        self.breaker = breaker
        self.retry_in_s = retry_in_s
        self.why = shown(why)
        because = f" ({self.why})" if why else ""
        super().__init__(f"{breaker}: circuit open for another {retry_in_s:.1f} s{because}")


class Rejected(EngineError):
    """The venue said no, in the ``words`` that are kept here (cut to one printable line).

    Args:
        operation: what was asked, such as ``Balance`` or ``add_order``.
        words: the venue's error string, or several joined with semicolons.
        retryable: whether the same request may be sent again as it is, after a pause.
        action: what the engine does about it, a name of the founding document's table (``log_and_continue``, ...).
        maybe_executed: whether the venue may have acted on it in spite of its answer.
        retry_after_s: the shortest pause that makes sense before asking again (0 when nothing is known).
    """

    def __init__(
        self,
        operation: str,
        words: str,
        *,
        retryable: bool,
        action: str,
        maybe_executed: bool = False,
        retry_after_s: float = 0.0,
    ) -> None:
        self.operation = operation
        self.words = shown(words)
        self.retryable = retryable
        self.action = action
        self.maybe_executed = maybe_executed
        self.retry_after_s = retry_after_s
        super().__init__(f"{operation}: the venue refused: {self.words}")


class RequestInvalid(Rejected):
    """A name, an argument or a method is wrong; the same request will never do."""


class OrderRefused(Rejected):
    """This order, amendment or cancellation cannot be: funds, limits, prices, or no such open order."""


class NotNow(Rejected):
    """The market or the account is in a state that does not allow it; wait for the state to change."""


class RateLimited(Rejected):
    """Too many calls, of this key, this address or on this pair; ``retry_after_s`` is the least to wait."""


class AuthRejected(Rejected):
    """The key, its signature, its permissions or its account; asking again makes it worse."""


class SessionRejected(AuthRejected):
    """The WebSocket token is bad or too old: fetch another one."""


class NonceRejected(Rejected):
    """The nonce was not above the last one of the key; the request was not executed."""


class VenueUnavailable(Rejected):
    """The venue's own trouble. A question may be repeated; what became of an order has to be asked."""


class StoreError(EngineError):
    """Durable state could not be written or read: a full disk, an error of it, one that takes too long.

    A transaction that ends so may all the same have been written, never in part.
    """


class StoreCorrupt(StoreError):
    """What is on the disk is not what was written; the message names what. Nothing of it is used."""


class StoreLocked(StoreError):
    """Another engine holds the state directory, or the key; the message says which one."""


class Stale(EngineError):
    """Values of ``symbol`` on ``channel`` may not be trusted since ``since_s`` (monotonic), and ``why``.

    One notion, one name: in a stream it is *delivered*, before anything newer of that symbol; a read of a
    current value *raises* it, unless asked with ``allow_stale=True``.
    """

    def __init__(self, channel: str, symbol: str | None, why: str, *, since_s: float | None = None) -> None:
        self.channel = channel
        self.symbol = symbol
        self.why = why
        self.since_s = since_s
        super().__init__(f"{channel}{'' if symbol is None else ' ' + symbol}: {why}")


class SlowConsumer(EngineError):
    """The subscription was ended because its bounded queue was full; ``lost`` events were not delivered."""

    def __init__(self, subscription: str, capacity: int, lost: int) -> None:
        self.capacity = capacity
        self.lost = lost
        super().__init__(f"{subscription}: queue of {capacity} events full, {lost} not delivered")
