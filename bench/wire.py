"""What it costs to receive one message: split mode against stock mode and trio-websocket alone, plain and over TLS.

    python bench/wire.py [--quick]

A child process blasts the same frames at each contender over a loopback socket (over TLS one record a message, as a
venue that writes each message by itself produces). Nothing is decoded. Rounds are interleaved; the figure is the CPU
time of the receiving process per message. Machines differ and are shared: compare ratios of one run, never absolute
figures of two. Without ``--quick`` the run fails below the gates.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import attrs
import trio
import trio_websocket
import trustme

from kraken_engine.config import WireSettings
from kraken_engine.runtime import real_runtime
from kraken_engine.wire.endpoints import Endpoint
from kraken_engine.wire.websocket import open_websocket

GATES = {"plain": 15.0, "TLS": 8.0}
"""How many times cheaper than trio-websocket alone split mode has to be."""

UPDATE = (
    b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":63502.0,"qty":0.50000000}],'
    b'"asks":[{"price":63510.1,"qty":0.00000000}],"checksum":2439117997,"timestamp":"2026-11-22T12:00:00.123456Z"}]}'
)
FRAME = b"\x81\x7e" + len(UPDATE).to_bytes(2, "big") + UPDATE
CHUNK_BYTES = 131_072


@attrs.frozen
class Measured:
    """One round of one contender."""

    messages: int
    cpu_s: float

    @property
    def micros(self) -> float:
        return self.cpu_s / self.messages * 1e6


Receive = Callable[[Endpoint, str, int], Awaitable[Measured]]
"""Receives ``n`` messages from an endpoint whose certificate the file vouches for."""


async def split(endpoint: Endpoint, ca_file: str, messages: int) -> Measured:
    """kraken_engine, split mode"""
    return await _through_engine(endpoint, WireSettings(mode="split", ca_file=ca_file), messages)


async def stock(endpoint: Endpoint, ca_file: str, messages: int) -> Measured:
    """kraken_engine, stock mode"""
    return await _through_engine(endpoint, WireSettings(mode="stock", ca_file=ca_file), messages)


async def alone(endpoint: Endpoint, ca_file: str, messages: int) -> Measured:
    """trio-websocket alone (on trio.SSLStream)"""
    context = ssl.create_default_context(cafile=ca_file) if endpoint.tls else None
    async with trio_websocket.open_websocket_url(endpoint.url, context, receive_buffer_size=65536) as websocket:
        await websocket.send_message("go")
        start = time.process_time()
        got = 0
        while got < messages:
            await websocket.get_message()
            got += 1
        return Measured(got, time.process_time() - start)


CONTENDERS: dict[Receive, float] = {split: 1.0, stock: 0.1, alone: 0.1}
"""And which share of the messages each of them gets, so that a round takes similar time."""


async def _through_engine(endpoint: Endpoint, settings: WireSettings, messages: int) -> Measured:
    got, complete = 0, trio.Event()

    async def deliver(batch: list[bytes], _received_s: float) -> None:
        nonlocal got
        got += len(batch)
        if got >= messages:
            complete.set()

    async with open_websocket(real_runtime(), endpoint, settings, deliver) as websocket:
        start = time.process_time()
        await websocket.send(b"go")
        await complete.wait()
        return Measured(got, time.process_time() - start)


def serve(pem: str) -> None:
    """Be the child: print two ports, then serve one connection after the other until the parent goes away."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    plain, tls = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    print(plain.getsockname()[1], tls.getsockname()[1], flush=True)
    for command in sys.stdin:
        kind, messages = command.split()
        listener = tls if kind == "TLS" else plain
        accepted, _ = listener.accept()
        with accepted:
            try:
                _serve_one(accepted, context if kind == "TLS" else None, int(messages))
            except (ConnectionError, ssl.SSLError):
                continue  # the client has what it wanted, and left


def _serve_one(raw: socket.socket, context: ssl.SSLContext | None, messages: int) -> None:
    connection = raw if context is None else context.wrap_socket(raw, server_side=True)
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += connection.recv(65536)
    (key,) = [line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accept
        + b"\r\n\r\n"
    )
    connection.recv(65536)  # go
    if isinstance(connection, ssl.SSLSocket):
        for _ in range(messages):
            connection.sendall(FRAME)
    else:
        chunk = FRAME * (CHUNK_BYTES // len(FRAME))
        for _ in range(messages * len(FRAME) // len(chunk)):
            connection.sendall(chunk)
        connection.sendall(FRAME * (messages % (len(chunk) // len(FRAME))))
    connection.recv(65536)  # the close frame
    connection.sendall(b"\x88\x02\x03\xe8")


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, list[Measured]]]:
    """Print the table; return every round by transport and contender."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few messages: does it run at all?")
    parser.add_argument("--serve", metavar="PEM", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve)
        return {}
    messages, rounds = (2_000, 1) if options.quick else (200_000, 5)
    with tempfile.TemporaryDirectory() as folder:
        figures = _measure(Path(folder), messages, rounds)
    missed = _report(figures, rounds)
    if missed and not options.quick:
        raise SystemExit("; ".join(missed))
    return figures


def _measure(folder: Path, messages: int, rounds: int) -> dict[str, dict[str, list[Measured]]]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    figures: dict[str, dict[str, list[Measured]]] = {kind: {} for kind in GATES}
    command = [sys.executable, __file__, "--serve", str(folder / "server.pem")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        ports = dict(zip(GATES, map(int, child.stdout.readline().split()), strict=True))
        for _ in range(rounds):
            for kind, port in ports.items():
                endpoint = Endpoint("127.0.0.1", port, "/", tls=kind == "TLS")
                for receive, share in CONTENDERS.items():
                    count = int(messages * share)
                    child.stdin.write(f"{kind} {count}\n")
                    child.stdin.flush()
                    measured = trio.run(receive, endpoint, str(folder / "ca.pem"), count)
                    figures[kind].setdefault(receive.__name__, []).append(measured)
        child.stdin.close()
    return figures


def _report(figures: dict[str, dict[str, list[Measured]]], rounds: int) -> list[str]:
    missed: list[str] = []
    docs = {receive.__name__: receive.__doc__ for receive in CONTENDERS}
    print(f"{len(UPDATE)} bytes a message, {rounds} rounds; CPU us a message, min / median / max; times split mode")
    for kind, by_name in figures.items():
        micros = {name: sorted(m.micros for m in measured) for name, measured in by_name.items()}
        middle = {name: statistics.median(values) for name, values in micros.items()}
        for name, values in micros.items():
            ratio = middle[name] / middle["split"]
            print(
                f"{kind:6}{name:6} {values[0]:7.2f} {middle[name]:7.2f} {values[-1]:7.2f}  {ratio:5.1f}x  {docs[name]}"
            )
        gained = middle["alone"] / middle["split"]
        if gained < GATES[kind]:
            missed.append(f"{kind}: {gained:.1f}x cheaper than trio-websocket, expected {GATES[kind]:.0f}x")
    return missed


if __name__ == "__main__":
    main()
