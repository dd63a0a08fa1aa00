"""Who raised what, seen from outside: the body's errors as themselves, ours as one EngineFailed."""

from __future__ import annotations

import pytest
import trio

from kraken_engine.errors import EngineFailed, LineError
from kraken_engine.tasks.scope import open_background


async def fail_after(delay_s: float, error: BaseException) -> None:
    await trio.sleep(delay_s)
    raise error


async def test_the_body_s_exception_leaves_as_itself(autojump_clock: trio.testing.MockClock) -> None:
    mine = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with open_background("x") as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise mine
    assert caught.value is mine
    assert caught.value.__context__ is None


async def test_an_exception_group_of_the_body_leaves_as_itself(autojump_clock: trio.testing.MockClock) -> None:
    mine = ExceptionGroup("mine", [ValueError("a"), KeyError("b")])
    with pytest.raises(ExceptionGroup) as caught:
        async with open_background("x") as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise mine
    assert caught.value is mine
    assert not hasattr(mine, "__notes__"), "nothing failed in the background"


async def test_a_failure_in_a_nursery_of_the_body_is_no_failure_of_the_background(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_background("x") as nursery:
            nursery.start_soon(trio.sleep_forever)
            async with trio.open_nursery() as own:
                own.start_soon(fail_after, 1, ValueError("mine"))
    assert not hasattr(caught.value, "__notes__")


async def test_a_background_failure_ends_the_body_and_raises_engine_failed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with pytest.raises(EngineFailed, match="the market failed in the background: ZeroDivisionError: why") as caught:
        async with open_background("the market") as nursery:
            nursery.start_soon(fail_after, 1, ZeroDivisionError("why"))
            await trio.sleep_forever()
    cause = caught.value.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert cause.subgroup(ZeroDivisionError) is not None


async def test_a_known_error_in_the_background_keeps_its_words(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(EngineFailed, match="the market: gone"):
        async with open_background("the market") as nursery:
            nursery.start_soon(fail_after, 1, LineError("gone"))
            await trio.sleep_forever()


async def test_both_at_once_the_body_wins_and_the_other_is_noted(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(KeyError) as caught:
        async with open_background("the market") as nursery:
            nursery.start_soon(fail_after, 1, ZeroDivisionError("why"))
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("mine")
    assert any("ZeroDivisionError" in note for note in caught.value.__notes__)


async def test_cancellation_from_outside_passes_through(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(1) as scope:
        async with open_background("x") as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_body_that_is_cancelled_is_left_by_the_very_cancellation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    seen: list[BaseException] = []
    with trio.move_on_after(1):
        try:
            async with open_background("x") as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await trio.sleep_forever()
                except trio.Cancelled as inside:
                    seen.append(inside)
                    raise
        except trio.Cancelled as outside:  # an application that cleans up and hands it on writes exactly this
            seen.append(outside)
            raise
    assert len(seen) == 2
    assert seen[0] is seen[1]


async def test_a_keyboard_interrupt_in_the_background_stays_one(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(KeyboardInterrupt):
        async with open_background("x") as nursery:
            nursery.start_soon(fail_after, 1, KeyboardInterrupt())
            await trio.sleep_forever()


async def test_leaving_the_block_ends_the_background() -> None:
    ended = trio.Event()

    async def background() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with open_background("x") as nursery:
        nursery.start_soon(background)
        await trio.testing.wait_all_tasks_blocked()
    assert ended.is_set()


async def test_a_background_failure_is_told_though_the_body_had_a_nursery_of_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with pytest.raises(EngineFailed, match="ZeroDivisionError: why"):
        async with open_background("outside"), open_background("the market") as nursery:
            nursery.start_soon(fail_after, 1, ZeroDivisionError("why"))
            async with trio.open_nursery() as inside:
                inside.start_soon(trio.sleep_forever)
                await trio.sleep_forever()
