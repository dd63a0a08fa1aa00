"""The drill of the private line, in short: over real sockets, cut while being filled, and right each time."""

from __future__ import annotations

from tests.drills.private_line import drill


async def test_an_account_cut_while_it_is_filled_is_the_venue_s_each_time_it_is_live() -> None:
    outcome = await drill(4, 24, 7)
    assert outcome.differences == []
    assert (outcome.live, outcome.compared) == (4, 4)
    assert outcome.fills > 0
