"""What the REST tests stand on: a venue of a few lines over streams in memory, and a client of it in virtual time.

The venue checks signatures and nonces as the documentation says, notes what arrives, and answers as it is told.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import msgspec
import trio
from tests.wire.harness import MemoryNetwork, runtime_on

from kraken_engine.config import Config, RestSettings
from kraken_engine.normalise.events import Notice
from kraken_engine.rest.sending import NonceMarks
from kraken_engine.runtime import Runtime, Stream
from kraken_engine.secret import ApiKey, Secret
from kraken_engine.tasks.rest import Rest, open_rest

SECRET = base64.b64encode(b"a secret of forty bytes and a little more").decode()
EMERGENCY_SECRET = base64.b64encode(b"another secret of forty bytes and more").decode()
KEY = ApiKey(key=Secret("ordinary-key"), secret=Secret(SECRET))
EMERGENCY_KEY = ApiKey(key=Secret("emergency-key"), secret=Secret(EMERGENCY_SECRET))
SECRETS = {"ordinary-key": SECRET, "the-name-of-the-key": SECRET, "emergency-key": EMERGENCY_SECRET}

PAIRS = {
    "XXBTZUSD": {"altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD", "pair_decimals": 1,
                 "lot_decimals": 8, "ordermin": "0.0001", "costmin": "0.5", "tick_size": "0.1", "status": "online"},
}  # fmt: skip
ASSETS = {"XXBT": {"altname": "XBT", "decimals": 10, "display_decimals": 5}}
RESULTS: dict[str, Any] = {
    "Time": {"unixtime": 1795305600, "rfc1123": ""},
    "SystemStatus": {"status": "online", "timestamp": ""},
    "Assets": ASSETS,
    "AssetPairs": PAIRS,
    "Balance": {"XXBT": "1.5"},
    "BalanceEx": {"XXBT": {"balance": "1.5", "hold_trade": "0.5"}},
    "OpenOrders": {"open": {}},
    "GetWebSocketsToken": {"token": "the-token-itself", "expires": 900},
    "GetApiKeyInfo": {"permissions": ["query-funds"], "nonce": "1"},
    "CancelOrder": {"count": 1},
    "CancelAll": {"count": 0},
    "CancelAllOrdersAfter": {"currentTime": "", "triggerTime": "0"},
    "AddOrder": {"descr": {"order": "buy"}, "txid": ["O1"]},
    "TradesHistory": {"trades": {}, "count": 0},
}


@attrs.frozen
class Hang:
    """Answer never, or after so many seconds with what comes next."""

    seconds: float = 10_000.0


class Drop:
    """Close the connection without an answer."""


@attrs.frozen
class Http:
    """Answer with this status and body."""

    status: int
    body: bytes = b""
    headers: bytes = b""


Step = Hang | Drop | Http | list[str] | object
"""One answer: a list of strings is the venue's error list, anything else a result."""


@attrs.frozen(kw_only=True)
class Seen:
    """One request that arrived."""

    at_s: float
    name: str
    fields: Mapping[str, str]
    nonce: int
    key: str
    connection: int


@attrs.define(eq=False, repr=False)  # it has seen what nobody else may see
class TinyVenue:
    """Answers requests over HTTP/1.1, one at a time on each connection."""

    script: dict[str, list[Step]] = attrs.field(factory=lambda: defaultdict(list))
    seen: list[Seen] = attrs.field(factory=list)
    latency_s: float = 0.0
    connections: int = 0
    last_nonce: dict[str, int] = attrs.field(factory=lambda: defaultdict(int))

    def names(self) -> list[str]:
        return [seen.name for seen in self.seen]

    def nonces(self, key: str = "ordinary-key") -> list[int]:
        return [seen.nonce for seen in self.seen if seen.key == key]

    async def serve(self, stream: Stream) -> None:
        self.connections += 1
        number = self.connections
        buffer = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffer:
                    buffer += await _more(stream)
                head, _, body = buffer.partition(b"\r\n\r\n")
                lines = head.decode().split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
                }
                while len(body) < int(headers.get("content-length", "0")):
                    body += await _more(stream)
                buffer = b""
                await trio.sleep(self.latency_s)
                if not await self._answer(stream, lines[0].split(" ")[1], headers, body, number):
                    return
        except (EOFError, trio.BrokenResourceError):
            return
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(
        self, stream: Stream, target: str, headers: Mapping[str, str], body: bytes, connection: int
    ) -> bool:
        parts = urlsplit(target)
        name = parts.path.rpartition("/")[2]
        fields = {key: values[0] for key, values in parse_qs(body.decode() or parts.query).items()}
        key, nonce = headers.get("api-key", ""), int(fields.get("nonce", "0"))
        self.seen.append(
            Seen(at_s=trio.current_time(), name=name, fields=fields, nonce=nonce, key=key, connection=connection)
        )
        step: Step = self.script[name].pop(0) if self.script[name] else RESULTS[name]
        while isinstance(step, Hang):
            await trio.sleep(step.seconds)
            step = self.script[name].pop(0) if self.script[name] else RESULTS[name]
        if isinstance(step, Drop):
            return False
        if key and (problem := self._refuses(parts.path, headers, body, nonce, key)):
            step = [problem]
        if isinstance(step, Http):
            answer = step
        else:
            envelope = {"error": step} if isinstance(step, list) else {"error": [], "result": step}
            answer = Http(200, msgspec.json.encode(envelope))
        head = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n" % (answer.status, len(answer.body))
        await stream.send_all(head + answer.headers + b"\r\n" + answer.body)
        return True

    def _refuses(self, path: str, headers: Mapping[str, str], body: bytes, nonce: int, key: str) -> str | None:
        inner = hashlib.sha256(str(nonce).encode() + body).digest()
        expected = hmac.digest(base64.b64decode(SECRETS[key]), path.encode() + inner, "sha512")
        if base64.b64decode(headers["api-sign"]) != expected:
            return "EAPI:Invalid signature"
        if nonce <= self.last_nonce[key]:
            return "EAPI:Invalid nonce"
        self.last_nonce[key] = nonce
        return None


async def _more(stream: Stream) -> bytes:
    data = await stream.receive_some(65536)
    if not data:
        raise EOFError
    return bytes(data)


CONFIG = Config(rest=RestSettings(base_url="http://localhost"))


@asynccontextmanager
async def rest_of(
    venue: TinyVenue,
    config: Config = CONFIG,
    *,
    key: ApiKey | None = KEY,
    emergency_key: ApiKey | None = None,
    tier: str = "pro",
    marks: NonceMarks | None = None,
    notices: list[Notice] | None = None,
    change: Callable[[Runtime], Runtime] = lambda runtime: runtime,
) -> AsyncGenerator[Rest]:
    """Open a client of ``venue``; what the body raises leaves as itself."""
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        runtime = change(runtime_on(MemoryNetwork(nursery, venue.serve)))
        try:
            async with open_rest(
                config,
                runtime=runtime,
                key=key,
                emergency_key=emergency_key,
                tier=tier,
                marks=marks,
                notify=(notices if notices is not None else []).append,
            ) as rest:
                yield rest
        except Exception as raised:  # noqa: BLE001 - raised again below, outside the nursery
            error = raised
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error
