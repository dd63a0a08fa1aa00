"""Cut the private line of an account again and again while it is being filled, over real sockets.

``python -m tests.drills.private_line [--cuts 50] [--orders 200]``

A venue on loopback, an engine with one account, and an operator who places orders, fills and cancels them through the
venue's control port without pause. The line is cut at random moments. Each time, at the very moment at which the
account says that it is live again, its orders, fills and balances have to be the venue's, to the last digit. Only what
the venue did after it had written its snapshots may still be on its way then: the fills told have to be the first ones
of the venue's own list, without a hole, and everything has to be equal as soon as the rest has arrived. Prints how long
it took each time, from the cut and from the new connection.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs
import httpx
import trio

from kraken_engine import AccountLive, Config, Event, Fill, LineUp, open_account, open_market
from kraken_engine.config import AccountSettings, BackoffSettings, RestSettings, WireSettings
from kraken_engine.runtime import real_runtime
from kraken_engine.tasks.market import Market
from kraken_engine.trading.account import Account
from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET
from kraken_engine.venue.core.accounts.settings import AccountSettings as VenueAccount
from kraken_engine.venue.shells.server import VenueServer, VenueSettings, open_venue

SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD")
LONGEST_S = 30.0
"""An account that takes longer to be live again has failed."""
LOOK_S = 0.01
ARRIVES_S = 2.0
"""What is on its way is there by then."""


@attrs.define
class Outcome:
    """What a drill came to."""

    cuts: int = 0
    live: int = 0
    compared: int = 0
    on_their_way: int = 0
    """Comparisons at whose moment something newer than the snapshots was still on its way."""
    fills: int = 0
    replayed: int = 0
    differences: list[str] = attrs.field(factory=list)
    from_cut_s: list[float] = attrs.field(factory=list)
    from_connection_s: list[float] = attrs.field(factory=list)

    @property
    def ok(self) -> bool:
        return not self.differences and self.live == self.cuts > 0


@attrs.define
class Operator:
    """Acts through the control port, as a person at the venue would."""

    http: httpx.AsyncClient
    rng: random.Random
    resting: trio.Event = attrs.field(factory=trio.Event)
    """Set while the operator may act."""

    async def post(self, path: str, **params: object) -> Any:
        return await self._ask(self.http.build_request("POST", path, json=params))

    async def get(self, path: str) -> Any:
        return await self._ask(self.http.build_request("GET", path))

    async def _ask(self, request: httpx.Request) -> Any:
        """Finish what was begun, at the end of the drill as well: httpx leaves a body half sent behind otherwise."""
        with trio.CancelScope(shield=True):
            return (await self.http.send(request)).json()

    async def place(self, count: int) -> None:
        for symbol in SYMBOLS:
            for side in ("buy", "sell"):
                # Far from the market: only the operator fills them.
                await self.post(
                    "/accounts/main/orders", symbol=symbol, side=side, count=count, away=300, step=1, lots=50_000
                )

    async def keep_busy(self, orders: int) -> None:
        """Fill, cancel and place, one thing after the other, for as long as it is allowed."""
        while True:
            await self.resting.wait()
            what = self.rng.random()
            if what < 0.7:
                percent = self.rng.choice((10, 35, 100))
                await self.post("/accounts/main/fill", count=self.rng.randint(1, 3), percent=percent)
            else:
                open_now = [order["order_id"] for order in await self.get("/accounts/main/orders")]
                if what < 0.8 and open_now:
                    await self.post("/accounts/main/cancel", order_id=self.rng.choice(open_now))
                elif len(open_now) < orders:
                    await self.post(
                        "/accounts/main/orders", symbol=self.rng.choice(SYMBOLS), side=self.rng.choice(("buy", "sell")),
                        count=min(10, orders - len(open_now)), away=300, lots=50_000,
                    )  # fmt: skip
            await trio.sleep(self.rng.uniform(0.0, 0.05))


@attrs.define
class Witness:
    """Compares an account with the venue at the moment it says that it is live."""

    venue: VenueServer
    account: Account
    outcome: Outcome
    told: list[str] = attrs.field(factory=list)
    live: trio.Event = attrs.field(factory=trio.Event)
    connected_at: float = 0.0
    before_cut: int = 0
    """Fills the venue had at the moment of the cut."""

    def see(self, _key: object, event: Event) -> None:
        if isinstance(event, Fill):
            self.told.append(event.exec_id)
            self.outcome.fills += 1
            self.outcome.replayed += event.replayed
        elif isinstance(event, LineUp) and event.line.startswith("private"):
            self.connected_at = time.perf_counter()
        elif isinstance(event, AccountLive):
            self.outcome.compared += 1
            self.outcome.differences += [f"live {self.outcome.compared}: {d}" for d in self.holes()]
            self.outcome.on_their_way += bool(self.differences())
            self.live.set()

    def holes(self) -> list[str]:
        """Return what cannot be explained by frames on their way: a fill told while an earlier one was not."""
        fills = [fill["exec_id"] for fill in self.venue.exchange.private.truth.fills("main")]
        if set(self.told) != set(fills[: len(self.told)]) or len(set(self.told)) != len(self.told):
            return [f"fills told: {len(self.told)}, not the first ones of {len(fills)} at the venue"]
        if len(self.told) < self.before_cut:
            return [f"fills told: {len(self.told)}, fewer than the {self.before_cut} there were before the cut"]
        return []

    def differences(self) -> list[str]:
        truth = self.venue.exchange.private.truth
        found: list[str] = []
        theirs = {order["order_id"]: order for order in truth.orders("main")}
        ours = self.account.open_orders()
        if set(ours) != set(theirs):
            found.append(f"open orders: {sorted(set(ours) ^ set(theirs))}")
        for order_id in set(ours) & set(theirs):
            mine, true = ours[order_id], theirs[order_id]
            same = {
                "order_status": str(mine.status) == true["order_status"],
                "cum_qty": mine.cum_qty == Decimal(true["cum_qty"]),
                "cum_cost": mine.cum_cost == Decimal(true["cum_cost"]),
                "order_qty": mine.order_qty == Decimal(true["order_qty"]),
                "limit_price": mine.limit_price == Decimal(true["limit_price"]),
            }
            found += [f"{order_id}: {name}: {true[name]} at the venue, got {mine}" for name in same if not same[name]]
        fills = [fill["exec_id"] for fill in truth.fills("main")]
        if sorted(self.told) != sorted(fills):
            found.append(f"fills: {len(fills)} at the venue, {len(self.told)} told, {len(set(self.told))} different")
        balances = truth.balances("main")
        for asset, held in self.account.holdings().items():
            if held.total != Decimal(balances[asset]["balance"]):
                found.append(f"{asset}: {balances[asset]['balance']} at the venue, {held.total:f} here")
        return found


async def drill(cuts: int, orders: int, seed: int, *, default_backoff: bool = False) -> Outcome:
    """Run the drill, and return what came of it."""
    rng = random.Random(seed)
    outcome = Outcome()
    runtime = real_runtime()
    settings = VenueSettings(symbols=3, rate=5.0, seed=seed, control_port=0, accounts=(VenueAccount(tier="pro"),))
    keys: Mapping[str, str] = {
        "KRAKEN_ENGINE_ACCOUNTS__MAIN__KEY": TEST_KEY,
        "KRAKEN_ENGINE_ACCOUNTS__MAIN__SECRET": TEST_SECRET,
    }
    async with open_venue(runtime, settings) as venue:
        config = Config(
            public_url=venue.ws_url,
            private_url=venue.ws_auth_url,
            rest=RestSettings(base_url=venue.rest_url),
            wire=WireSettings(allow_private_addresses=True),
            # So many cuts in so short a time would be answered by longer and longer pauses.
            backoff=BackoffSettings()
            if default_backoff
            else BackoffSettings(base_s=0.05, cap_s=0.2, healthy_s=0.1, min_gap_s=0.0, max_attempts=100_000),
        )
        engine_runtime = attrs.evolve(runtime, environment=keys)
        assert venue.control_url is not None
        async with (
            httpx.AsyncClient(base_url=venue.control_url, timeout=30) as http,
            open_market(config, runtime=engine_runtime) as market,
        ):
            operator = Operator(http, rng)
            await _run(venue, market, operator, outcome, cuts=cuts, orders=orders)
    return outcome


async def _run(
    venue: VenueServer, market: Market, operator: Operator, outcome: Outcome, *, cuts: int, orders: int
) -> None:
    async with open_account(AccountSettings(name="main", tier="pro"), market) as account:
        with trio.fail_after(LONGEST_S):
            await account.wait_live()
        witness = Witness(venue, account, outcome)
        stop = market.publisher.observe(witness.see)
        await operator.place(orders // 6 + 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(operator.keep_busy, orders)
            for _ in range(cuts):
                operator.resting.set()
                await trio.sleep(operator.rng.uniform(0.05, 0.6))
                witness.live = trio.Event()
                began = time.perf_counter()
                witness.before_cut = len(venue.exchange.private.truth.fills("main"))
                await operator.post("/faults", fault="cut_private_line", account="main")
                outcome.cuts += 1
                await trio.sleep(operator.rng.uniform(0.0, 0.15))
                operator.resting = trio.Event()  # one thing may be on its way to the venue even now
                with trio.move_on_after(LONGEST_S):
                    await witness.live.wait()
                    outcome.live += 1
                    outcome.from_cut_s.append(time.perf_counter() - began)
                    outcome.from_connection_s.append(time.perf_counter() - witness.connected_at)
                if not witness.live.is_set():
                    outcome.differences.append(f"cut {outcome.cuts}: not live: {account.why}")
                    break
                outcome.differences += [f"cut {outcome.cuts}: {left}" for left in await _settled(witness)]
            nursery.cancel_scope.cancel()
        await trio.sleep(0.5)
        outcome.differences += [f"at the end: {difference}" for difference in witness.differences()]
        stop()


async def _settled(witness: Witness) -> list[str]:
    """Return what is still different when everything has had time to arrive."""
    for _ in range(round(ARRIVES_S / LOOK_S)):
        if not witness.differences():
            break
        await trio.sleep(LOOK_S)
    return witness.differences()


def distribution(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return "-"
    cut = statistics.quantiles(seconds, n=100)
    return f"min {min(seconds):.3f}  p50 {cut[49]:.3f}  p90 {cut[89]:.3f}  p99 {cut[98]:.3f}  max {max(seconds):.3f} s"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Cut the private line of a busy account, and compare.")
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--default-backoff", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    outcome = trio.run(
        lambda: drill(options.cuts, options.orders, options.seed, default_backoff=options.default_backoff)
    )
    if options.json:
        print(json.dumps(attrs.asdict(outcome)))
    else:
        print(f"{outcome.cuts} cuts with {options.orders} open orders; live again {outcome.live} times")
        print(f"{outcome.fills} fills told, {outcome.replayed} of them missed and fetched afterwards")
        print(f"{outcome.compared} comparisons at the moment of AccountLive, {len(outcome.differences)} differences")
        print(f"{outcome.on_their_way} of them with something newer than the snapshots still on its way")
        for difference in outcome.differences[:20]:
            print(f"  {difference}")
        print(f"from the cut to AccountLive:        {distribution(outcome.from_cut_s)}")
        print(f"from the connection to AccountLive: {distribution(outcome.from_connection_s)}")
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
