"""Signed requests of the private REST API: the body, and the headers that prove who wrote it.

``API-Sign`` is the HMAC-SHA512, under the key's secret, of the path followed by the SHA-256 of the nonce followed by
the exact body. So body and signature are made here in one go, and nobody changes either afterwards.

One of the few places that look inside a :class:`~kraken_engine.secret.Secret`. Knows nothing of where nonces come from
and of what is sent when. Source: docs "Spot REST Authentication".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlencode

import attrs

from kraken_engine.errors import ConfigError
from kraken_engine.secret import ApiKey, Secret

__all__ = ["SignedRequest", "check_key", "sign", "signed_request"]


@attrs.frozen(kw_only=True)
class SignedRequest:
    """What to send, to the byte; shows nothing of it."""

    path: str
    body: bytes = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)


def sign(path: str, nonce: int, body: bytes, secret: Secret) -> str:
    """Return the value of ``API-Sign``.

    Args:
        path: beginning with ``/0/private/``, without host and query.
        nonce: the one in ``body``.
        body: exactly as it will be sent, form-encoded or JSON.
        secret: the private half of the key, base64.

    Raises:
        ConfigError: the secret is not base64; it is not shown.
    """
    digest = hashlib.sha256(str(nonce).encode() + body).digest()
    mac = hmac.new(_key_bytes(secret), path.encode() + digest, hashlib.sha512)
    return base64.b64encode(mac.digest()).decode()


def signed_request(path: str, fields: Mapping[str, str], *, nonce: int, key: ApiKey) -> SignedRequest:
    """Return the request for ``path`` with ``fields`` as a form, signed with ``key``.

    The nonce comes first, then the fields in their order, then the password of the key's second factor, if it has one.
    """
    _key_bytes(key.secret)  # whoever raises does so before anything is revealed: a traceback with locals would show it
    form = {"nonce": str(nonce), **fields}
    if key.otp is not None:
        form["otp"] = key.otp.reveal()
    body = urlencode(form).encode()
    headers = {
        "API-Key": key.key.reveal(),
        "API-Sign": sign(path, nonce, body, key.secret),
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
    }
    return SignedRequest(path=path, body=body, headers=headers)


def check_key(key: ApiKey) -> None:
    """Check that ``key`` can sign, and fits into a header, before anything depends on it.

    Raises:
        ConfigError: it cannot; nothing of it is shown.
    """
    _key_bytes(key.secret)
    name = key.key.reveal()
    if not name.isascii() or not name.isprintable() or " " in name:
        raise ConfigError("API key: expected printable ASCII without spaces (not shown)")


def _key_bytes(secret: Secret) -> bytes:
    try:
        decoded = base64.b64decode(secret.reveal(), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise ConfigError("API secret: expected base64, as the venue shows it (not shown)") from None
    return decoded
