"""WebSocket v2: requests as the venue wants them written.

Knows nothing of what is asked for, nor of replies. Sources: docs "Subscribe", "Add Order".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import cast

import msgspec

from kraken_engine.errors import UsageError
from kraken_engine.secret import Secret

__all__ = ["encode_request"]


def encode_request(method: str, params: Mapping[str, object] | None, req_id: int | None) -> bytes:
    """Return a request as one text frame.

    Decimals are written as JSON numbers with exactly their digits and without an exponent, which is how the venue
    wants them. A :class:`~kraken_engine.secret.Secret` (a token) is written as its text: the result is to be sent, and
    shown to nobody.

    Raises:
        UsageError: a value cannot be written exactly (a float has lost digits already) or is no JSON value.
    """
    request: dict[str, object] = {"method": method}
    if params is not None:
        request["params"] = params
    if req_id is not None:
        request["req_id"] = req_id
    try:
        return _ENCODER.encode(_exact(request, "$"))
    except (ValueError, TypeError, OverflowError) as error:  # a lone surrogate, an integer beyond 64 bits
        raise UsageError(f"$: cannot be written as JSON: {error}") from None


_ENCODER = msgspec.json.Encoder()


def _exact(value: object, path: str) -> object:
    """Return ``value`` with every decimal replaced by its own digits."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > 40 or len(value.as_tuple().digits) > 40:
            raise UsageError(f"{path}: expected a finite number of at most 40 digits, got {value!r:.80}")
        return msgspec.Raw(format(value, "f").encode())
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        fields = cast("Mapping[object, object]", value)
        return {str(key): _exact(item, f"{path}.{key}") for key, item in fields.items()}
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[object]", value)
        return [_exact(item, f"{path}[{index}]") for index, item in enumerate(items)]
    raise UsageError(
        f"{path}: expected None, bool, int, str, Decimal, Secret, list or dict, got {type(value).__name__}"
    )
