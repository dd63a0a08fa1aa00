"""The venue as a whole: in memory and virtual time, then over real sockets with other people's clients."""

from __future__ import annotations

import json
import ssl
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import httpx
import pytest
import trio
import trio.testing
from tests.venue.shells.clients import HttpClient, WebSocketClient, dial, runtime_on, trio_websocket
from trio_websocket import ConnectionClosed
from wsproto.events import CloseConnection, TextMessage

from kraken_engine.errors import ConfigError, EngineFailed, StartupError
from kraken_engine.runtime import real_runtime
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.shells.memory import MemoryNetwork
from kraken_engine.venue.shells.server import MAX_CONNECTIONS, VenueServer, VenueSettings, open_venue

Clock = trio.testing.MockClock

SUBSCRIBE = '{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"]}}'
PING = '{"method":"ping","req_id":7}'


@attrs.define
class InMemory:
    """A venue on a memory network, and ways to reach it."""

    venue: VenueServer
    network: MemoryNetwork

    async def websocket(self, url: str | None = None, path: str = "/v2") -> WebSocketClient:
        client = WebSocketClient(await dial(self.network, url or self.venue.ws_url))
        await client.upgrade(path)
        return client

    async def http(self, url: str) -> HttpClient:
        return HttpClient(await dial(self.network, url))

    async def control(self, path: str, **fields: bytes | str | int) -> object:
        assert self.venue.control_url is not None
        http = await self.http(self.venue.control_url)
        host = self.venue.control_url.removeprefix("http://")
        body = json.dumps(fields).encode() if fields else b""
        answer = await http.request(path, method="POST" if fields else "GET", body=body, headers={"host": host})
        assert answer.status == 200, answer
        await http.stream.aclose()
        return answer.json


@asynccontextmanager
async def in_memory(settings: VenueSettings | None = None) -> AsyncGenerator[InMemory]:
    network = MemoryNetwork()
    with trio.fail_after(3600):
        async with open_venue(runtime_on(network), settings or VenueSettings(control_port=0)) as venue:
            yield InMemory(venue, network)


async def test_both_websocket_ports_lead_to_sessions_of_their_kind(autojump_clock: Clock) -> None:
    async with in_memory() as world:
        for url, kind in ((world.venue.ws_url, "public"), (world.venue.ws_auth_url, "auth")):
            client = await world.websocket(url)
            assert client.status == 101
            assert json.loads(await client.text())["channel"] == "status"
            assert [session.kind for session in world.venue.exchange.sessions.values()] == [kind]
            await client.send(CloseConnection(1000))
            await client.close_frame()
            assert await client.at_end()


async def test_another_path_is_not_found(autojump_clock: Clock) -> None:
    async with in_memory() as world:
        assert (await world.websocket(path="/v1")).status == 404


async def test_an_upgrade_is_refused_on_command_once_with_the_headers_of_the_command(autojump_clock: Clock) -> None:
    async with in_memory() as world:
        assert await world.control("/faults", fault="refuse_upgrade", status=429, retry_after=7)
        stream = await dial(world.network, world.venue.ws_url)
        upgrade = "GET /v2 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        await stream.send_all(f"{upgrade}Sec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        answer = b"".join([chunk async for chunk in stream])
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nretry-after: 7\r\n" in answer.lower()
        assert world.venue.exchange.counters()["sessions_opened"] == 0
        assert (await world.websocket()).status == 101


@pytest.mark.parametrize("status", [200, 204, 304, 302, 403, 503])
async def test_an_upgrade_can_be_refused_with_any_status(autojump_clock: Clock, status: int) -> None:
    async with in_memory() as world:
        world.venue.exchange.faults.refuse_upgrade(now=trio.current_time(), status=status)
        assert (await world.websocket()).status == status


async def test_a_subscription_brings_the_venues_own_book(autojump_clock: Clock) -> None:
    async with in_memory() as world:
        client = await world.websocket()
        await client.send(TextMessage(SUBSCRIBE))
        messages = [json.loads(await client.text()) for _ in range(20)]
        books = [message["data"][0] for message in messages if message.get("channel") == "book"]
        assert messages[0]["channel"] == "status"
        assert len(books) > 5
        assert all(world.venue.exchange.ever_had("BTC/USD", book["checksum"]) for book in books)


async def test_the_same_seed_gives_the_same_bytes(autojump_clock: Clock) -> None:
    async def texts_of(seed: int) -> list[str]:
        texts: list[str] = []
        async with in_memory(VenueSettings(seed=seed)) as world:
            client = await world.websocket()
            await client.send(TextMessage(SUBSCRIBE))
            with trio.move_on_after(5):
                while True:
                    texts.append(await client.text())
        return texts

    first, again, other = [await texts_of(seed) for seed in (1, 1, 2)]
    assert len(first) > 50
    assert first == again
    assert first != other


