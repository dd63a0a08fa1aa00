"""Values that must not be seen: what they look like everywhere is decided here, once.

A :class:`Secret` has no readable form. ``repr``, ``str`` and ``format`` show a placeholder; pickling, copying, JSON,
hashing and ordering are refused; ``==`` takes the same time whatever differs. The one way to the text is
:meth:`Secret.reveal`, and ``tests/test_secret.py`` lists the files that may call it.

:func:`redacted` is the second line of defence: it finds the text of every living secret in what is about to leave the
process (a log line, a report), as it stands or in the usual encodings, and takes it out.

Python cannot promise that the bytes of a string are ever wiped from memory: keep secrets few and short-lived, and core
dumps off. Knows nothing of where keys come from or what they are used for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import weakref
from collections.abc import Callable, Iterator
from typing import ClassVar, NoReturn, final
from urllib.parse import quote, quote_plus

import attrs

from kraken_engine.errors import UsageError

__all__ = ["HIDDEN", "ApiKey", "Secret", "redacted"]

HIDDEN = "[secret]"
"""What stands in the place of a secret."""

MIN_REDACTED = 6
"""Texts shorter than this are not searched for by :func:`redacted`: half of every log line would be one."""


@final
class Secret:
    """A text that shows itself to nobody who does not ask for it by name.

    Args:
        text: not empty.

    Raises:
        UsageError: it is not such a text; what it is instead is not repeated.
    """

    __slots__ = ("__text", "__weakref__")

    def __init__(self, text: str) -> None:
        if not _is_text(text):
            got = type(text).__name__
            del text  # a traceback with locals would show it
            raise UsageError(f"secret: expected a text, got a {got}, not shown")
        if not text:
            raise UsageError("secret: expected a text, got an empty one")
        self.__text = text
        _LIVING[id(self)] = self

    def reveal(self) -> str:
        """Return the text itself. Only for those who sign or send it; ``tests/test_secret.py`` lists them."""
        return self.__text

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self.__text), _bytes(other.__text))

    __hash__: ClassVar[None]  # type: ignore[assignment]  # a hash is a fingerprint that nobody asked for

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is neither pickled nor copied: hand on the object itself")

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("a secret has no subclasses: they could show it")


_LIVING: weakref.WeakValueDictionary[int, Secret] = weakref.WeakValueDictionary()
"""Every secret of this process, as long as somebody holds it."""


@final
@attrs.frozen(kw_only=True)
class ApiKey:
    """A key of the venue's API: its name, the secret it signs with, and the password of its second factor, if any."""

    key: Secret
    secret: Secret
    """Base64, as the venue shows it."""
    otp: Secret | None = None
    """The static password, for keys that demand one."""

    def __repr__(self) -> str:
        return f"ApiKey({self.fingerprint})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a key is neither pickled nor copied: hand on the object itself")

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that name this key and tell nothing of it: for logs, locks and the store."""
        digest = hashlib.blake2b(_bytes(self.key.reveal()), digest_size=8, person=b"kraken-engine")
        return digest.hexdigest()


def redacted(text: str) -> str:
    """Return ``text`` without any living secret: as it stands, URL-encoded, escaped for JSON, in base64 or in hex.

    The last line of defence, for what leaves the process. It cannot see a secret that was split or encrypted.
    """
    for secret in list(_LIVING.values()):
        plain = secret.reveal()
        if len(plain) >= MIN_REDACTED:
            for form in _forms(plain):
                text = text.replace(form, HIDDEN)
    return text


def _forms(plain: str) -> Iterator[str]:
    """Return the ways in which a text is commonly written, longest first where one may hold another."""
    data = _bytes(plain)
    forms = {plain, quote(data, safe=""), quote(data), quote_plus(data), json.dumps(plain)[1:-1], repr(plain)[1:-1]}
    forms |= {json.dumps(plain, ensure_ascii=False)[1:-1], repr(data)[2:-1]}
    forms |= {plain.replace("/", "\\/"), data.hex(), data.hex().upper()}
    forms |= {inner for encode in (base64.b64encode, base64.urlsafe_b64encode) for inner in _inside(data, encode)}
    decoded = _decoded(plain)
    if len(decoded) >= MIN_REDACTED:
        forms |= {repr(decoded)[2:-1], decoded.hex(), decoded.hex().upper()}
    yield from sorted(forms, key=len, reverse=True)


def _inside(data: bytes, encode: Callable[[bytes], bytes]) -> Iterator[str]:
    """Return what base64 makes of ``data`` in the middle of other bytes, wherever it begins; and on its own."""
    yield encode(data).decode()
    for before in range(3):
        # The first and last characters depend on the neighbours: only those in between are always the same.
        coded = encode(bytes(before) + data).decode().rstrip("=")
        begin, end = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        if end - begin >= MIN_REDACTED:
            yield coded[begin:end]


def _decoded(plain: str) -> bytes:
    try:
        return base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _is_text(value: object) -> bool:
    """Whether a caller without a type checker gave a text, too."""
    return isinstance(value, str)


def _bytes(text: str) -> bytes:
    """Return ``text`` in UTF-8; what the environment held instead of UTF-8 stays distinct."""
    return text.encode(errors="surrogatepass")
