"""The TLS side of a venue's edge, as it should be and broken in every way of rows 18 to 20 of the fault matrix."""

from __future__ import annotations

import datetime as dt
import enum
import ssl
from collections.abc import Awaitable, Callable

import attrs
import trio
import trustme

from kraken_engine.runtime import Stream

__all__ = ["CERTIFICATES", "Edge", "EdgeState"]


class EdgeState(enum.Enum):
    """What a client meets, and how that is said to it."""

    GOOD = ""
    EXPIRED = "certificate has expired"
    WRONG_HOST = "Hostname mismatch"
    UNKNOWN_AUTHORITY = "unable to get local issuer certificate"
    SELF_SIGNED = "self-signed certificate"
    STALLS = "expected a handshake within"
    TLS_1_1 = "unsupported protocol"
    OLD_TLS_ONLY = "protocol version"


CERTIFICATES = (EdgeState.EXPIRED, EdgeState.WRONG_HOST, EdgeState.UNKNOWN_AUTHORITY, EdgeState.SELF_SIGNED)


@attrs.define(eq=False)
class Edge:
    """Ends TLS for one host name; its state may change between connections."""

    host: str
    state: EdgeState = EdgeState.GOOD
    met: list[EdgeState] = attrs.field(factory=list[EdgeState])
    """What each connection met."""
    behind: int = 0
    """Connections that got through."""
    authority: trustme.CA = attrs.field(factory=trustme.CA)
    _contexts: dict[EdgeState, ssl.SSLContext] = attrs.field(factory=dict[EdgeState, ssl.SSLContext], init=False)

    def __attrs_post_init__(self) -> None:
        long_ago = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        issue = self.authority.issue_cert
        expired = issue(self.host, not_before=long_ago, not_after=long_ago + dt.timedelta(days=1))
        stranger = trustme.CA()
        leaves: dict[EdgeState, trustme.LeafCert | trustme.CA] = {
            EdgeState.GOOD: issue(self.host),
            EdgeState.EXPIRED: expired,
            EdgeState.WRONG_HOST: issue("other.test"),
            EdgeState.UNKNOWN_AUTHORITY: stranger.issue_cert(self.host),
            EdgeState.SELF_SIGNED: trustme.CA(),
        }
        for state, leaf in leaves.items():
            context = self._contexts[state] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            if isinstance(leaf, trustme.CA):
                with leaf.private_key_pem.tempfile() as key, leaf.cert_pem.tempfile() as certificate:
                    context.load_cert_chain(certificate, key)
            else:
                leaf.configure_cert(context)

    async def accept(self, stream: Stream, serve: Callable[[Stream], Awaitable[None]]) -> None:
        """Let ``serve`` have one connection, if it gets that far, until it ends."""
        state = self.state
        self.met.append(state)
        try:
            match state:
                case EdgeState.STALLS:
                    await stream.receive_some()
                    await stream.send_all(b"\x16\x03\x03\x00\x7a\x02")  # the beginning of a ServerHello
                    await stream.receive_some()
                case EdgeState.TLS_1_1:
                    await stream.receive_some()
                    hello = b"\x03\x02" + bytes(32) + b"\x00" + b"\xc0\x14" + b"\x00"
                    body = b"\x02" + len(hello).to_bytes(3, "big") + hello
                    await stream.send_all(b"\x16\x03\x02" + len(body).to_bytes(2, "big") + body)
                    await stream.receive_some()
                case EdgeState.OLD_TLS_ONLY:
                    await stream.receive_some()
                    await stream.send_all(b"\x15\x03\x01\x00\x02\x02\x46")  # alert: fatal, protocol_version
                    await stream.receive_some()
                case _:
                    secured = trio.SSLStream(stream, self._contexts[state], server_side=True, https_compatible=True)
                    await secured.do_handshake()
                    self.behind += 1
                    await serve(secured)
        except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            return
        finally:
            await trio.aclose_forcefully(stream)
