"""One run of a world with a REST client and a disk in it: callers, faults, restarts, judges; safety, then liveness.

::

    0 s        the client opens, and callers begin; nothing is wrong
    10 s       the faults of the plan, for its whole horizon; the client is killed and started again now and then
    horizon    every fault ends; as soon as the breakers may let it through, everything has to be answered again
    then       it is killed once more, what is on its disk is looked at, and nothing is left behind

A caller that was promised an answer within a time gets one, or an error, within that time. The first violation ends the
run. What left and came back is judged in :mod:`kraken_engine.sim.judges.rest`, what is kept on the disk in
:mod:`kraken_engine.sim.judges.durability`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import attrs
import trio

from kraken_engine.errors import (
    CircuitOpen,
    DecodeError,
    EngineError,
    NotSent,
    Rejected,
    RestFailed,
    StoreCorrupt,
    StoreError,
)
from kraken_engine.normalise.events import Notice
from kraken_engine.rest.operations import Group
from kraken_engine.runtime import Rng, seeded_rng
from kraken_engine.secret import ApiKey, Secret
from kraken_engine.sim.durable_life import DurableLife
from kraken_engine.sim.judges.rest import RestJudge
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.plan import Catalogue, Plan
from kraken_engine.sim.playing import play
from kraken_engine.sim.rest_faults import DAMAGE, RESTART, SECOND_ENGINE
from kraken_engine.sim.trace import Fact, Trace
from kraken_engine.sim.world import World
from kraken_engine.tasks.auth_refresher import AuthRefresher, open_auth_refresher
from kraken_engine.tasks.rest import Rest, open_rest
from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET

__all__ = ["RestScenario"]

CALM_S = 10.0
RECOVERY_S = 30.0
LONGEST_HOLD_S = 960.0
"""A breaker may keep everything away for so long after the last fault: a lockout, and its probes."""
SAMPLE_S = 0.5
PATIENCE_S = 45.0
RETRY_OPEN_S = 2.0
SLACK_S = 0.1

_SITUATIONS = ("breaker_opened", "breaker_closed", "restarted", "nonce_refused", "token_renewed", "farewell_while_open")


@attrs.define(eq=False)
class RestScenario:
    """Everything around one client in one world."""

    world: World
    plan: Plan
    faults: Catalogue
    verdict: Verdict
    market_trace: Trace = attrs.field(factory=Trace, init=False)
    """Stays empty: a wall clock that jumps makes the store write more often, and everything comes a little later."""
    _judge: RestJudge = attrs.field(init=False)
    _disk: DurableLife = attrs.field(init=False)
    _key: ApiKey = attrs.field(init=False, repr=False)
    _rng: Rng = attrs.field(init=False)
    _life: trio.CancelScope | None = attrs.field(default=None, init=False)
    _ok: dict[str, float] = attrs.field(factory=dict[str, float], init=False)
    """When each kind of call was last answered well."""
    _healed_s: float | None = attrs.field(default=None, init=False)
    _others: trio.Nursery | None = attrs.field(default=None, init=False)
    """Where second engines run."""

    def __attrs_post_init__(self) -> None:
        self._key = ApiKey(key=Secret(TEST_KEY), secret=Secret(TEST_SECRET))
        self._disk = DurableLife(self.world, self._key, self.verdict, self._kill)
        self._judge = RestJudge(world=self.world, verdict=self.verdict, on_nonce=self._disk.judge.nonce)
        self._rng = seeded_rng(f"{self.world.seed}:rest callers")
        self.world.sometimes.register(*_SITUATIONS)
        self.world.trace.observe(self._observe_trace)

    async def run(self) -> None:
        """Run everything to the end, or to the first violation.

        Raises:
            Exception: whatever comes out of the engine; that is a violation too.
        """
        with trio.CancelScope() as scope:
            self.verdict.on_violation(scope.cancel)
            async with trio.open_nursery() as nursery:
                self._others = nursery
                nursery.start_soon(self._live)
                nursery.start_soon(self._sample)
                await trio.sleep(CALM_S)
                await self._break_things()
                await self._recover()
                nursery.cancel_scope.cancel()
            await self._look_once_more()
        if self.verdict.violation is None and (left := self.world.network.open_streams("client")):
            self.verdict.fail("I-29", f"expected no connection left, got {', '.join(left)}")

    def _observe_trace(self, kind: str, facts: tuple[Fact, ...]) -> None:
        match kind, facts:
            case "fault", (name, *_) if name == RESTART:
                self._kill()
            case "fault", (name, *_) if name == DAMAGE:
                self._disk.judge.damaged = True
            case "fault", (name, ("directory" | "key") as shares) if name == SECOND_ENGINE and self._others is not None:
                self._others.start_soon(self._disk.second_engine, shares)
            case _:
                pass

    def _kill(self) -> None:
        if self._life is not None:
            self._life.cancel()

    async def _break_things(self) -> None:
        async with trio.open_nursery() as nursery:
            await play(self.plan, partial(self.faults.apply, self.world), nursery)

    async def _recover(self) -> None:
        """Heal the world and demand progress."""
        world = self.world
        world.network.heal()
        world.exchange.faults.end_all(now=trio.current_time())
        world.clock.drift(0.0)
        world.disk.heal()
        self._healed_s = trio.current_time()
        deadline = self._healed_s + LONGEST_HOLD_S + RECOVERY_S
        while (missing := self._missing()) and trio.current_time() < deadline:  # noqa: ASYNC110 - of many callers
            await trio.sleep(SAMPLE_S)
        if missing:
            self.verdict.fail("L-1", f"expected every call answered {LONGEST_HOLD_S:g} s after the end: {missing}")

    def _missing(self) -> list[str]:
        healed_s = self._healed_s or 0.0
        return [
            name for name in ("status", "depth", "balance", "orders", "token") if self._ok.get(name, -1.0) < healed_s
        ]

    async def _sample(self) -> None:
        while True:
            self._judge.look()
            await trio.sleep(SAMPLE_S)

    # -- the client

    async def _live(self) -> None:
        """Open the client, again and again: until it is killed, or its disk is of no use."""
        while True:
            try:
                with trio.CancelScope() as self._life:
                    await self._one_life()
            except StoreCorrupt as error:
                await self._disk.start_anew(str(error))
                await trio.sleep(RETRY_OPEN_S)
                continue
            except StoreError:
                await trio.sleep(RETRY_OPEN_S)
                continue
            self.world.sometimes.reach("restarted")
            self.world.disk.crash(self._rng)
            await trio.sleep(self._rng.uniform(0.0, RETRY_OPEN_S))

    async def _look_once_more(self) -> None:
        """Crash, and open what is left of the disk: whatever the run did to it has to come out now at the latest."""
        self.world.disk.crash(self._rng)
        self._disk.look_for_secrets(self._judge.secrets())
        try:
            async with self._disk.open() as marks:
                await marks.mark(self._key.fingerprint)
                await trio.sleep(1.0)
        except StoreCorrupt as error:
            self._disk.judge.corrupt(str(error))

    async def _one_life(self) -> None:
        world = self.world
        self._judge.begin_life()
        if world.disk.fault is None:
            self._disk.look_for_secrets(self._judge.secrets())
        async with (
            self._disk.open() as marks,
            open_rest(
                world.config,
                runtime=world.runtime,
                key=self._key,
                tier="intermediate",
                marks=marks,
                notify=self._judge.notice,
            ) as rest,
            open_auth_refresher("main", rest.private, world.config, world.runtime, notify=self._notice) as tokens,
            trio.open_nursery() as nursery,
        ):
            rest.public.observe(self._judge.attempt)
            rest.private.observe(self._attempt)
            for name, call in self._calls(rest, tokens).items():
                nursery.start_soon(partial(self._call_again_and_again, name, call))
            nursery.start_soon(self._say_farewell, rest)

    def _notice(self, notice: Notice) -> None:
        self._judge.text(repr(notice))

    def _attempt(self, attempt: Any) -> None:
        if isinstance(attempt.error, Rejected) and "nonce" in attempt.error.words:
            self.world.sometimes.reach("nonce_refused")
        self._judge.attempt(attempt)

    def _calls(self, rest: Rest, tokens: AuthRefresher) -> dict[str, Callable[[], Awaitable[object]]]:
        public, private = rest.public, rest.private
        symbol = self.world.exchange.symbols[0]

        async def balance() -> object:
            found = await private.balance_ex(timeout_s=PATIENCE_S)
            if {code: str(row.total) for code, row in found.items()} != self._true_balances():
                self.verdict.fail("R-1", f"expected the venue's balances, got {found}")
            return found

        async def token() -> object:
            with trio.fail_after(PATIENCE_S):
                return await tokens.get()

        return {
            "status": partial(public.system_status, timeout_s=PATIENCE_S),
            "time": partial(public.time, timeout_s=PATIENCE_S),
            "ticker": partial(public.ticker, timeout_s=PATIENCE_S),
            "depth": partial(public.depth, symbol, 10, timeout_s=PATIENCE_S),
            "trades": partial(public.trades, symbol, count=5, timeout_s=PATIENCE_S),
            "balance": balance,
            "orders": partial(private.open_orders, timeout_s=PATIENCE_S),
            "info": partial(private.api_key_info, timeout_s=PATIENCE_S),
            "cancel": partial(private.cancel_order, "OAAAAA-AAAAA-AAAAAA", timeout_s=PATIENCE_S),
            "token": token,
        }

    def _true_balances(self) -> dict[str, str]:
        return {"USD": "1000000.0000", "BTC": "50.0000000000", "ETH": "500.0000000000", "SOL": "5000.0000000000"}

    async def _call_again_and_again(self, name: str, call: Callable[[], Awaitable[object]]) -> None:
        rng = seeded_rng(f"{self.world.seed}:{name}:{trio.current_time()}")
        while True:
            await trio.sleep(rng.uniform(1.0, 25.0))
            began = trio.current_time()
            # Now and then a caller loses its patience in the middle of whatever is going on.
            leaves_s = rng.uniform(0.0, 3.0) if rng.random() < 0.1 else PATIENCE_S + SLACK_S
            with trio.move_on_after(leaves_s) as scope:
                await self._call(name, call)
            took_s = trio.current_time() - began
            slept = self.world.slept_until >= began
            if scope.cancelled_caught and leaves_s > PATIENCE_S and not slept:
                self.verdict.fail("R-2", f"{name}: expected an answer or an error within {PATIENCE_S:g} s")
            self.world.trace("rest", name, round(took_s, 6))

    async def _call(self, name: str, call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except trio.TooSlowError:
            return
        except Rejected as error:
            self._judge.text(str(error), repr(error))
            if name == "cancel" and "Unknown order" in error.words:
                self._ok[name] = trio.current_time()
            return
        except (RestFailed, CircuitOpen, DecodeError) as error:
            self._judge.text(str(error), repr(error))
            return
        self._ok[name] = trio.current_time()
        if name == "token":
            self.world.sometimes.reach("token_renewed")

    async def _say_farewell(self, rest: Rest) -> None:
        rng = seeded_rng(f"{self.world.seed}:farewell:{trio.current_time()}")
        while True:
            await trio.sleep(rng.uniform(30.0, 120.0))
            blocked = rest.private.breaker_is_open
            try:
                await rest.private.cancel_all(group=Group.FAREWELL, timeout_s=PATIENCE_S)
            except CircuitOpen as error:
                self._judge.farewell_refused(str(error))
            except NotSent as error:
                if not isinstance(error.__cause__, (StoreError, OSError)) and self.world.slept_s == 0.0:
                    self._judge.farewell_refused(str(error))
            except EngineError as error:
                self._judge.text(str(error), repr(error))
            if blocked:
                self.world.sometimes.reach("farewell_while_open")
