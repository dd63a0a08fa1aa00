"""REST replies in general: the envelope, the limits of a body, and the numbers in it.

A reply is ``{"error": [...], "result": ...}``. Success has an empty list, or one of warnings alone; a failure has no
result, or null, or an empty one. What is no such reply raises :class:`~kraken_engine.errors.DecodeError`, and nothing
else, with the path to the fault.

Numbers come as strings, as JSON numbers, or as either, depending on the field and the year: a :class:`Number` takes all
three and keeps the digits as sent, under the same limits as the numbers of a WebSocket frame.

Knows nothing of HTTP, and of no single operation. Sources: docs "Spot REST Introduction", recordings.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, TypeVar, final

import attrs
import msgspec

from kraken_engine.codec.caps import check_caps
from kraken_engine.codec.numbers import decimal_of
from kraken_engine.codec.sampling import refuse_duplicate_keys
from kraken_engine.codec.venue_errors import is_warning
from kraken_engine.codec.ws_v2_frames import strictly
from kraken_engine.errors import DecodeError

__all__ = [
    "MAX_BODY_BYTES",
    "Envelope",
    "Number",
    "Signed",
    "UnixTime",
    "decode_envelope",
    "decode_result",
    "only_market",
    "reply_decoder",
]

MAX_BODY_BYTES = 8 * 1024 * 1024
"""Longest body accepted, unpacked; the largest real one, ``AssetPairs``, has some two megabytes."""

_MOST_ERRORS = 32
_CLOSELY_LOOKED_AT_BYTES = 256 * 1024
"""Longer bodies are not searched for repeated keys: that would hold up every line of the process."""

_T = TypeVar("_T")


@final
class Number(Decimal):
    """An exact decimal with the digits the venue sent, whether as a string or as a JSON number."""

    __slots__ = ()


Signed = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A whole number that is a JSON number."""

UnixTime = Number
"""Seconds since 1970, perhaps with a fraction: exact, unlike a float."""


@attrs.frozen(kw_only=True)
class Envelope:
    """One reply whose result was not looked at yet."""

    errors: tuple[str, ...]
    """The venue's errors; not empty: there is no result."""
    warnings: tuple[str, ...]
    """What it had to remark beside the result."""
    result: msgspec.Raw


def decode_envelope(body: bytes) -> Envelope:
    """Return the envelope of a reply's ``body``.

    Raises:
        DecodeError: it is no reply, or breaks a limit.
    """
    check_caps(body, MAX_BODY_BYTES)
    envelope = strictly(_ENVELOPE, body)
    if len(body) <= _CLOSELY_LOOKED_AT_BYTES:
        refuse_duplicate_keys(body)
    if len(envelope.error) > _MOST_ERRORS:
        raise DecodeError("$.error", f"at most {_MOST_ERRORS} errors", len(envelope.error))
    warnings = tuple(words for words in envelope.error if is_warning(words))
    errors = tuple(words for words in envelope.error if not is_warning(words))
    if not errors and envelope.result == _NULL:
        raise DecodeError("$.result", "a result, for there is no error", "nothing")
    return Envelope(errors=errors, warnings=warnings, result=envelope.result)


def reply_decoder(kind: type[_T]) -> msgspec.json.Decoder[_T]:
    """Return a decoder of results of ``kind``, for :func:`decode_result`."""
    return msgspec.json.Decoder(kind, dec_hook=_decode_number, float_hook=str.encode)


def decode_result(envelope: Envelope, decoder: msgspec.json.Decoder[_T], path: str = "$.result") -> _T:
    """Return the result of a reply without errors.

    Raises:
        DecodeError: it is not of the decoder's kind; the path begins with ``path``.
    """
    return strictly(decoder, envelope.result, path)


def only_market(results: Mapping[str, msgspec.Raw], path: str = "$.result") -> tuple[str, msgspec.Raw]:
    """Return the one entry of a result that is keyed by market, and has a ``last`` beside it.

    Raises:
        DecodeError: there is none, or more than one.
    """
    markets = [(name, raw) for name, raw in results.items() if name != "last"]
    if len(markets) != 1:
        raise DecodeError(path, "one market", f"{len(markets)} of them")
    return markets[0]


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    error: list[str]
    result: msgspec.Raw = msgspec.Raw(b"null")


_NULL = msgspec.Raw(b"null")
_ENVELOPE = msgspec.json.Decoder(_Envelope)


def _decode_number(kind: type[Any], token: object) -> Number:
    assert kind is Number, f"no reply has a field of type {kind}"
    if isinstance(token, str) and token.startswith("+") and token[1:2].isdigit():
        token = token[1:]  # what a position has earned comes with its sign
    try:
        number = decimal_of(token.encode() if isinstance(token, str) else token, "$")
    except UnicodeEncodeError:
        raise ValueError("Expected a number, got text beyond Unicode") from None
    except DecodeError as error:
        # msgspec adds where it was, and the stage above makes a DecodeError of it again.
        raise ValueError(f"Expected {error.expected}, got {error.got}") from None
    return Number(number)