async def test_a_venue_opens_with_as_many_levels_as_it_was_told(autojump_clock: Clock) -> None:
    async with in_memory(VenueSettings(symbols=1, rate=0.001, levels=60)) as world:
        bids = world.venue.exchange.book_state("BTC/USD", depth=1000)["bids"]
        assert isinstance(bids, list)
        assert len(bids) == 60


async def test_an_answer_does_not_wait_for_the_markets_next_turn(autojump_clock: Clock) -> None:
    async with in_memory(VenueSettings(symbols=1, rate=0.001)) as world:
        client = await world.websocket()
        await client.text()
        began = trio.current_time()
        await client.send(TextMessage(PING))
        assert json.loads(await client.text())["req_id"] == 7
        assert trio.current_time() - began < 0.01


async def test_what_a_message_makes_due_soon_happens_on_time(autojump_clock: Clock) -> None:
    async with in_memory(VenueSettings(symbols=1, rate=0.001)) as world:
        world.venue.exchange.faults.delay_snapshot("BTC/USD", now=trio.current_time(), seconds=0.1)
        client = await world.websocket()
        await client.text()
        began = trio.current_time()
        await client.send(TextMessage(SUBSCRIBE))
        await client.text()
        assert json.loads(await client.text())["type"] == "snapshot"
        assert trio.current_time() - began == pytest.approx(0.1, abs=0.01)


async def test_a_busy_market_leaves_in_at_most_a_thousand_writes_a_second(autojump_clock: Clock) -> None:
    async with in_memory(VenueSettings(symbols=1, rate=10_000)) as world:
        client = await world.websocket()
        await client.send(TextMessage(SUBSCRIBE))
        reads: list[float] = []
        with trio.move_on_after(0.3):
            while await client.stream.receive_some():
                reads.append(trio.current_time())
        settled = [at for at in reads if at > reads[-1] - 0.2]
        assert 100 < len(settled) <= 201


async def test_a_fault_given_in_the_same_process_takes_effect_at_once(autojump_clock: Clock) -> None:
    async with in_memory() as world:
        client = await world.websocket()
        await client.text()
        world.venue.exchange.faults.drop_connection(now=trio.current_time())
        assert await client.at_end()


async def test_silence_ends_on_time_though_nobody_asked_for_a_turn(autojump_clock: Clock) -> None:
    async with in_memory(VenueSettings(symbols=1, rate=0.001)) as world:
        client = await world.websocket()
        await client.text()
        await client.send(TextMessage(SUBSCRIBE))
        assert "result" in json.loads(await client.text())
        assert json.loads(await client.text())["type"] == "snapshot"
        began = trio.current_time()
        world.venue.exchange.faults.silence(now=began, seconds=5)
        assert json.loads(await client.text()) == {"channel": "heartbeat"}
        assert 5 <= trio.current_time() - began < 6.1


async def test_a_fault_given_over_the_control_port_reaches_the_client(autojump_clock: Clock) -> None:
    async with in_memory() as world:
        client = await world.websocket()
        await client.text()
        await world.control("/faults", fault="drop_connection", mode="close", reason="drill")
        assert await client.close_frame() == (1001, "drill")


async def test_the_control_port_tells_the_truth(autojump_clock: Clock) -> None:
    async with in_memory() as world:
        assert await world.control("/symbols") == world.venue.exchange.symbols
        book = await world.control("/books/BTC/USD?depth=10")
        assert isinstance(book, dict)
        assert world.venue.exchange.ever_had("BTC/USD", book["checksum"])


async def test_there_is_no_control_port_unless_asked_for(autojump_clock: Clock) -> None:
    async with in_memory(VenueSettings()) as world:
        assert world.venue.control_url is None
        assert world.venue.ca_file is None


async def test_the_control_port_refuses_other_hosts(autojump_clock: Clock) -> None:
    async with in_memory() as world:
        assert world.venue.control_url is not None
        http = await world.http(world.venue.control_url)
        assert (await http.request("/symbols", headers={"host": "evil.example"})).status == 421


async def test_rest_is_answered_from_the_same_exchange(autojump_clock: Clock) -> None:
    async with in_memory() as world:
        http = await world.http(world.venue.rest_url)
        answer = await http.request("/0/public/SystemStatus")
        assert answer.status == 200
        assert isinstance(answer.json, dict)
        assert answer.json["result"]["status"] == "online"
        assert (await world.control("/counters"))["rest_requests"] == 1  # type: ignore[index]  # parsed JSON


