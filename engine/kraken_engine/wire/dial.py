"""From an endpoint to a connected stream: name, addresses, TCP, TLS; each step under a deadline of its own.

Decides which addresses may be dialled (a public name that resolves to a loopback or private address is refused:
somebody else's answer must not lead the engine into its own network) and in which order. Every failure is a
:class:`~kraken_engine.errors.ConnectFailed` that names the step. Knows nothing of WebSockets.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence

import attrs
import trio

from kraken_engine.config import WireSettings
from kraken_engine.errors import ConnectFailed
from kraken_engine.runtime import Address, Network, Runtime, Stream
from kraken_engine.wire.endpoints import Endpoint, is_numeric_host
from kraken_engine.wire.tls import DrainingTlsStream, client_context

__all__ = ["AddressCache", "open_stream"]

MAX_ADDRESSES = 8
"""Addresses tried in one attempt, however many the name has."""

STAGGER_S = 0.25
"""Head start of one address over the next (RFC 8305 recommends 250 ms)."""

CERTIFICATE_RETRY_FLOOR_S = 30.0
"""Shortest pause after a certificate was refused: it will not be another one in a second."""


@attrs.define
class AddressCache:
    """The last good answer for each host, to be used once when the resolver fails.

    Once: a second failure in a row means that the resolver is gone for good, and the cached answer has had its
    chance. A fresh answer renews it. Give every attempt of a line the same cache.
    """

    max_hosts: int = 16
    _answers: dict[str, tuple[Address, ...]] = attrs.field(factory=dict[str, tuple[Address, ...]], init=False)

    def remember(self, host: str, addresses: Sequence[Address]) -> None:
        """Keep a good answer, and forget the oldest one when there are too many."""
        self._answers.pop(host, None)
        self._answers[host] = tuple(addresses)
        if len(self._answers) > self.max_hosts:
            del self._answers[next(iter(self._answers))]

    def spend(self, host: str) -> tuple[Address, ...]:
        """Return the kept answer, which is gone then; empty if there is none."""
        return self._answers.pop(host, ())


async def open_stream(runtime: Runtime, endpoint: Endpoint, settings: WireSettings, cache: AddressCache) -> Stream:
    """Return a connected stream to ``endpoint``, with TLS if it asks for it. The caller closes it.

    Raises:
        ConnectFailed: with the stage ``resolve``, ``dial`` or ``tls``.
        ConfigError: ``settings.ca_file`` is unusable.
    """
    context = client_context(settings, runtime.files) if endpoint.tls else None
    addresses = await _resolve(runtime.network, endpoint, settings, cache)
    stream = await _dial(runtime.network, endpoint, settings, addresses)
    if context is None:
        return stream
    try:
        return await _start_tls(stream, endpoint, settings, context)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _resolve(
    network: Network, endpoint: Endpoint, settings: WireSettings, cache: AddressCache
) -> Sequence[Address]:
    host, target = endpoint.host, str(endpoint)
    if is_numeric_host(host):
        return (Address(host, endpoint.port),)
    why = f"no answer for {host} within {settings.resolve_timeout_s} s"
    addresses: Sequence[Address] = ()
    with trio.move_on_after(settings.resolve_timeout_s):
        try:
            addresses = await network.resolve(host, endpoint.port)
            why = f"{host} has no address"
        except OSError as error:
            why = f"{host}: {error}"
    if not addresses:
        addresses = cache.spend(host)
        if not addresses:
            raise ConnectFailed("resolve", target, why)
        return addresses
    if not settings.allow_private_addresses and host != "localhost":
        refused = addresses
        addresses = [address for address in addresses if _is_public(address.host)]
        if not addresses:
            named = ", ".join(address.host for address in refused[:MAX_ADDRESSES])
            raise ConnectFailed("resolve", target, f"{host} resolves to addresses that are not public: {named}")
    addresses = _interleaved(addresses)[:MAX_ADDRESSES]
    cache.remember(host, addresses)
    return addresses


def _is_public(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_global and not address.is_multicast


def _interleaved(addresses: Sequence[Address]) -> list[Address]:
    """Alternate the address families, the preferred one first, so that a dead family costs one head start."""
    first = [a for a in addresses if (":" in a.host) == (":" in addresses[0].host)]
    second = [a for a in addresses if (":" in a.host) != (":" in addresses[0].host)]
    paired = [address for pair in zip(first, second, strict=False) for address in pair]
    return paired + first[len(second) :] + second[len(first) :]


async def _dial(network: Network, endpoint: Endpoint, settings: WireSettings, addresses: Sequence[Address]) -> Stream:
    race = _Race(network)
    try:
        with trio.move_on_after(settings.dial_timeout_s):
            await race.run(addresses)
    except BaseException:
        if race.winner is not None:
            await trio.aclose_forcefully(race.winner)
        raise
    if race.winner is not None:
        return race.winner
    tried = ", ".join(address.host for address in addresses)
    why = "; ".join(race.failures) or f"no answer within {settings.dial_timeout_s} s from {tried}"
    raise ConnectFailed("dial", str(endpoint), why)


@attrs.define
class _Race:
    """Dial addresses one after the other, each with a head start over the next; the first connection wins."""

    network: Network
    winner: Stream | None = attrs.field(default=None, init=False)
    failures: list[str] = attrs.field(factory=list[str], init=False)

    async def run(self, addresses: Sequence[Address]) -> None:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(self._attempt, address, failed, nursery.cancel_scope)
                with trio.move_on_after(STAGGER_S):
                    await failed.wait()

    async def _attempt(self, address: Address, failed: trio.Event, race: trio.CancelScope) -> None:
        try:
            stream = await self.network.dial(address)
        except OSError as error:
            self.failures.append(f"{address.host} port {address.port}: {error}")
            failed.set()
            return
        if self.winner is None:
            self.winner = stream
            race.cancel()
        else:
            await trio.aclose_forcefully(stream)


async def _start_tls(
    transport: Stream, endpoint: Endpoint, settings: WireSettings, context: ssl.SSLContext
) -> DrainingTlsStream:
    stream = DrainingTlsStream(transport, context, endpoint.host, close_timeout_s=settings.close_timeout_s)
    with trio.move_on_after(settings.tls_timeout_s):
        try:
            await stream.handshake()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            cause = error.__cause__ or error
            expected, floor_s = "TLS 1.2 or newer", 0.0
            if isinstance(cause, ssl.SSLCertVerificationError):
                expected, floor_s = f"a certificate of {endpoint.host}, valid and trusted", CERTIFICATE_RETRY_FLOOR_S
            why = f"expected {expected}, got: {_complaint(cause)}"
            raise ConnectFailed("tls", str(endpoint), why, retry_floor_s=floor_s) from error
        return stream
    raise ConnectFailed("tls", str(endpoint), f"expected a handshake within {settings.tls_timeout_s} s, got none")


def _complaint(error: BaseException) -> str:
    """Return what is wrong in OpenSSL's words, without its places in the source: long texts are cut when shown."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return str(error)
