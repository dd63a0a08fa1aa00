"""What passes between the exchange's core and the shells that carry it: frames out, HTTP questions and answers."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["Abort", "Close", "Out", "Raw", "RestRequest", "RestResponse", "UpgradeRefusal"]


@attrs.frozen
class Close:
    """Send a WebSocket close frame, then end the connection."""

    code: int
    reason: str = ""


@attrs.frozen
class Abort:
    """Drop the TCP connection without a close frame."""


@attrs.frozen
class Raw:
    """Put these bytes on the wire as they are: below the WebSocket framing, for frame faults."""

    data: bytes


Out = bytes | Close | Abort | Raw
"""One thing a session wants on the wire; plain ``bytes`` are the payload of one text frame."""


@attrs.frozen(kw_only=True)
class UpgradeRefusal:
    """Answer a WebSocket upgrade with an HTTP status other than 101."""

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])


@attrs.frozen(kw_only=True)
class RestRequest:
    """One HTTP request, already parsed. ``query`` holds the decoded query string, the last value winning."""

    method: str
    path: str
    query: Mapping[str, str] = attrs.field(factory=dict[str, str])
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    body: bytes = b""
    client: str = "somebody"
    """Address of who asks, as far as the shell knows."""
    concurrent: int = 0
    """Requests of other connections of this client that are still being answered."""


@attrs.frozen(kw_only=True)
class RestResponse:
    """One HTTP answer, not yet serialised."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    script: tuple[bytes | float, ...] | None = None
    """On command: put these bytes on the wire instead, wait so many seconds in between, then end the connection."""
