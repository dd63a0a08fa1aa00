"""TLS for a client: every record that has arrived, in one receive.

``trio.SSLStream`` returns one record a call, and a venue that writes each message in a record of its own makes that
one message a call. :class:`DrainingTlsStream` decrypts whatever one read of the transport brought. It is a client
only, never renegotiates, and speaks TLS 1.2 or newer.

Decides how bytes are encrypted and whom to trust; knows nothing of WebSockets.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Generator
from contextlib import contextmanager, suppress

import trio

from kraken_engine.config import WireSettings
from kraken_engine.errors import ConfigError
from kraken_engine.runtime import Readable, Stream

__all__ = ["DrainingTlsStream", "client_context"]

_READ_BYTES = 65536
_RECORD_BYTES = 16384
_SEND_BYTES = 65536
"""Most plaintext encrypted ahead of the transport: bounds the copy that a slow peer makes us keep."""


def client_context(settings: WireSettings, files: Readable) -> ssl.SSLContext:
    """Return the context for outgoing connections: system trust and ``settings.ca_file``, names checked.

    Raises:
        ConfigError: the file cannot be read or holds no PEM certificate.
    """
    if settings.ca_file is None:
        return _context(None)
    try:
        return _context(files.read_bytes(settings.ca_file).decode("ascii"))
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigError(f"ca_file {settings.ca_file}: expected PEM certificates: {error}") from error


@functools.lru_cache(maxsize=4)
def _context(anchors: str | None) -> ssl.SSLContext:
    # Cached: reading the system's anchors takes some 30 ms of CPU, during which no other line would be served.
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if anchors is not None:
        context.load_verify_locations(cadata=anchors)
    return context


class DrainingTlsStream(trio.abc.Stream):
    """A TLS client over another stream.

    Receiving never sends and never gives up control between taking bytes from the transport and keeping them, so a
    cancelled :meth:`receive_some` loses nothing. A cancelled :meth:`send_all` may have sent part of a record:
    afterwards sending raises :exc:`trio.BrokenResourceError`.

    Args:
        transport: a connected stream, owned from now on.
        context: from :func:`client_context`.
        host: name the certificate must carry; also sent as SNI.
        close_timeout_s: how long :meth:`aclose` may wait for its close_notify to be taken.
    """

    def __init__(self, transport: Stream, context: ssl.SSLContext, host: str, *, close_timeout_s: float) -> None:
        self._transport = transport
        self._close_timeout_s = close_timeout_s
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._receiving = _Exclusive("another task is receiving on this TLS stream")
        self._sending = _Exclusive("another task is sending on this TLS stream")
        self._established = False
        self._finished = False
        self._send_broken = False
        self._closed = False

    async def handshake(self) -> None:
        """Agree on keys and check the certificate. Set a deadline around it.

        Raises:
            trio.BrokenResourceError: its cause is the ``ssl.SSLError``, if it was one.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
            except (ssl.SSLError, ssl.CertificateError) as error:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._flush()  # noqa: ASYNC120 - the alert; once cancelled, nobody asks why any more
                raise trio.BrokenResourceError("TLS handshake failed") from error
            else:
                await self._flush()
                self._established = True
                return
            await self._read_transport()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return everything that has arrived, up to ``max_bytes``; ``b""`` once the peer sent close_notify.

        Raises:
            trio.BrokenResourceError: the transport ended without close_notify, or the records are corrupt.
        """
        limit = _READ_BYTES if max_bytes is None else max_bytes
        if not isinstance(limit, int):  # pyright: ignore[reportUnnecessaryIsInstance] - the contract of trio.abc
            raise TypeError("max_bytes must be a positive integer")
        if limit < 1:
            raise ValueError("max_bytes must be a positive integer")
        with self._receiving.hold():
            self._check_usable()
            await trio.lowlevel.checkpoint_if_cancelled()
            if not self._finished and (data := self._drain(limit)):
                await trio.lowlevel.cancel_shielded_checkpoint()
                return data
            while not self._finished:
                await self._read_transport()
                if data := self._drain(limit):
                    return data
            await trio.lowlevel.checkpoint()
            return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send ``data``."""
        with self._sending.hold():
            self._check_usable()
            if self._send_broken:
                raise trio.BrokenResourceError("an earlier send was cut short")
            await trio.lowlevel.checkpoint_if_cancelled()
            view = memoryview(data)
            if not view:
                await trio.lowlevel.checkpoint()
            for start in range(0, len(view), _SEND_BYTES):
                try:
                    self._tls.write(view[start : start + _SEND_BYTES])
                except ssl.SSLError as error:
                    self._send_broken = True
                    raise trio.BrokenResourceError("TLS refused to send") from error
                await self._flush()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for the transport."""
        with self._sending.hold():
            self._check_usable()
            await self._transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Send close_notify, unless that takes too long or a send was cut short, and close the transport."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        try:
            if self._established and not self._send_broken and not self._sending.held:
                with trio.move_on_after(self._close_timeout_s):
                    await self._say_goodbye()
        finally:
            await self._transport.aclose()

    async def _say_goodbye(self) -> None:
        # Nobody waits for the answer: whoever closes has read what it wanted. unwrap() says WantRead for that reason.
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._flush()

    def _check_usable(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this TLS stream was closed")
        if not self._established:
            raise trio.BrokenResourceError("no TLS handshake was made")

    def _drain(self, limit: int) -> bytes:
        parts: list[bytes] = []
        total = 0
        read = self._tls.read
        try:
            while total < limit:
                part = read(min(_RECORD_BYTES, limit - total))
                if not part:
                    self._finished = True
                    break
                parts.append(part)
                total += len(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._finished = True
        except ssl.SSLError as error:
            # What was decrypted before is whole and authentic; the next call meets the same error again.
            if not parts:
                raise trio.BrokenResourceError("TLS records are corrupt or cut short") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _read_transport(self) -> None:
        try:
            data = await self._transport.receive_some(_READ_BYTES)
        except trio.ClosedResourceError:
            if self._closed:
                raise
            raise trio.BrokenResourceError("the transport was closed underneath") from None
        if data:
            self._incoming.write(data)
        elif self._established:
            raise trio.BrokenResourceError("the transport ended without close_notify")
        else:
            raise trio.BrokenResourceError("the transport ended during the TLS handshake")

    async def _flush(self) -> None:
        if not self._outgoing.pending:
            return
        data = self._outgoing.read()
        try:
            await self._transport.send_all(data)
        except BaseException:
            self._send_broken = True
            raise


class _Exclusive:
    """Raises ``BusyResourceError`` at a second task, as every Trio stream does."""

    def __init__(self, complaint: str) -> None:
        self._complaint = complaint
        self.held = False

    @contextmanager
    def hold(self) -> Generator[None]:
        if self.held:
            raise trio.BusyResourceError(self._complaint)
        self.held = True
        try:
            yield
        finally:
            self.held = False