async def test_what_is_overdue_comes_in_bites_that_a_reader_can_follow(autojump_clock: Clock) -> None:
    network = MemoryNetwork(buffer_bytes=8 * 1024 * 1024)  # so that one read takes all that was written meanwhile
    with trio.fail_after(3600):
        async with open_venue(runtime_on(network), VenueSettings(symbols=1, rate=5000)) as venue:
            client = WebSocketClient(await dial(network, venue.ws_url))
            await client.upgrade()
            await client.send(TextMessage(SUBSCRIBE))
            await trio.sleep(1)
            await client.stream.receive_some()
            autojump_clock.jump(1)
            reads: list[int] = []
            with trio.move_on_after(0.1):
                while True:
                    reads.append(len(await client.stream.receive_some()))
    assert sum(reads) > 500_000
    assert max(reads) < 50_000


async def test_leaving_closes_clients_with_1001_and_stops_listening(autojump_clock: Clock) -> None:
    network = MemoryNetwork()
    async with open_venue(runtime_on(network), VenueSettings()) as venue:
        client = WebSocketClient(await dial(network, venue.ws_url))
        await client.upgrade()
        await client.text()
        idle = HttpClient(await dial(network, venue.rest_url))
        await idle.request("/0/public/Time")
        began = trio.current_time()
    assert trio.current_time() - began < 3
    assert (await client.close_frame())[0] == 1001
    assert await client.at_end()
    assert await idle.at_end()
    for url in (venue.ws_url, venue.ws_auth_url, venue.rest_url):
        with pytest.raises(ConnectionRefusedError):
            await dial(network, url)


async def test_leaving_with_a_client_that_does_not_read_is_bounded(autojump_clock: Clock) -> None:
    network = MemoryNetwork(buffer_bytes=100)
    async with open_venue(runtime_on(network), VenueSettings(rate=1000)) as venue:
        client = WebSocketClient(await dial(network, venue.ws_url))
        await client.upgrade()
        await client.send(TextMessage(SUBSCRIBE))
        await trio.sleep(1)
        began = trio.current_time()
    assert trio.current_time() - began < 3


async def test_a_cancelled_venue_ends_at_once(autojump_clock: Clock) -> None:
    network = MemoryNetwork()
    with trio.move_on_after(10) as scope:
        async with open_venue(runtime_on(network), VenueSettings()) as venue:
            client = WebSocketClient(await dial(network, venue.ws_url))
            await client.upgrade()
            began = trio.current_time()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() - began == pytest.approx(10)


async def test_an_error_of_the_body_leaves_as_itself(autojump_clock: Clock) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        async with in_memory():
            raise ZeroDivisionError
    assert caught.value.__context__ is None


