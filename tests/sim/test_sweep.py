"""A sweep cancels at every step, passes what cleans up after itself, and names what does not."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from kraken_engine.errors import UsageError
from kraken_engine.runtime import Address, seeded_rng
from kraken_engine.sim.network import SimListener, SimNetwork
from kraken_engine.sim.sweep import Scenario, SweepReport, Victim, cancel_at_every_step, count_steps
from kraken_engine.sim.trace import Trace

Client = Callable[[SimNetwork, Address, trio.Nursery], Awaitable[None]]


def _scenario(client: Client) -> Scenario:
    """A world with an echo server, whose client is the victim."""

    async def scenario(victim: Victim) -> None:
        network = SimNetwork(rng=seeded_rng(1), trace=Trace())
        listener, address = await network.listen("10.0.0.1", 443)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve, listener)
            await victim.run(lambda: client(network, address, nursery), leaks=lambda: network.open_streams("client"))
            nursery.cancel_scope.cancel()

    return scenario


async def _serve(listener: SimListener) -> None:
    async def echo(stream: trio.abc.Stream) -> None:
        try:
            async for data in stream:
                await stream.send_all(data)
        except trio.BrokenResourceError:
            return

    await trio.serve_listeners(echo, [listener])


def _sweep(client: Client, steps: list[int] | None = None) -> SweepReport:
    return cancel_at_every_step(_scenario(client), seed=1, horizon_s=100, steps=steps)


async def _tidy(network: SimNetwork, address: Address, _: trio.Nursery) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 2)
        async with await network.dial(address) as stream:
            for _number in range(5):
                await stream.send_all(b"hello")
                assert await stream.receive_some() == b"hello"
                await trio.sleep(0.5)


async def _leaky(network: SimNetwork, address: Address, _: trio.Nursery) -> None:
    stream = await network.dial(address)
    await stream.send_all(b"hello")
    await stream.receive_some()
    await stream.aclose()


async def _slow_to_leave(network: SimNetwork, address: Address, _: trio.Nursery) -> None:
    try:
        await trio.sleep(1)
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(1.5)


async def _never_leaves(network: SimNetwork, address: Address, _: trio.Nursery) -> None:
    try:
        await trio.sleep(1)
    except trio.Cancelled:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()


async def _fails_in_cleanup(network: SimNetwork, address: Address, _: trio.Nursery) -> None:
    try:
        await trio.sleep(1)
    except trio.Cancelled:
        raise ValueError("in clean-up") from None


async def _leaves_a_task(network: SimNetwork, address: Address, nursery: trio.Nursery) -> None:
    done = trio.Event()

    async def helper() -> None:
        await trio.sleep(5)
        done.set()

    nursery.start_soon(helper)
    await done.wait()
    await trio.lowlevel.checkpoint()  # so that the helper is gone when nobody cancels


def test_a_tidy_client_passes_at_every_step() -> None:
    report = _sweep(_tidy)
    assert report.failures == ()
    assert report.tried == report.steps >= 20


def test_a_stream_that_a_cancellation_leaves_open_is_found() -> None:
    report = _sweep(_leaky)
    assert 0 < len(report.failures) < report.steps
    assert {failure.what for failure in report.failures} == {"left behind 10.0.0.1:443#1 client"}


def test_a_client_that_takes_too_long_to_leave_is_found() -> None:
    report = _sweep(_slow_to_leave)
    assert "left 1.500 s after it was cancelled" in {failure.what for failure in report.failures}


def test_a_client_that_never_leaves_is_found() -> None:
    report = _sweep(_never_leaves)
    assert {failure.what.split("\n")[0][:50] for failure in report.failures} == {
        "raised SimulationStuck('would not be cancelled at ",
        "never left",
    }


def test_an_exception_out_of_a_cleanup_is_found() -> None:
    report = _sweep(_fails_in_cleanup)
    assert report.failures
    assert all("ValueError('in clean-up')" in failure.what for failure in report.failures)


def test_a_task_left_in_a_nursery_of_somebody_else_is_found() -> None:
    report = _sweep(_leaves_a_task)
    assert report.failures
    assert all("helper" in failure.what for failure in report.failures)


def test_chosen_steps_are_the_only_ones_tried() -> None:
    report = _sweep(_leaky, steps=[3])
    assert report.tried == 1
    assert [failure.step for failure in report.failures] == [3]
    assert _sweep(_tidy, steps=[10**6]).failures[0].what.startswith("did not take this step")


def test_the_steps_of_a_scenario_are_the_same_each_time() -> None:
    assert count_steps(_scenario(_tidy), seed=1, horizon_s=100) == count_steps(_scenario(_tidy), seed=1, horizon_s=100)


def test_a_scenario_without_a_victim_is_an_error() -> None:
    async def scenario(victim: Victim) -> None: ...

    with pytest.raises(UsageError, match=r"never called victim\.run"):
        count_steps(scenario, seed=1, horizon_s=1)


def test_a_scenario_that_leaks_without_any_cancellation_is_an_error() -> None:
    async def forgetful(network: SimNetwork, address: Address, _: trio.Nursery) -> None:
        await network.dial(address)

    with pytest.raises(UsageError, match="even when nobody cancels it"):
        _sweep(forgetful)


def test_a_second_victim_is_an_error() -> None:
    async def scenario(victim: Victim) -> None:
        await victim.run(trio.lowlevel.checkpoint)
        await victim.run(trio.lowlevel.checkpoint)

    with pytest.raises(UsageError, match="twice"):
        count_steps(scenario, seed=1, horizon_s=1)
