"""Where a WebSocket or the REST API lives: a checked URL.

Decides which URLs the engine will ever dial; knows nothing of name look-up or connections.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Literal
from urllib.parse import urlsplit

import attrs

from kraken_engine.errors import ConfigError, shown

__all__ = ["Endpoint", "is_numeric_host", "parse_endpoint"]

MAX_URL_LENGTH = 2048

_DEFAULT_PORTS = {"ws": 80, "wss": 443, "http": 80, "https": 443}
Protocol = Literal["ws", "http"]
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_PATH = re.compile(r"/[!-~]*")


@attrs.frozen
class Endpoint:
    """One endpoint. Make it with :func:`parse_endpoint`, which checks every part."""

    host: str
    """Lower case name, or a numeric IPv4 or IPv6 address without brackets."""
    port: int
    path: str
    """Path and query, beginning with ``/``."""
    tls: bool
    protocol: Protocol = "ws"

    @property
    def authority(self) -> str:
        """Host and port as in a URL and in the ``Host`` header: default ports are left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self._scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL; :func:`parse_endpoint` of it gives this endpoint again."""
        return f"{self._scheme}://{self.authority}{self.path}"

    @property
    def _scheme(self) -> str:
        return f"{self.protocol}s" if self.tls else self.protocol

    def __str__(self) -> str:
        return self.url


def parse_endpoint(url: str, protocol: Protocol = "ws") -> Endpoint:
    """Return the endpoint of a ``ws://`` or ``wss://`` URL, or of ``http://`` or ``https://``.

    Raises:
        ConfigError: names the part that is wrong. A URL never carries a user, a password or a fragment.
    """
    if len(url) > MAX_URL_LENGTH:
        raise ConfigError(f"url: expected at most {MAX_URL_LENGTH} characters, got {len(url)}")
    where = f"url {shown(url)}"
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"{where}: expected printable ASCII without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    if parts.scheme not in (protocol, f"{protocol}s"):
        raise ConfigError(f"{where}: expected scheme {protocol} or {protocol}s, got {shown(parts.scheme)}")
    if parts.username is not None or parts.password is not None:
        # Not repeated: what stands there may be a secret.
        raise ConfigError("url: expected no user or password in it")
    if "#" in url:
        raise ConfigError(f"{where}: expected no fragment, got {shown(parts.fragment)}")
    if not _is_host(host):
        raise ConfigError(f"{where}: expected a host name or a numeric address, got {shown(host)}")
    if port is None:
        port = _DEFAULT_PORTS[parts.scheme]
    if port == 0:
        raise ConfigError(f"{where}: expected a port from 1 to 65535, got 0")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not _PATH.fullmatch(path):
        raise ConfigError(f"{where}: expected a path that begins with /, got {shown(path)}")
    return Endpoint(host=host, port=port, path=path, tls=parts.scheme != protocol, protocol=protocol)


def is_numeric_host(host: str) -> bool:
    """Return whether ``host`` is an IPv4 or IPv6 address, so that no name is looked up for it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_host(host: str) -> bool:
    if is_numeric_host(host):
        return "%" not in host
    labels = host.split(".")
    # A last label of digits alone would be an address that somebody mistyped (1.2.3, 300.1.1.1).
    return len(host) <= 253 and not labels[-1].isdigit() and all(_LABEL.fullmatch(label) for label in labels)
