"""A balance is wrong when two answers in a row say so and nothing that was on its way explains it; never sooner."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.model import Source
from kraken_engine.normalise.account_events import BalanceUpdate
from kraken_engine.normalise.rest_account import AssetBalance
from kraken_engine.state.balance_check import BalanceCheck, Finding

D = Decimal
NOTHING = Finding()


def update(total: str | int, used: str | int = 0, *, asset: str = "USD") -> BalanceUpdate:
    return BalanceUpdate(
        account="main", source=Source.WEBSOCKET_V2, received_s=0.0, venue_time=None, asset=asset, total=D(total),
        used=D(used),
    )  # fmt: skip


def rest(total: str | int, held: str | int = 0, *, asset: str = "USD") -> AssetBalance:
    return AssetBalance(asset=asset, total=D(total), held=D(held), received_s=0.0)


def compare(
    check: BalanceCheck, shown: BalanceUpdate, answer: AssetBalance, *more: AssetBalance, orders: int = 0, at: float = 0
) -> Finding:
    check.begin({shown.asset: shown}, orders=orders, now=at)
    check.answered({one.asset: one for one in (answer, *more)})
    finding = check.settle(orders=orders)
    assert finding is not None
    return finding


def places(finding: Finding) -> tuple[list[str], list[str], list[str]]:
    return tuple(
        [f"{one.asset} {one.what}" for one in part] for part in (finding.suspected, finding.wrong, finding.unhealed)
    )  # type: ignore[return-value]


def test_equal_balances_are_right_and_a_difference_is_asked_about_twice() -> None:
    check = BalanceCheck()
    assert compare(check, update(5), rest(5)) == NOTHING
    assert places(compare(check, update(5), rest(6))) == (["USD total"], [], [])
    assert places(compare(check, update(5), rest(6))) == ([], ["USD total"], [])
    assert (check.compared, check.found) == (3, 1)


def test_a_suspicion_that_the_second_answer_does_not_share_is_dropped() -> None:
    check = BalanceCheck()
    compare(check, update(5), rest(6))
    assert compare(check, update(6), rest(6)) == NOTHING
    assert places(compare(check, update(6), rest(7))) == (["USD total"], [], [])


def test_what_a_fresh_snapshot_does_not_heal_is_told_once_and_costs_no_other() -> None:
    check = BalanceCheck()
    compare(check, update(5), rest(6))
    compare(check, update(5), rest(6))
    assert places(compare(check, update(8), rest(9))) == ([], [], ["USD total"]), "off by as much as before"
    assert compare(check, update(5), rest(6)) == NOTHING
    assert places(compare(check, update(5), rest(7))) == (["USD total"], [], []), "off by more: a new difference"


def test_what_was_shown_while_the_question_was_under_way_explains_the_answer() -> None:
    check = BalanceCheck(lag_s=3.0)
    check.note(update(5), now=0.0)
    check.note(update(6), now=8.0)
    check.begin({"USD": update(6)}, orders=0, now=10.0)
    check.answered({"USD": rest(5)})
    assert check.settle(orders=0) == NOTHING, "REST is 2 s behind"
    check.begin({"USD": update(6)}, orders=0, now=20.0)
    check.note(update(7), now=21.0)
    check.answered({"USD": rest(7)})
    assert check.settle(orders=0) == NOTHING, "the line was behind"
    check.begin({"USD": update(7)}, orders=0, now=30.0)
    check.answered({"USD": rest(5)})
    finding = check.settle(orders=0)
    assert finding is not None
    assert places(finding) == (["USD total"], [], []), "that was long ago"


def test_a_hold_may_differ_by_what_the_venue_rounds_for_each_order() -> None:
    check = BalanceCheck()
    assert compare(check, update(9, "1.00004"), rest(9, "1.0000"), orders=1) == NOTHING
    assert places(compare(check, update(9, "1.0004"), rest(9, "1.0000"), orders=1))[0] == ["USD used"]


def test_wallets_that_cannot_be_traded_from_may_be_in_the_total() -> None:
    check = BalanceCheck()
    assert compare(check, update(5, asset="ATOM"), rest(2, asset="ATOM"), rest(3, asset="ATOM.S")) == NOTHING
    assert compare(check, update(2, asset="ATOM"), rest(2, asset="ATOM"), rest(3, asset="ATOM.S")) == NOTHING
    assert places(compare(check, update(4, asset="ATOM"), rest(2, asset="ATOM"), rest(3, asset="ATOM.S")))[0]


def test_an_asset_only_one_side_knows_counts_as_nothing_on_the_other() -> None:
    check = BalanceCheck()
    assert compare(check, update(0), rest(0, asset="EUR")) == NOTHING
    assert places(compare(check, update(1), rest(2, asset="EUR")))[0] == ["EUR total", "USD total"]


def test_an_abandoned_question_says_nothing() -> None:
    check = BalanceCheck()
    compare(check, update(5), rest(6))
    check.begin({"USD": update(5)}, orders=0, now=1.0)
    check.abandon()
    check.answered({"USD": rest(6)})
    assert check.settle(orders=0) is None
    assert places(compare(check, update(5), rest(6)))[0] == ["USD total"], "the suspicion is gone as well"


LAG = 3


@given(
    changes=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), max_size=12),
    delays=st.lists(st.integers(0, LAG), min_size=12, max_size=12),
    asked=st.integers(0, 20),
    took=st.integers(0, 3),
    behind=st.integers(0, LAG),
)
def test_nobody_is_accused_of_what_is_on_its_way(
    changes: list[tuple[int, int]], delays: list[int], asked: int, took: int, behind: int
) -> None:
    """A venue whose balance changes, a line that is up to LAG behind it, and a REST that is up to LAG behind, too."""
    history = [(-100, 0)]
    for at, by in sorted(changes):
        history.append((at, history[-1][1] + by))
    arrivals, last = [], -100
    for (at, total), delay in zip(history[1:], delays, strict=False):
        last = max(last, at + delay)
        arrivals.append((last, total))
    moment = max(asked - LAG, asked + took - behind)
    said = [total for at, total in history if at <= moment][-1]

    check, shown = BalanceCheck(float(LAG)), update(0)
    balances: Mapping[str, BalanceUpdate] = {"USD": shown}
    arrivals = [(at, total) for at, total in arrivals if at <= asked + took + LAG]
    for at, total in [arrival for arrival in arrivals if arrival[0] <= asked]:
        balances = {"USD": update(total)}
        check.note(balances["USD"], now=float(at))
    check.begin(balances, orders=0, now=float(asked))
    for at, total in [arrival for arrival in arrivals if arrival[0] > asked]:
        check.note(update(total), now=float(at))
    check.answered({"USD": rest(said)})
    assert check.settle(orders=0) == NOTHING
