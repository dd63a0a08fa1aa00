"""The REST client and the venue agree: every operation is asked and answered, in memory and over sockets with TLS."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from tests.rest.harness import CONFIG, TinyVenue, rest_of
from tests.wire.harness import MemoryNetwork as DialledNetwork
from tests.wire.harness import runtime_on
from trio.testing import MockClock

from kraken_engine.config import Config, RestSettings, WireSettings
from kraken_engine.errors import (
    AuthRejected,
    ConfigError,
    DecodeError,
    EngineError,
    OrderRefused,
    RequestInvalid,
    RestFailed,
    UsageError,
)
from kraken_engine.model import VenueMode
from kraken_engine.rest.operations import GROUPS, OPERATIONS, Group, operation
from kraken_engine.rest.public import PublicRest
from kraken_engine.runtime import real_runtime
from kraken_engine.secret import ApiKey, Secret
from kraken_engine.tasks.rest import Rest, open_public_rest, open_rest
from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET
from kraken_engine.venue.shells.memory import MemoryNetwork
from kraken_engine.venue.shells.server import VenueServer, VenueSettings, open_venue

TEST = ApiKey(key=Secret(TEST_KEY), secret=Secret(TEST_SECRET))


def every_call(rest: Rest) -> dict[str, Callable[[], Awaitable[Any]]]:
    public, private = rest.public, rest.private
    return {
        "Time": public.time,
        "SystemStatus": public.system_status,
        "Assets": public.assets,
        "AssetPairs": public.asset_pairs,
        "Ticker": lambda: public.ticker(["BTC/USD"]),
        "OHLC": lambda: public.ohlc("BTC/USD", 5),
        "Depth": lambda: public.depth("BTC/USD", 10),
        "Trades": lambda: public.trades("BTC/USD", count=5),
        "Spread": lambda: public.spread("BTC/USD"),
        "Balance": private.balance,
        "BalanceEx": private.balance_ex,
        "OpenOrders": private.open_orders,
        "ClosedOrders": private.closed_orders,
        "TradesHistory": private.trades_history,
        "OpenPositions": private.open_positions,
        "GetWebSocketsToken": private.websockets_token,
        "GetApiKeyInfo": private.api_key_info,
        "WithdrawMethods": private.withdraw_methods,
        "DepositMethods": lambda: private.deposit_methods("BTC"),
        "DepositAddresses": lambda: private.deposit_addresses("BTC", "Bitcoin"),
        "CancelAll": private.cancel_all,
        "CancelAllOrdersAfter": lambda: private.cancel_all_orders_after(0),
        "AddOrder": lambda: private.add_order("BTC/USD", "buy", "limit", "0.1", price="1000.0", cl_ord_id="a" * 32),
    }


OWN = ApiKey(key=Secret("SOMEBODYS+OWN+KEY"), secret=Secret("c29tZWJvZHkncyBvd24gc2VjcmV0ISEh"))
IN_THE_CLEAR = Config(rest=RestSettings(base_url="http://api.venue.test"))


@pytest.mark.parametrize("keys", [{"key": OWN}, {"key": TEST, "emergency_key": OWN}], ids=["key", "emergency key"])
async def test_no_key_of_somebodys_own_is_used_over_a_network_in_the_clear(keys: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected a URL with TLS, or on this machine, for its key, got http://api"):
        async with open_rest(IN_THE_CLEAR, **keys):
            pass


async def test_the_key_that_everybody_knows_is_used_anywhere() -> None:
    async with open_rest(IN_THE_CLEAR, key=TEST) as rest:
        assert rest.private


async def test_a_key_is_not_its_own_emergency_key_and_a_tier_is_one_of_the_venues(autojump_clock: MockClock) -> None:
    again = ApiKey(key=Secret(TEST_KEY), secret=Secret(TEST_SECRET))
    with pytest.raises(ConfigError, match="another key for emergencies") as refused:
        async with open_rest(Config.simulated(), key=TEST, emergency_key=again):
            pass
    assert TEST_KEY not in str(refused.value)
    with pytest.raises(ConfigError, match="expected a tier of starter, intermediate, pro, got gold"):
        async with open_rest(Config.simulated(), key=TEST, tier="gold"):
            pass


async def test_a_side_that_is_none_is_the_callers_mistake(autojump_clock: MockClock) -> None:
    async with open_rest(attrs.evolve(Config.simulated(), rest=RestSettings(allow_add_order=True))) as rest:
        with pytest.raises(UsageError, match="side: expected one of buy, sell, got both"):
            await rest.private.add_order("BTC/USD", "both", "limit", "0.1", price="1")


async def test_every_operation_of_the_groups_is_asked_and_answered(autojump_clock: MockClock) -> None:
    config = attrs.evolve(Config.simulated(), rest=RestSettings(allow_add_order=True, patience_s=300.0))
    async with open_rest(config) as rest:
        calls = every_call(rest)
        # The others are about orders that are not there yet, or an address that nobody saved.
        assert set(calls) | {"QueryOrders", "CancelOrder", "WithdrawInfo"} == {name for _, name in OPERATIONS}
        for call in calls.values():
            await call()
        with pytest.raises(RequestInvalid, match="Unknown withdraw key"):
            await rest.private.withdraw_info("BTC", "nobody", "1")
        (order_id,) = await rest.private.open_orders(cl_ord_id="a" * 32)
        found = (await rest.private.query_orders([order_id]))[order_id]
        assert (found.symbol, str(found.row.vol), found.row.cl_ord_id) == ("BTC/USD", "0.10000000", "a" * 32)
        assert (await rest.private.balance_ex())["USD"].held > 0
        assert (await rest.private.cancel_order(cl_ord_id="a" * 32)).count == 1
        with pytest.raises(OrderRefused, match="Unknown order"):
            await rest.private.cancel_order(order_id)
        assert order_id in (await rest.private.closed_orders())[0]


def test_there_is_no_operation_that_moves_funds() -> None:
    names = {name for _, name in OPERATIONS}
    assert not {"Withdraw", "WithdrawCancel", "WalletTransfer", "WithdrawStatus"} & names
    assert {name for name in names if name.startswith("Withdraw")} == {"WithdrawInfo", "WithdrawMethods"}


@pytest.mark.parametrize("group", GROUPS)
def test_each_group_has_exactly_its_operations(group: Group) -> None:
    for _, name in OPERATIONS:
        if name in GROUPS[group]:
            assert operation(group, name, allow_add_order=True).group is group
        else:
            with pytest.raises(UsageError, match=name):
                operation(group, name, allow_add_order=True)


async def test_over_real_sockets_with_tls(tmp_path: Path) -> None:
    runtime = real_runtime()
    with trio.fail_after(60):
        async with open_venue(runtime, VenueSettings(symbols=2, rate=5.0, tls_dir=str(tmp_path))) as venue:
            assert venue.rest_url.startswith("https://")
            config = Config(rest=RestSettings(base_url=venue.rest_url), wire=WireSettings(ca_file=venue.ca_file))
            async with open_rest(config, runtime=runtime, key=TEST, tier="intermediate") as rest:
                assert (await rest.public.system_status()).mode is VenueMode.ONLINE
                assert (await rest.private.websockets_token()).expires_s == 900
                for _ in range(5):
                    await rest.private.api_key_info()


async def test_a_certificate_nobody_trusts_is_one_error_and_nothing_is_sent(tmp_path: Path) -> None:
    runtime = real_runtime()
    with trio.fail_after(60):
        async with open_venue(runtime, VenueSettings(symbols=1, rate=5.0, tls_dir=str(tmp_path))) as venue:
            config = Config(rest=RestSettings(base_url=venue.rest_url, max_retries=0))
            async with open_rest(config, runtime=runtime, key=TEST) as rest:
                with pytest.raises(RestFailed, match="certificate") as caught:
                    await rest.private.api_key_info()
    assert not caught.value.maybe_executed
    assert all(key.last_nonce == -1 for key in venue.exchange.accounts.api_keys.values())


@attrs.frozen
class Faulted:
    rest: Rest
    venue: VenueServer

    def fault(self, command: str, **params: object) -> None:
        self.venue.exchange.faults.apply(command, params, trio.current_time())


async def with_faults(use: Callable[[Faulted], Awaitable[None]]) -> None:
    runtime = attrs.evolve(real_runtime(), network=MemoryNetwork())
    async with open_venue(runtime, VenueSettings(symbols=1, rate=1.0)) as venue:
        config = Config(rest=RestSettings(base_url=venue.rest_url, max_retries=0))
        async with open_rest(config, runtime=runtime, key=TEST, tier="intermediate") as rest:
            await rest.public.symbols(assets=True)
            await use(Faulted(rest, venue))


BREAKS = (
    "truncated", "short_length", "chunk_garbage", "bad_status_line", "endless", "never_ends", "no_answer", "reset",
    "gzip_bomb",
)  # fmt: skip


@pytest.mark.parametrize("kind", BREAKS)
async def test_a_broken_answer_is_an_error_and_the_next_call_is_well(autojump_clock: MockClock, kind: str) -> None:
    async def use(it: Faulted) -> None:
        it.fault("rest_break", kind=kind, path="/0/private/Balance")
        begin = trio.current_time()
        with pytest.raises((RestFailed, DecodeError)):
            await it.rest.private.balance()
        assert trio.current_time() - begin <= 15.0
        assert (await it.rest.private.balance())["BTC"] == 50

    await with_faults(use)


@pytest.mark.parametrize("kind", ["truncated", "no_answer", "reset", "chunk_garbage"])
async def test_an_order_whose_answer_is_broken_may_live_and_does(autojump_clock: MockClock, kind: str) -> None:
    runtime = attrs.evolve(real_runtime(), network=MemoryNetwork())
    async with open_venue(runtime, VenueSettings(symbols=1, rate=1.0)) as venue:
        config = Config(rest=RestSettings(base_url=venue.rest_url, allow_add_order=True))
        async with open_rest(config, runtime=runtime, key=TEST, tier="intermediate") as rest:
            await rest.public.symbols()
            params = {"kind": kind, "path": "/0/private/AddOrder"}
            venue.exchange.faults.apply("rest_break", params, trio.current_time())
            with pytest.raises(EngineError) as caught:
                await rest.private.add_order("BTC/USD", "buy", "limit", "0.1", price="1000.0")
            assert caught.value.maybe_executed  # type: ignore[attr-defined]
            assert len(await rest.private.open_orders()) == 1


@pytest.mark.parametrize(("status", "executed"), [(302, False), (403, False), (500, True), (502, True), (520, True)])
async def test_a_page_of_the_edge_is_an_error_with_its_status(
    autojump_clock: MockClock, status: int, executed: bool
) -> None:
    async def use(it: Faulted) -> None:
        it.fault("rest_status", status=status, path="/0/private/", location="http://elsewhere.test/")
        with pytest.raises(RestFailed) as caught:
            await it.rest.private.balance()
        assert (caught.value.status, caught.value.maybe_executed) == (status, executed)
        assert "<" not in str(caught.value)

    await with_faults(use)


async def test_a_deleted_key_is_refused_and_not_tried_again(autojump_clock: MockClock) -> None:
    async def use(it: Faulted) -> None:
        it.fault("delete_key")
        with pytest.raises(AuthRejected, match="EAPI:Invalid key"):
            await it.rest.private.balance()
        assert it.rest.private.statistics().attempts == 1

    await with_faults(use)


async def test_another_program_with_the_same_key_is_overtaken_once(autojump_clock: MockClock) -> None:
    async def use(it: Faulted) -> None:
        await it.rest.private.balance()
        it.fault("take_nonce", ahead=0.4)
        await it.rest.private.balance()
        assert it.rest.private.statistics().retries == 1

    await with_faults(use)


async def test_what_the_body_raises_leaves_as_itself(autojump_clock: MockClock) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_rest(Config.simulated()):
            raise KeyError("mine")


async def test_without_a_key_there_is_nothing_private(autojump_clock: MockClock) -> None:
    async with rest_of(TinyVenue(), key=None) as rest:
        with pytest.raises(UsageError, match="without one"):
            _ = rest.private


async def test_a_key_that_cannot_sign_is_a_mistake_before_anything_is_sent(autojump_clock: MockClock) -> None:
    key = ApiKey(key=Secret("ordinary-key"), secret=Secret("no base64"))
    with pytest.raises(ConfigError, match="base64"):
        async with rest_of(TinyVenue(), key=key):
            pass


async def test_a_symbol_the_venue_does_not_have_is_named_before_anything_is_asked_about_it(
    autojump_clock: MockClock,
) -> None:
    async with open_public_rest_of_a_tiny_venue() as (public, venue):
        with pytest.raises(UsageError, match="NEW/USD"):
            await public.depth("NEW/USD")
        assert venue.names() == ["AssetPairs"]
        with pytest.raises(UsageError, match="NEW/USD"):
            await public.depth("NEW/USD")
        assert venue.names() == ["AssetPairs"]
        await trio.sleep(61)
        with pytest.raises(UsageError, match="NEW/USD"):
            await public.depth("NEW/USD")
        assert venue.names() == ["AssetPairs", "AssetPairs"]


@asynccontextmanager
async def open_public_rest_of_a_tiny_venue() -> AsyncGenerator[tuple[PublicRest, TinyVenue]]:
    venue = TinyVenue()
    async with trio.open_nursery() as nursery:
        runtime = runtime_on(DialledNetwork(nursery, venue.serve))
        async with open_public_rest(CONFIG, runtime) as public:
            yield public, venue
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda rest: rest.public.depth("BTC/USD", 0), "from 1 to 500"),
        (lambda rest: rest.public.depth("BTC/USD", 501), "from 1 to 500"),
        (lambda rest: rest.public.trades("BTC/USD", count=1001), "from 1 to 1000"),
        (lambda rest: rest.public.trades("BTC/USD", since=-1), "since"),
        (lambda rest: rest.public.ohlc("BTC/USD", 7), "interval_min"),
        (lambda rest: rest.public.ticker("BTC/USD"), "symbols: expected a list of texts, got 'BTC/USD'"),
        (lambda rest: rest.public.time(timeout_s=-1), "timeout_s: expected seconds, 0 or more, got -1"),
        (lambda rest: rest.public.ticker(["BTC/USD"], timeout_s="5"), "timeout_s: expected seconds, 0 or more, got 5"),
        (lambda rest: rest.private.balance(timeout_s=float("nan")), "timeout_s: expected seconds, 0 or more, got nan"),
        (lambda rest: rest.private.query_orders("OABC"), "order_ids: expected a list of texts, got 'OABC'"),
        (lambda rest: rest.private.query_orders([]), "1 to 50"),
        (lambda rest: rest.private.cancel_order(), "one of order_id"),
        (lambda rest: rest.private.cancel_order("O1", cl_ord_id="a"), "one of order_id"),
        (lambda rest: rest.private.cancel_all_orders_after(86_400), "0 to 86399"),
        (lambda rest: rest.private.cancel_all_orders_after(1.5), "0 to 86399"),
    ],
)
async def test_an_argument_that_makes_no_sense_never_leaves(
    autojump_clock: MockClock, call: Callable[[Rest], Awaitable[Any]], match: str
) -> None:
    venue = TinyVenue()
    async with rest_of(venue) as rest:
        await rest.public.symbols()
        with pytest.raises(UsageError, match=match):
            await call(rest)
    assert venue.names() == ["AssetPairs"]
