"""Number tokens of a frame become exact integers or decimals; whatever is not such a number is refused.

A *token* is what the JSON parser hands over for a number field: ``bytes`` for a number written with a point or an
exponent (its digits as sent), ``int`` for one without. Strings, booleans, null and containers are no numbers here.

Knows nothing of messages, symbols or books. Nothing is computed from a token before its length and exponent are
known to be small, so that no token can cost more than a few microseconds.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import cast

from kraken_engine.errors import DecodeError

__all__ = ["MAX_DIGITS", "MAX_EXPONENT", "Scale", "decimal_of", "positive", "require_number"]

MAX_DIGITS = 40
"""Most digits a number may have; the venue's longest have about 20."""

MAX_EXPONENT = 30
"""Largest exponent, either sign, of a number in exponent form (docs samples print ``1e-08``)."""

_MAX_TOKEN = MAX_DIGITS + 7  # sign, point, e, sign of the exponent, three digits of it
_MEMO_TOKENS = 65_536
_TOO_LARGE = 10**MAX_DIGITS
_NUMBER = re.compile(rb"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]{1,3}))?")
_EXPECTED = f"a number of at most {MAX_DIGITS} digits"


class Scale:
    """Turns tokens of one precision into integers scaled by ``10**decimals``, exactly.

    ``63502.0`` with 1 decimal is 635020. A token with fewer digits after the point is padded (a recorder may have
    dropped zeros); one with more means that the precision changed, and is refused rather than rounded, even when
    the digits in excess are zeros: a checksum is over the digits as sent.

    Two ways in, the same answer: calling the object remembers the token (prices repeat), :meth:`scaled` does not
    (quantities rarely do).

    Args:
        decimals: digits after the point.
        path: where the number stands, for messages.
    """

    __slots__ = ("_factor", "_memo", "_tail", "decimals", "path")

    def __init__(self, decimals: int, path: str = "$") -> None:
        self.decimals = decimals
        self.path = path
        self._factor: int = 10**decimals
        self._tail = decimals + 1 if decimals else 0  # characters from the point on; 0 never matches below
        self._memo: dict[object, int] = {}

    def __repr__(self) -> str:
        return f"Scale(decimals={self.decimals}, path={self.path!r})"

    def __call__(self, token: object) -> int:
        """Return the scaled integer of ``token``, remembering it.

        Raises:
            DecodeError: ``token`` is no number, is negative, or has more digits than the scale holds.
        """
        try:
            return self._memo[token]  # holds bytes only, so that True cannot pass for 1
        except (KeyError, TypeError):
            value = self.scaled(token)
        if type(token) is bytes:
            if len(self._memo) >= _MEMO_TOKENS:
                self._memo.clear()
            self._memo[token] = value
        return value

    def scaled(self, token: object) -> int:
        """Return the scaled integer of ``token``, without remembering it.

        Raises:
            DecodeError: as above.
        """
        if type(token) is bytes and len(token) <= MAX_DIGITS:
            point = token.find(b".")
            if point > 0 and point == len(token) - self._tail:
                digits = token.replace(b".", b"", 1)
                if digits.isdigit():
                    return int(digits)
        elif type(token) is int and 0 <= token < _TOO_LARGE:
            return token * self._factor
        return self._slowly(token)

    def _slowly(self, token: object) -> int:
        negative, digits, exponent = _parts(token, self.path)
        if negative:
            raise DecodeError(self.path, "a number of 0 or more", _written(token))
        zeros = self.decimals + exponent
        if zeros < 0:
            raise DecodeError(
                self.path, f"at most {self.decimals} digits after the point (precision changed?)", _written(token)
            )
        factor: int = 10**zeros
        return int(digits) * factor


def decimal_of(token: object, path: str) -> Decimal:
    """Return ``token`` as a decimal with its digits as sent (``0.10`` keeps its zero).

    Raises:
        DecodeError: ``token``, found at ``path``, is no number or is too long.
    """
    _parts(token, path)
    return Decimal(token.decode() if isinstance(token, bytes) else cast("int", token))


def positive(token: object, path: str) -> Decimal:
    """Return ``token`` as :func:`decimal_of` does, if it is above zero.

    Raises:
        DecodeError: it is not, or is no number.
    """
    number = decimal_of(token, path)
    if number <= 0:
        raise DecodeError(path, "a number above 0", _written(token))
    return number


def require_number(token: object, path: str) -> None:
    """Check that :func:`decimal_of` will accept ``token``, which a JSON parser wrote, without making the decimal.

    Raises:
        DecodeError: it would not.
    """
    if type(token) is bytes and len(token) <= MAX_DIGITS and token.replace(b".", b"", 1).isdigit():
        return
    _parts(token, path)


def _parts(token: object, path: str) -> tuple[bool, bytes, int]:
    """Return sign, digits and exponent: the value is ``digits * 10**exponent``."""
    if type(token) is int:
        if abs(token) >= _TOO_LARGE:
            raise DecodeError(path, _EXPECTED, "an integer with more")
        return token < 0, b"%d" % abs(token), 0
    if type(token) is not bytes:
        raise DecodeError(path, "a number", _kind(token))
    found = _NUMBER.fullmatch(token) if len(token) <= _MAX_TOKEN else None
    if found is None:
        raise DecodeError(path, _EXPECTED, _written(token))
    sign, whole, fraction, power = found.groups()
    digits = whole + (fraction or b"")
    exponent = int(power or 0)
    if len(digits) > MAX_DIGITS:
        raise DecodeError(path, _EXPECTED, _written(token))
    if abs(exponent) > MAX_EXPONENT:
        raise DecodeError(path, f"an exponent within {MAX_EXPONENT} of 0", _written(token))
    return bool(sign), digits, exponent - len(fraction or b"")


def _written(token: object) -> str:
    return token.decode("ascii", "backslashreplace") if isinstance(token, bytes) else str(token)


def _kind(token: object) -> str:
    match token:
        case None:
            return "null"
        case bool():
            return "true" if token else "false"
        case str():
            return f"the string {token[:40]!r}"
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return type(token).__name__
