"""Whatever answers come, and whoever loses patience: no place leaks, no order is sent twice or denied, nonces rise."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import attrs
import pytest
import trio
from tests.rest.harness import CONFIG, EMERGENCY_KEY, Drop, Hang, Http, Step, TinyVenue, rest_of
from trio.testing import MockClock

from kraken_engine.config import BreakerSettings, NonceSettings
from kraken_engine.errors import EngineError
from kraken_engine.rest.operations import Group
from kraken_engine.runtime import Stream
from kraken_engine.tasks.rest import Rest

CALLS = 150
SOON_WELL = BreakerSettings(timeout_s=3.0, probe_pause_s=1.0, throttled_probe_pause_s=2.0, longest_hold_s=5.0)
DEFAULT_PATIENCE_S = CONFIG.rest.patience_s
SLACK_S = CONFIG.wire.close_timeout_s + 0.1
"""A connection that is given up is closed first."""


class Unreliable(TinyVenue):
    """Answers as it likes while it is not ``calm``, and knows which orders it may have executed."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng
        self.calm = True
        self.orders: Counter[str] = Counter()

    def _step(self, *, signed: bool) -> Step | None:
        refusals = ["EService:Unavailable", "EOrder:Insufficient funds", "EAPI:Rate limit exceeded"]
        refusals += ["EAPI:Invalid nonce"] * 2 * signed
        choices: list[tuple[float, Callable[[], Step]]] = [
            (0.08, lambda: Hang(self.rng.choice([0.3, 2.0, 9.0, 20.0, 100.0]))),
            (0.12, Drop),
            (0.18, lambda: Http(self.rng.choice([500, 502, 403, 301, 202, 200]), b"oops")),
            (0.25, lambda: [self.rng.choice(refusals)]),
        ]
        drawn = self.rng.random()
        return next((make() for below, make in choices if drawn < below), None)

    async def _answer(
        self, stream: Stream, target: str, headers: Mapping[str, str], body: bytes, connection: int
    ) -> bool:
        name = target.partition("?")[0].rpartition("/")[2]
        step = None if self.calm else self._step(signed="api-key" in headers)
        self.script[name] = [] if step is None else [step]
        refused = isinstance(step, list) or (isinstance(step, Http) and 300 <= step.status < 500)
        if name == "AddOrder" and not refused:
            self.orders[parse_qs(body.decode())["cl_ord_id"][0]] += 1
        return await super()._answer(stream, target, headers, body, connection)


@attrs.define(eq=False)
class Crowd:
    """Callers who ask for anything, wait as long as they like, and leave when they like."""

    rest: Rest
    rng: random.Random
    outcomes: dict[str, object] = attrs.field(factory=dict[str, object])

    async def come(self) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(CALLS):
                nursery.start_soon(self._ask, f"order-{number}")
                await trio.sleep(self.rng.choice([0.0, 0.0, 0.001, 0.1, 1.0, 4.0]))
                if self.rng.random() < 0.05:
                    await trio.sleep(30.0)

    async def _ask(self, name: str) -> None:
        timeout_s = self.rng.choice([None, 0.5, 3.0, 20.0])
        call = self._drawn(name, timeout_s)
        began_s = trio.current_time()
        with trio.move_on_after(self.rng.choice([1e9, 1e9, 0.0, 0.001, 0.6, 5.0])):
            try:
                self.outcomes[name] = await call()
            except EngineError as error:
                self.outcomes[name] = error
        assert trio.current_time() - began_s <= (timeout_s or DEFAULT_PATIENCE_S) + SLACK_S

    def _drawn(self, name: str, timeout_s: float | None) -> Callable[[], Awaitable[Any]]:
        private, public = self.rest.private, self.rest.public
        order = partial(private.add_order, "BTC/USD", "buy", "limit", "1", price="1", cl_ord_id=name)
        calls: list[Callable[..., Awaitable[Any]]] = [
            *[order] * 8, private.balance, private.websockets_token, private.api_key_info, private.cancel_all,
            partial(private.cancel_order, "O1"), partial(private.cancel_all, group=Group.FAREWELL),
            public.time, public.system_status,
        ]  # fmt: skip
        return partial(self.rng.choice(calls), timeout_s=timeout_s)


@pytest.mark.parametrize("seed", range(5))
async def test_callers_and_a_venue_that_are_not_to_be_relied_on(autojump_clock: MockClock, seed: int) -> None:
    rng = random.Random(seed)
    venue = Unreliable(rng)
    settings = attrs.evolve(
        CONFIG.rest, allow_add_order=True, queue_calls=rng.choice([3, 20, 256]), timeout_s=rng.choice([3.0, 15.0])
    )
    config = attrs.evolve(CONFIG, rest=settings, breaker=SOON_WELL, nonce=NonceSettings(hold_s=5.0))
    async with rest_of(venue, config, emergency_key=rng.choice([None, EMERGENCY_KEY])) as rest:
        await rest.public.symbols(assets=True)
        crowd = Crowd(rest, rng)
        venue.calm = False
        await crowd.come()
        venue.calm = True
        await trio.sleep(1000.0)  # for breakers and held nonces
        begin = trio.current_time()
        for call in (rest.private.api_key_info, rest.private.balance, rest.private.cancel_all, rest.public.time):
            await call()
        assert trio.current_time() - begin < 1.0
        assert rest.private.statistics().waiting == rest.public.statistics().waiting == 0
    assert set(venue.orders.values()) <= {1}
    for name in venue.orders:
        outcome = crowd.outcomes.get(name)  # None: it was cancelled, and knows nothing
        assert not isinstance(outcome, EngineError) or getattr(outcome, "maybe_executed", False)
    for key in ("ordinary-key", "emergency-key"):
        assert venue.nonces(key) == sorted(set(venue.nonces(key)))