async def test_an_error_of_the_exchange_ends_the_body_and_says_so(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def advance(self: Exchange, now: float) -> None:
        raise ZeroDivisionError("planted")

    with pytest.raises(EngineFailed, match="venue failed in the background: ZeroDivisionError: planted") as caught:
        async with open_venue(runtime_on(MemoryNetwork()), VenueSettings()):
            monkeypatch.setattr(Exchange, "advance", advance)
            await trio.sleep(60)
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert caught.value.__cause__.subgroup(ZeroDivisionError) is not None


async def test_a_failure_at_the_moment_of_cancellation_is_not_lost(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = trio.CancelScope()

    def advance(self: Exchange, now: float) -> None:
        scope.cancel()
        raise ZeroDivisionError("planted")

    with pytest.raises(EngineFailed, match="planted"), scope:
        async with open_venue(runtime_on(MemoryNetwork()), VenueSettings()):
            monkeypatch.setattr(Exchange, "advance", advance)
            await trio.sleep_forever()


async def test_an_interrupt_that_a_task_of_the_venue_gets_stays_one(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def advance(self: Exchange, now: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with open_venue(runtime_on(MemoryNetwork()), VenueSettings()):
            monkeypatch.setattr(Exchange, "advance", advance)
            await trio.sleep_forever()


async def test_more_clients_than_it_serves_are_turned_away_and_the_rest_stay(autojump_clock: Clock) -> None:
    async with in_memory() as world:
        served = [await dial(world.network, world.venue.ws_url) for _ in range(100)]
        await trio.testing.wait_all_tasks_blocked()
        while len(served) < MAX_CONNECTIONS:
            served.append(await dial(world.network, world.venue.ws_url))
            await trio.testing.wait_all_tasks_blocked()
        surplus = WebSocketClient(await dial(world.network, world.venue.ws_url))
        assert await surplus.at_end()
        first = WebSocketClient(served[0])
        assert await first.upgrade() == 101
        await served[1].aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert (await world.websocket()).status == 101


async def test_every_port_that_is_taken_is_named_and_nothing_stays_open(autojump_clock: Clock) -> None:
    network = MemoryNetwork()
    await network.listen("127.0.0.1", 8001)
    await network.listen("127.0.0.1", 8002)
    settings = VenueSettings(ws_port=8000, ws_auth_port=8001, rest_port=8002)
    with pytest.raises(StartupError) as caught:
        async with open_venue(runtime_on(network), settings):
            pytest.fail("opened on taken ports")
    assert [reason.partition(":")[0] for reason in caught.value.reasons] == ["ws_auth_port", "rest_port"]
    await network.listen("127.0.0.1", 8000)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "8.8.8.8", "localhost", "example.com", ""])
def test_only_loopback_addresses_can_be_listened_on(host: str) -> None:
    with pytest.raises(ConfigError, match="host: expected a numeric loopback address"):
        VenueSettings(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1"])
async def test_any_loopback_address_will_do(autojump_clock: Clock, host: str) -> None:
    async with in_memory(VenueSettings(host=host)) as world:
        shown = f"[{host}]" if ":" in host else host
        assert world.venue.ws_url.startswith(f"ws://{shown}:")
        assert world.venue.ws_url.endswith("/v2")
        assert world.venue.rest_url.startswith(f"http://{shown}:")


@pytest.mark.parametrize(
    "wrong",
    [
        {"ws_port": -1},
        {"rest_port": 65536},
        {"control_port": 70000},
        {"symbols": 0},
        {"rate": 0},
        {"rate": float("inf")},
    ],
)
def test_settings_that_cannot_work_are_refused_when_made(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        VenueSettings(**wrong)  # type: ignore[arg-type]  # wrong on purpose


async def test_other_peoples_clients_can_talk_to_it_over_real_sockets() -> None:
    with trio.fail_after(30):
        async with open_venue(real_runtime(), VenueSettings(control_port=0, rate=500)) as venue:
            async with httpx.AsyncClient() as http:
                time = (await http.get(f"{venue.rest_url}/0/public/Time")).json()
                assert time["error"] == []
                assert (await http.get(f"{venue.control_url}/symbols")).json() == venue.exchange.symbols
                wrong = await http.post(f"{venue.control_url}/faults", json={"fault": "earthquake"})
                assert wrong.status_code == 400
                assert "earthquake" in wrong.json()["error"]
            async with trio_websocket(venue.ws_url) as client:
                await client.send_message(SUBSCRIBE)
                texts = [await client.get_message() for _ in range(50)]
                assert json.loads(texts[0])["channel"] == "status"
                await client.ping(b"there?")
                venue.exchange.faults.drop_connection(now=trio.current_time(), mode="close", code=1012)
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        await client.get_message()
                assert closed.value.reason is not None
                assert closed.value.reason.code == 1012


async def test_tls_is_trusted_through_its_ca_file_and_by_nobody_else(tmp_path: Path) -> None:
    directory = tmp_path / "tls"
    with trio.fail_after(30):
        async with open_venue(real_runtime(), VenueSettings(tls_dir=str(directory))) as venue:
            assert venue.ca_file == str(directory / "ca.pem")
            assert venue.ws_url.startswith("wss://")
            assert venue.rest_url.startswith("https://")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}
            assert modes == {"ca.pem": 0o600, "server.pem": 0o600}
            trusting = ssl.create_default_context(cafile=venue.ca_file)
            async with httpx.AsyncClient(verify=trusting) as http:
                assert (await http.get(f"{venue.rest_url}/0/public/Time")).status_code == 200
            async with trio_websocket(venue.ws_url, trusting) as client:
                assert json.loads(await client.get_message())["channel"] == "status"
            assert await _handshake(venue, ssl.create_default_context()) == "CERTIFICATE_VERIFY_FAILED"
            old = ssl.create_default_context(cafile=venue.ca_file)
            with pytest.warns(DeprecationWarning, match="TLSv1_1"):
                old.maximum_version = ssl.TLSVersion.TLSv1_1
            assert await _handshake(venue, old) != "done"
            # Neither failure has hurt anybody else.
            assert await _handshake(venue, trusting) == "done"


async def _handshake(venue: VenueServer, context: ssl.SSLContext) -> str | None:
    """Return ``done``, or why OpenSSL failed."""
    stream = await trio.open_ssl_over_tcp_stream(
        "127.0.0.1", int(venue.rest_url.rpartition(":")[2]), ssl_context=context
    )
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        return getattr(error.__cause__, "reason", None)
    finally:
        await trio.aclose_forcefully(stream)
    return "done"


async def test_a_certificate_that_cannot_be_written_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="tls_dir"):
        async with open_venue(real_runtime(), VenueSettings(tls_dir=str(tmp_path / "file"))):
            pytest.fail("opened without a certificate")


async def test_tls_without_trustme_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "trustme", None)
    with pytest.raises(ConfigError, match=r"kraken-engine\[cli\]"):
        async with open_venue(real_runtime(), VenueSettings(tls_dir=str(tmp_path))):
            pytest.fail("opened without trustme")
