"""What leaves an ``async with`` of the engine is what its body raised: as itself, with nothing added."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio

from kraken_engine import Config, UsageError, open_engine, open_market, open_rest

Open = Callable[[Config], AbstractAsyncContextManager[Any]]
EVERY = pytest.mark.parametrize("opened", [open_market, open_engine, open_rest], ids=lambda o: o.__name__)
SIMULATED = Config.simulated(symbols=1)


class Mine(Exception):
    pass


@EVERY
async def test_a_failure_in_a_nursery_of_the_body_is_raised_as_trio_makes_it_and_nothing_is_said_of_us(
    opened: Open,
) -> None:
    async def fails() -> None:
        raise Mine

    with pytest.raises(ExceptionGroup) as caught:
        async with opened(SIMULATED), trio.open_nursery() as nursery:
            nursery.start_soon(fails)
    (error,) = caught.value.exceptions
    assert isinstance(error, Mine)
    assert (caught.value.__context__, getattr(caught.value, "__notes__", [])) == (None, [])


@EVERY
async def test_a_cancellation_from_outside_is_one_and_no_group(opened: Open) -> None:
    left: list[BaseException] = []
    with trio.CancelScope() as scope:
        try:
            async with opened(SIMULATED):
                scope.cancel()
                await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            left.append(cancelled)
            raise
    assert scope.cancelled_caught
    assert len(left) == 1


@EVERY
@pytest.mark.parametrize("what", ["kraken.yaml", None, Config])
async def test_what_is_no_config_is_refused_by_name(opened: Open, what: Any) -> None:
    with pytest.raises(UsageError, match=r"config: expected a Config, such as Config\.load\('kraken\.yaml'\), got"):
        async with opened(what):
            pass


@EVERY
@pytest.mark.parametrize("error", [Mine("x"), KeyboardInterrupt(), SystemExit(7), StopAsyncIteration()], ids=repr)
async def test_every_exception_of_the_body_leaves_as_itself(opened: Open, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with opened(SIMULATED):
            raise error
    assert caught.value is error
    assert (error.__context__, getattr(error, "__notes__", [])) == (None, [])
