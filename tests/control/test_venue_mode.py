"""The venue's states: the table is the law, and everything ends by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.control.venue_mode import OrderShape, Permit, VenueModes, rules_of
from kraken_engine.model import VenueMode
from kraken_engine.normalise.events import VenueStatus

MARKET = OrderShape(limit=False)
LIMIT = OrderShape(limit=True)
POST_ONLY = OrderShape(limit=True, post_only=True)
REDUCE = OrderShape(limit=False, reduce_only=True)
CLOSE = {"stage": "final_warning_30s", "services": ["spot_ws", "spot_trading"], "advice": "disconnect_and_wait"}


def status(text: str, *, maintenance: tuple[object, ...] = ()) -> VenueStatus:
    """The venue's announcement."""
    modes = {mode.value: mode for mode in VenueMode}
    return VenueStatus(at_s=0.0, mode=modes.get(text, VenueMode.UNKNOWN), text=text, maintenance=maintenance)


def in_state(text: str, *, maintenance: tuple[object, ...] = ()) -> VenueModes:
    """A venue in this state."""
    modes = VenueModes()
    modes.status(status(text, maintenance=maintenance))
    return modes


@pytest.mark.parametrize(
    ("state", "allowed", "cancels", "trades", "books"),
    [
        ("online", [MARKET, LIMIT, POST_ONLY, REDUCE], True, True, True),
        ("limit_only", [LIMIT, POST_ONLY], True, True, True),
        ("post_only", [POST_ONLY], True, False, True),
        ("cancel_only", [], True, False, True),
        ("maintenance", [], False, False, False),
        ("something_new", [], True, False, False),
    ],
)
def test_each_state_of_the_venue_allows_and_expects_what_the_table_says(
    state: str, allowed: list[OrderShape], cancels: bool, trades: bool, books: bool
) -> None:
    modes = in_state(state)
    shapes = (MARKET, LIMIT, POST_ONLY, REDUCE)
    assert [shape for shape in shapes if modes.refuses_order("BTC/USD", shape) is None] == allowed
    assert (modes.refuses_cancel("BTC/USD") is None) is cancels
    assert modes.expects("trade", "BTC/USD") is trades
    assert modes.expects("ohlc", "BTC/USD") is trades
    assert modes.expects("book", "BTC/USD") is books
    assert (modes.away is None) is books


def test_a_market_has_a_state_of_its_own_and_what_both_allow_is_allowed() -> None:
    modes = in_state("post_only")
    modes.market("ETH/USD", "limit_only")
    modes.market("XRP/USD", "reduce_only")
    assert modes.refuses_order("ETH/USD", POST_ONLY) is None
    assert modes.refuses_order("ETH/USD", LIMIT) == "the venue is in post_only: limit orders that only rest (post only)"
    assert modes.refuses_order("XRP/USD", POST_ONLY) == "XRP/USD is in reduce_only: orders that reduce a position"
    modes.status(status("online"))
    assert modes.refuses_order("ETH/USD", MARKET) == "ETH/USD is in limit_only: limit orders"
    assert modes.refuses_order("XRP/USD", REDUCE) is None


@pytest.mark.parametrize("state", ["delisted", "work_in_progress", "maintenance"])
def test_a_market_that_is_closed_is_expected_to_be_silent_and_no_other_is(state: str) -> None:
    modes = in_state("online")
    modes.market("ETH/USD", state)
    assert not modes.expects("book", "ETH/USD")
    assert modes.expects("book", "BTC/USD")
    assert modes.away is None
    modes.market("ETH/USD", "online")
    assert modes.expects("book", "ETH/USD")


def test_before_it_has_said_anything_the_venue_counts_as_online() -> None:
    modes = VenueModes()
    assert (modes.state, modes.away) == ("online", None)
    assert modes.refuses_order("BTC/USD", MARKET) is None


def test_maintenance_ends_by_itself_by_the_usual_steps() -> None:
    modes = in_state("online")
    seen = []
    for state in ("maintenance", "maintenance", "cancel_only", "post_only", "online"):
        changed = modes.status(status(state))
        seen.append((changed, modes.away is None, modes.refuses_order("BTC/USD", POST_ONLY) is None))
    assert seen == [
        (True, False, False),
        (False, False, False),
        (True, True, False),
        (True, True, True),
        (True, True, True),
    ]


def test_an_imminent_window_is_obeyed_and_ends_with_the_next_status_without_it() -> None:
    modes, seen = VenueModes(), []
    for maintenance in ((CLOSE,), ()):
        modes.status(status("online", maintenance=maintenance))
        seen.append((modes.away, modes.refuses_order("BTC/USD", LIMIT), modes.refuses_cancel("BTC/USD")))
    away = "the venue announced maintenance and advises to disconnect and wait"
    refusal = "online, but maintenance is imminent: the venue advises disconnect_and_wait"
    assert seen == [(away, refusal, None), (None, None, None)]


@pytest.mark.parametrize(
    "entry",
    [
        {"stage": "reminder_24h", "services": ["spot_ws"], "advice": "disconnect_and_wait"},
        {"stage": "final_warning_30s", "services": ["futures_ws"], "advice": "disconnect_and_wait"},
        {"stage": "final_warning_30s", "services": ["spot_ws"], "advice": "continue"},
        {"stage": "final_warning_30s"},
        "final_warning_30s",
        None,
        7,
    ],
)
def test_a_window_far_away_or_of_somebody_else_changes_nothing(entry: object) -> None:
    modes = in_state("online", maintenance=(entry,))
    assert modes.away is None
    assert modes.refuses_order("BTC/USD", MARKET) is None


@given(
    entry=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=20) | st.sampled_from(sorted(CLOSE)),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
        max_leaves=30,
    )
)
def test_whatever_an_announcement_looks_like_it_is_survived(entry: object) -> None:
    modes = in_state("online", maintenance=(entry,))
    assert modes.refuses_cancel("BTC/USD") is None


@given(state=st.text(max_size=20), shape=st.builds(OrderShape, limit=st.booleans(), post_only=st.booleans()))
def test_no_state_allows_an_order_that_online_would_not_or_new_orders_without_cancels(
    state: str, shape: OrderShape
) -> None:
    rules = rules_of(state)
    assert not rules_of("online").refuses(shape)
    assert rules.cancels or rules.refuses(shape)


def test_who_has_to_act_is_told_of_each_change_of_the_venue_and_of_nothing_else() -> None:
    modes, seen = VenueModes(), []
    stop = modes.observe(lambda: seen.append((modes.state, modes.away is None)))
    for one in (status("online"), status("maintenance"), status("maintenance"), status("online", maintenance=(CLOSE,))):
        modes.status(one)
    assert modes.market("ETH/USD", "cancel_only")
    assert not modes.market("ETH/USD", "cancel_only")
    stop()
    modes.status(status("online"))
    assert seen == [("maintenance", False), ("online", False)]


def test_what_goes_missing_meanwhile_names_what_is_behind_it_once() -> None:
    modes = in_state("maintenance")
    why = modes.blame("no frame for 2.5 s")
    assert why == "the venue is in maintenance: no frame for 2.5 s"
    assert modes.blame(why) == why
    modes.status(status("online"))
    assert modes.blame("no frame for 2.5 s") == "no frame for 2.5 s"


@pytest.mark.parametrize(("refusal", "may"), [(None, True), ("the venue is in maintenance: no new orders", False)])
def test_a_permit_is_as_true_as_it_says(refusal: str | None, may: bool) -> None:
    assert bool(Permit(refusal)) is may
