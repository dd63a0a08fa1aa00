"""An account asks once what its key may do, and tells what its owner should change."""

from __future__ import annotations

from typing import Any

import trio
from tests.tasks.account_world import KEYS, in_world

from kraken_engine.config import AccountSettings, RestSettings
from kraken_engine.normalise.events import KeyNotice
from kraken_engine.sim.world import World
from kraken_engine.tasks.account import open_account
from kraken_engine.venue.core.accounts.settings import PERMISSIONS, SENSIBLE, TEST_SECRET


def asked(world: World, account: str) -> int:
    calls = world.exchange.private.truth.calls(account)
    return sum(call["path"] == "/0/private/GetApiKeyInfo" for call in calls)


def told_of(permissions: tuple[str, ...], *, deleted: bool = False, refusals: int = 0) -> tuple[list[KeyNotice], int]:
    """Open an account with a key of these permissions; return what is told of it, and how often it was asked."""

    async def scenario(world: World) -> Any:
        create = world.exchange.private.operator.create
        create(name="other", key="KEY+OF+other", secret=TEST_SECRET, permissions=permissions)
        faults, notices = world.exchange.faults, list[KeyNotice]()
        if deleted:
            faults.delete_key(now=trio.current_time(), account="other")
        if refusals:
            path = "/0/private/GetApiKeyInfo"
            faults.rest_error("EService:Unavailable", now=trio.current_time(), path=path, times=refusals)
        async with world.open_market() as market:
            stop = market.publisher.observe(
                lambda _, event: notices.append(event) if isinstance(event, KeyNotice) else None
            )
            async with open_account(AccountSettings(name="other", tier="intermediate"), market):
                await trio.sleep(120)
            stop()
        return notices, asked(world, "other")

    keys = {name.replace("MAIN", "OTHER"): value for name, value in KEYS.items()}
    keys["KRAKEN_ENGINE_ACCOUNTS__OTHER__KEY"] = "KEY+OF+other"
    return in_world(scenario, keys=keys)  # type: ignore[no-any-return]


def grave(notices: list[KeyNotice]) -> list[str]:
    assert {notice.account for notice in notices} <= {"other"}
    return [notice.what for notice in notices if notice.grave]


def test_nothing_grave_is_told_of_a_key_as_it_should_be() -> None:
    notices, calls = told_of(SENSIBLE)
    assert grave(notices) == []
    assert calls == 1


def test_a_key_that_may_withdraw_is_told_of() -> None:
    notices, _ = told_of(PERMISSIONS)
    (what,) = grave(notices)
    assert what.startswith("the key may move money out of the account (withdraw-funds)")


def test_a_missing_permission_is_named_before_it_is_needed() -> None:
    notices, _ = told_of(tuple(name for name in SENSIBLE if name != "close-trades"))
    (what,) = grave(notices)
    assert what.startswith("the key lacks close-trades, needed for cancelling orders")


def test_a_venue_in_trouble_is_asked_again_and_one_that_refuses_is_not() -> None:
    attempts = 1 + RestSettings().max_retries
    notices, _ = told_of(PERMISSIONS, refusals=attempts)
    assert len(grave(notices)) == 1
    assert min(notice.at_s for notice in notices) > 60
    notices, calls = told_of(SENSIBLE, deleted=True)
    assert notices == []
    assert calls <= 1
