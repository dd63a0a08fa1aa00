"""Subscriptions: order, pacing, one reply per symbol, refusals, silence, grace, and convergence whatever happens."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kraken_engine.codec.ws_v2 import Ack
from kraken_engine.config import CHANNEL_PRIORITIES, SubscriptionSettings
from kraken_engine.normalise.events import Refused
from kraken_engine.state.subscriptions import Request, SubscriptionKey, Subscriptions, SubscriptionStatus

SETTINGS = SubscriptionSettings(ack_timeout_s=5.0, retries=2, retry_pause_s=1.0, grace_s=3.0, per_second=20.0)
BOOK = SubscriptionKey("book", "BTC/USD", depth=10)
TICKER = SubscriptionKey("ticker", "BTC/USD")
NO = "EGeneral:Temporary trouble"


def connected(*keys: SubscriptionKey, settings: SubscriptionSettings = SETTINGS) -> Subscriptions:
    subs = Subscriptions(settings)
    for key in keys:
        subs.want(key, now=0.0)
    subs.connected(now=0.0)
    return subs


def yes(request: Request, symbol: str | None = None, **changes: Any) -> Ack:
    fields: dict[str, Any] = {
        "method": request.method,
        "success": True,
        "req_id": request.req_id,
        "channel": request.channel,
        "symbol": symbol or (request.symbols[0] if request.symbols else None),
        "depth": request.params.get("depth"),
        "interval": request.params.get("interval"),
    }
    return Ack(**(fields | changes))


def no(request: Request, error: str = NO, **changes: Any) -> Ack:
    """Return a refusal of a market data request as the venue words it: the symbol, but no channel."""
    fields: dict[str, Any] = {
        "method": request.method,
        "success": False,
        "req_id": request.req_id,
        "symbol": request.symbols[0] if request.symbols else None,
        "error": error,
    }
    return Ack(**(fields | changes))


def only(requests: list[Request]) -> Request:
    (request,) = requests
    return request


def live(key: SubscriptionKey, settings: SubscriptionSettings = SETTINGS) -> Subscriptions:
    subs = connected(key, settings=settings)
    subs.ack(yes(only(subs.due(now=0.0))), now=0.0)
    subs.data(key.channel, key.symbol, now=0.0)
    assert subs.status(key) is SubscriptionStatus.LIVE
    return subs


def drain(subs: Subscriptions, now: float, *, until: float) -> list[tuple[float, Request]]:
    sent = []
    while now <= until:
        sent += [(now, request) for request in subs.due(now=now)]
        due = subs.next_due(now=now)
        if due is None:
            break
        now = due
    return sent


def test_a_subscription_goes_from_wanted_to_live() -> None:
    subs = Subscriptions(SETTINGS)
    subs.want(BOOK, now=0.0)
    seen = [subs.status(BOOK)]
    assert (subs.due(now=0.0), subs.next_due(now=0.0)) == ([], None)
    subs.connected(now=1.0)
    request = only(subs.due(now=1.0))
    seen.append(subs.status(BOOK))
    assert subs.ack(yes(request), now=1.1) == []
    seen.append(subs.status(BOOK))
    subs.data("book", "BTC/USD", now=1.2)
    seen.append(subs.status(BOOK))
    assert [s.name for s in seen if s] == ["WANTED", "REQUESTED", "ACKED", "LIVE"]
    assert subs.next_due(now=2.0) is None


def test_a_request_has_the_parameters_the_venue_wants() -> None:
    keys = [
        SubscriptionKey("instrument"),
        SubscriptionKey("ticker", "A/B", trigger="bbo"),
        SubscriptionKey("trade", "A/B"),
        SubscriptionKey("book", "A/B", depth=25),
        SubscriptionKey("ohlc", "A/B", interval=5),
    ]
    assert [r.params for r in connected(*keys).due(now=0.0)] == [
        {"channel": "instrument"},
        {"channel": "ticker", "symbol": ["A/B"], "event_trigger": "bbo"},
        {"channel": "trade", "symbol": ["A/B"], "snapshot": True},
        {"channel": "book", "symbol": ["A/B"], "depth": 25},
        {"channel": "ohlc", "symbol": ["A/B"], "interval": 5},
    ]


def test_an_unsubscribe_mirrors_the_parameters_that_tell_subscriptions_apart() -> None:
    subs = live(SubscriptionKey("trade", "A/B"))
    subs.drop(SubscriptionKey("trade", "A/B"), now=0.0)
    request = only(subs.due(now=3.0))
    assert (request.method, request.params) == ("unsubscribe", {"channel": "trade", "symbol": ["A/B"]})


def test_every_connection_asks_in_order_of_priority_then_of_wanting() -> None:
    channels = ["ohlc", "book", "level3", "trade", "ticker", "executions", "balances", "instrument"]
    subs = Subscriptions(SETTINGS)
    for channel in channels:
        for symbol in ("Z/USD", "A/USD"):
            subs.want(SubscriptionKey(channel, None if CHANNEL_PRIORITIES[channel] < 3 else symbol), now=0.0)
    for start in (0.0, 100.0):
        subs.connected(now=start)
        asked = [request for _, request in drain(subs, start, until=start + 4.0)]
        priorities = [CHANNEL_PRIORITIES[r.channel] for r in asked]
        assert priorities == sorted(priorities)
        assert {r.symbols for r in asked} == {(), ("Z/USD", "A/USD")}
        assert len(asked) == len(channels)
        subs.disconnected(now=start + 50.0)


def test_books_of_symbols_with_open_orders_come_before_all_other_market_data_on_every_connection() -> None:
    orders: list[str] = ["C/USD"]
    subscriptions = Subscriptions(SubscriptionSettings(symbols_per_request=1), lambda: orders)
    subscriptions.want(SubscriptionKey("instrument"), now=0.0)
    for symbol in ("A/USD", "B/USD", "C/USD"):
        subscriptions.want(SubscriptionKey("book", symbol, depth=10), now=0.0)
        subscriptions.want(SubscriptionKey("ticker", symbol), now=0.0)
    subscriptions.connected(now=0.0)
    asked = [(r.channel, r.symbols[0][0]) for n in range(8) for r in subscriptions.due(now=n * 0.5) if r.symbols]
    assert asked == [("book", "C"), *(("ticker", symbol) for symbol in "CAB"), ("book", "A"), ("book", "B")]
    orders[:] = ["B/USD"]
    subscriptions.disconnected(now=10.0)
    subscriptions.connected(now=10.0)
    again = [(r.channel, *r.symbols) for n in range(8) for r in subscriptions.due(now=10.0 + n * 0.5)]
    assert again[:3] == [("instrument",), ("book", "B/USD"), ("ticker", "B/USD")]
    assert again[-2:] == [("book", "A/USD"), ("book", "C/USD")]


def test_a_book_that_goes_ahead_takes_no_other_with_it() -> None:
    subscriptions = Subscriptions(SETTINGS, lambda: ["C/USD"])
    for symbol in ("A/USD", "B/USD", "C/USD"):
        subscriptions.want(SubscriptionKey("book", symbol, depth=10), now=0.0)
        subscriptions.want(SubscriptionKey("ticker", symbol), now=0.0)
    subscriptions.connected(now=0.0)
    assert [(r.channel, r.symbols) for r in subscriptions.due(now=0.0)] == [
        ("book", ("C/USD",)),
        ("ticker", ("C/USD", "A/USD", "B/USD")),
        ("book", ("A/USD", "B/USD")),
    ]


def test_the_order_of_channels_can_be_configured() -> None:
    subs = connected(TICKER, BOOK, settings=SubscriptionSettings(priorities={"book": 1, "ticker": 2}))
    assert [r.channel for r in subs.due(now=0.0)] == ["book", "ticker"]


def test_one_request_names_at_most_25_symbols_of_the_same_parameters() -> None:
    keys = [SubscriptionKey("book", f"S{n}/USD", depth=10 if n % 2 else 25) for n in range(120)]
    asked = [request for _, request in drain(connected(*keys), 0.0, until=4.0)]
    assert [len(r.symbols) for r in asked] == [25, 25, 10, 25, 25, 10]
    assert {s for r in asked for s in r.symbols} == {k.symbol for k in keys}
    assert [r.params["depth"] for r in asked] == [25] * 3 + [10] * 3


def test_no_second_sees_more_requests_than_the_pace() -> None:
    keys = [SubscriptionKey("book", f"S{n}/USD") for n in range(70)]
    subs = connected(*keys, settings=SubscriptionSettings(symbols_per_request=1))
    times = [t for t, _ in drain(subs, 0.0, until=4.9)]
    assert len(times) == 70
    assert max(sum(1 for t in times if 0 <= t - first < 1.0 - 1e-6) for first in times) <= 20


def test_each_symbol_has_its_own_reply() -> None:
    eth = SubscriptionKey("book", "ETH/USD", depth=10)
    subs = connected(BOOK, eth)
    request = only(subs.due(now=0.0))
    subs.ack(yes(request, "ETH/USD"), now=0.1)
    assert (subs.status(BOOK), subs.status(eth)) == (SubscriptionStatus.REQUESTED, SubscriptionStatus.ACKED)


def test_a_reply_about_another_depth_is_not_ours() -> None:
    subs = connected(BOOK)
    request = only(subs.due(now=0.0))
    subs.ack(yes(request, depth=25), now=0.1)
    assert subs.status(BOOK) is SubscriptionStatus.REQUESTED
    assert subs.unmatched == 1


@pytest.mark.parametrize(
    "stray",
    [
        Ack(method="subscribe", success=True, req_id=77, channel="book", symbol="DOGE/USD"),
        Ack(method="subscribe", success=False, req_id=77, symbol="BTC/USD", error=NO),
        Ack(method="add_order", success=True, req_id=1),
        Ack(method="error", success=False, error="Malformed request"),
        Ack(method="subscribe", success=False, error=NO),
    ],
)
def test_replies_that_match_nothing_are_ignored_and_counted(stray: Ack) -> None:
    subs = connected(BOOK)
    subs.due(now=0.0)
    assert subs.ack(stray, now=0.1) == []
    assert (subs.status(BOOK), subs.unmatched) == (SubscriptionStatus.REQUESTED, 1)


def test_a_refused_symbol_is_asked_for_again_after_a_pause_while_the_others_go_on() -> None:
    eth = SubscriptionKey("book", "ETH/USD", depth=10)
    subs = connected(BOOK, eth)
    request = only(subs.due(now=0.0))
    assert subs.ack(no(request, symbol="BTC/USD"), now=0.1) == [
        Refused(at_s=0.1, channel="book", symbol="BTC/USD", error=NO, final=False)
    ]
    subs.ack(yes(request, "ETH/USD"), now=0.1)
    assert (subs.status(BOOK), subs.error(BOOK)) == (SubscriptionStatus.REFUSED, NO)
    assert subs.due(now=1.0) == []
    assert subs.next_due(now=1.0) == 1.1
    again = only(subs.due(now=1.1))
    assert again.symbols == ("BTC/USD",)
    subs.ack(yes(again), now=1.2)
    assert (subs.status(BOOK), subs.error(BOOK)) == (SubscriptionStatus.ACKED, None)


def test_the_budget_of_retries_ends_in_a_final_refusal_and_rest() -> None:
    subs, now, finals = connected(BOOK), 0.0, []
    for _ in range(3):
        (notice,) = subs.ack(no(only(subs.due(now=now))), now=now)
        assert isinstance(notice, Refused)
        finals.append(notice.final)
        now += 1.0
    assert finals == [False, False, True]
    rested = now - 1.0 + SETTINGS.rest_s
    assert (subs.due(now=rested - 0.1), subs.next_due(now=rested - 0.1)) == ([], rested)
    assert subs.ack(no(only(subs.due(now=rested))), now=rested) == [], "it has been told"
    assert subs.due(now=rested + SETTINGS.rest_s - 0.1) == []
    subs.ack(yes(only(subs.due(now=rested + SETTINGS.rest_s))), now=rested + SETTINGS.rest_s)
    assert subs.status(BOOK) is SubscriptionStatus.ACKED
    assert subs.error(BOOK) is None


def test_a_key_that_rests_is_asked_for_at_once_when_somebody_misses_it() -> None:
    subs = connected(BOOK)
    asked = drain(subs, 0.0, until=14.0)
    assert [t for t, _ in asked] == [0.0, 5.0, 10.0]
    assert subs.due(now=15.0) == []
    assert subs.resubscribe(BOOK, now=20.0)
    assert subs.next_due(now=20.0) == 20.0
    subs.ack(yes(only(subs.due(now=20.0))), now=20.0)
    assert subs.status(BOOK) is SubscriptionStatus.ACKED


def test_the_budget_counts_failures_in_a_row() -> None:
    subs, now = connected(BOOK), 0.0
    for _ in range(5):
        (notice,) = subs.ack(no(only(subs.due(now=now))), now=now)
        assert isinstance(notice, Refused)
        assert not notice.final
        confirmed = only(subs.due(now=now + 1.0))
        subs.ack(yes(confirmed), now=now + 1.0)
        subs.ack(yes(confirmed, method="unsubscribe", req_id=None), now=now + 2.0)
        now += 2.0


def test_the_budget_is_renewed_on_a_new_connection_and_by_wanting_anew() -> None:
    subs = connected(BOOK)
    subs.ack(no(only(subs.due(now=0.0)), "Currency pair not supported BTC/USD"), now=0.0)
    assert subs.due(now=50.0) == []
    subs.want(BOOK, now=50.0)
    subs.ack(no(only(subs.due(now=50.0)), "Currency pair not supported BTC/USD"), now=50.0)
    subs.disconnected(now=60.0)
    subs.connected(now=61.0)
    assert only(subs.due(now=61.0)).symbols == ("BTC/USD",)


@pytest.mark.parametrize(
    "error",
    [
        "Currency pair not supported BTC/USD",
        "Unsupported event",
        "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com",
    ],
)
def test_a_refusal_that_asking_again_cannot_change_is_final_at_once(error: str) -> None:
    subs = connected(BOOK)
    (notice,) = subs.ack(no(only(subs.due(now=0.0)), error), now=0.0)
    assert isinstance(notice, Refused)
    assert notice.final
    assert subs.next_due(now=0.0) is None


def test_already_subscribed_without_any_data_is_subscribed_anew_for_its_snapshot() -> None:
    subs = connected(BOOK)
    subs.ack(no(only(subs.due(now=0.0)), "Already subscribed"), now=0.0)
    assert subs.due(now=SETTINGS.retry_pause_s - 0.1) == []
    leave = only(subs.due(now=SETTINGS.retry_pause_s))
    assert leave.method == "unsubscribe"
    subs.ack(yes(leave), now=1.0)
    assert only(subs.due(now=1.0)).method == "subscribe"


def test_already_subscribed_after_data_has_come_leaves_the_stream_alone() -> None:
    subs = connected(BOOK)
    subs.due(now=0.0)
    subs.data("book", "BTC/USD", now=0.1)
    again = only(subs.due(now=SETTINGS.ack_timeout_s))  # the answer was lost, the subscription was not
    subs.ack(no(again, "Already subscribed"), now=5.1)
    assert subs.due(now=100.0) == []
    assert subs.status(BOOK) is SubscriptionStatus.LIVE


def test_a_venue_that_keeps_saying_already_subscribed_and_sends_nothing_is_not_asked_for_ever_and_told_of() -> None:
    subs = connected(BOOK)
    asked, told = 0, list[Any]()
    for second in range(200):
        for request in subs.due(now=float(second)):
            asked += 1
            told += subs.ack(no(request, "Already subscribed"), now=float(second))
    assert 2 <= asked <= 2 * (SETTINGS.retries + 1) + 200 / SETTINGS.rest_s
    (refusal,) = told
    assert refusal.final
    assert refusal.error == "Already subscribed, but no data came of it"


def test_already_subscribed_counts_as_confirmed() -> None:
    subs = connected(BOOK)
    assert subs.ack(no(only(subs.due(now=0.0)), "Already subscribed"), now=0.0) == []
    assert subs.status(BOOK) is SubscriptionStatus.ACKED


def test_a_refusal_that_names_no_symbol_is_about_the_whole_request() -> None:
    eth = SubscriptionKey("book", "ETH/USD", depth=10)
    subs = connected(BOOK, eth)
    request = only(subs.due(now=0.0))
    subs.ack(yes(request, "ETH/USD"), now=0.1)
    notices = subs.ack(no(request, "Malformed request", method="error", symbol=None), now=0.1)
    assert [n.symbol for n in notices if isinstance(n, Refused) and n.final] == ["BTC/USD"]
    assert subs.status(eth) is SubscriptionStatus.ACKED


def test_a_burst_refused_in_part_for_its_rate_is_repaired_at_half_the_pace() -> None:
    keys = [SubscriptionKey("book", f"S{n}/USD") for n in range(50)]
    subs = connected(*keys)
    first, second = subs.due(now=0.0)
    for symbol in first.symbols:
        subs.ack(yes(first, symbol), now=0.1)
    for symbol in second.symbols:
        subs.ack(no(second, "Exceeded msg rate", symbol=symbol), now=0.1)
    assert subs.next_due(now=0.1) == pytest.approx(0.1 + 2.0)
    repaired = only(subs.due(now=2.1))
    assert repaired.symbols == second.symbols
    assert subs.next_due(now=2.1) == pytest.approx(2.1 + 5.0)


def test_silence_is_asked_again_within_the_budget_and_then_reported() -> None:
    subs = connected(BOOK)
    asked = drain(subs, 0.0, until=50.0)
    assert [t for t, _ in asked] == [0.0, 5.0, 10.0]
    notices = subs.take_notices()
    assert [(n.error, n.final) for n in notices if isinstance(n, Refused)] == [
        ("no answer within 5 s", False),
        ("no answer within 5 s", False),
        ("no answer within 5 s", True),
    ]
    assert subs.take_notices() == []


def test_only_the_unanswered_part_of_a_request_is_asked_again() -> None:
    keys = [SubscriptionKey("ticker", f"S{n}/USD") for n in range(4)]
    subs = connected(*keys)
    request = only(subs.due(now=0.0))
    for symbol in request.symbols[:3]:
        subs.ack(yes(request, symbol), now=0.1)
    assert only(subs.due(now=5.0)).symbols == ("S3/USD",)


def test_a_late_confirmation_counts() -> None:
    subs = connected(BOOK)
    first = only(subs.due(now=0.0))
    subs.due(now=5.0)
    subs.ack(yes(first), now=5.1)
    assert subs.status(BOOK) is SubscriptionStatus.ACKED


def test_a_late_refusal_does_not_end_the_newer_request() -> None:
    subs = connected(BOOK)
    first = only(subs.due(now=0.0))
    subs.due(now=5.0)
    assert subs.ack(no(first), now=5.1) == []
    assert subs.status(BOOK) is SubscriptionStatus.REQUESTED


def test_a_dropped_key_stays_subscribed_for_the_grace_period() -> None:
    subs = live(BOOK)
    subs.drop(BOOK, now=10.0)
    assert subs.due(now=12.9) == []
    assert subs.next_due(now=12.9) == 13.0
    subs.want(BOOK, now=12.9)
    assert (subs.due(now=20.0), subs.next_due(now=20.0), subs.status(BOOK)) == ([], None, SubscriptionStatus.LIVE)


def test_a_dropped_key_is_unsubscribed_and_forgotten() -> None:
    subs = live(BOOK)
    subs.drop(BOOK, now=10.0)
    request = only(subs.due(now=13.0))
    assert (request.method, request.symbols, request.params["depth"]) == ("unsubscribe", ("BTC/USD",), 10)
    subs.ack(yes(request), now=13.1)
    assert (subs.status(BOOK), subs.wanted(), subs.next_due(now=13.1)) == (None, [], None)
    assert (subs._entries, subs._active, subs._by_stream, subs._in_flight) == ({}, {}, {}, {})


def test_a_key_dropped_while_the_venue_is_silent_is_unsubscribed_for_it_may_be_there() -> None:
    subs = connected(BOOK)
    subs.due(now=0.0)
    subs.drop(BOOK, now=0.1)
    assert [(t, r.method) for t, r in drain(subs, 0.1, until=5.5)] == [(5.0, "unsubscribe")]


def test_an_unsubscribe_without_effect_is_given_up_and_counted() -> None:
    subs = live(BOOK)
    subs.drop(BOOK, now=0.0)
    assert [(t, r.method) for t, r in drain(subs, 0.0, until=100.0)] == [(t, "unsubscribe") for t in (3.0, 8.0, 13.0)]
    assert (subs.abandoned, subs.status(BOOK)) == (1, None)


def test_unsubscribing_what_is_not_there_is_done() -> None:
    subs = live(BOOK)
    subs.drop(BOOK, now=0.0)
    subs.ack(no(only(subs.due(now=3.0)), "Subscription Not Found"), now=3.1)
    assert subs.status(BOOK) is None


def test_a_resubscribe_unsubscribes_and_subscribes_after_the_reply() -> None:
    subs = live(BOOK)
    assert subs.resubscribe(BOOK, now=1.0)
    first = only(subs.due(now=1.0))
    assert (first.method, subs.status(BOOK)) == ("unsubscribe", SubscriptionStatus.LEAVING)
    assert subs.due(now=1.1) == []
    subs.ack(yes(first), now=1.2)
    second = only(subs.due(now=1.2))
    assert second.method == "subscribe"
    subs.ack(yes(second), now=1.3)
    assert subs.status(BOOK) is SubscriptionStatus.ACKED


def test_a_resubscribe_goes_on_when_the_unsubscribe_is_not_answered() -> None:
    subs = live(BOOK)
    subs.resubscribe(BOOK, now=1.0)
    assert [(t, r.method) for t, r in drain(subs, 1.0, until=6.5)] == [(1.0, "unsubscribe"), (6.0, "subscribe")]


def test_there_are_never_two_resubscribes_of_a_key_in_flight() -> None:
    subs = live(BOOK)
    assert subs.resubscribe(BOOK, now=1.0)
    assert not subs.resubscribe(BOOK, now=1.0)
    first = only(subs.due(now=1.0))
    assert not subs.resubscribe(BOOK, now=1.1)
    subs.ack(yes(first), now=1.2)
    assert not subs.resubscribe(BOOK, now=1.2)
    second = only(subs.due(now=1.2))
    assert not subs.resubscribe(BOOK, now=1.3)
    subs.ack(yes(second), now=1.4)
    assert subs.resubscribe(BOOK, now=1.5)


def test_another_depth_waits_until_the_present_one_has_left() -> None:
    """A book message does not say its depth: two depths of one symbol at once could not be told apart."""
    deeper = SubscriptionKey("book", "BTC/USD", depth=100)
    subs = live(BOOK)
    subs.drop(BOOK, now=1.0)
    subs.want(deeper, now=1.0)
    leaving = only(subs.due(now=1.0))
    assert (leaving.method, leaving.params["depth"]) == ("unsubscribe", 10)
    assert subs.due(now=1.5) == []
    assert subs.next_due(now=1.5) == 1.0 + SETTINGS.ack_timeout_s
    subs.ack(yes(leaving), now=2.0)
    coming = only(subs.due(now=2.0))
    assert (coming.method, coming.params["depth"]) == ("subscribe", 100)


def test_candles_of_two_intervals_do_not_wait_for_each_other() -> None:
    subs = live(SubscriptionKey("ohlc", "BTC/USD", interval=1))
    subs.drop(SubscriptionKey("ohlc", "BTC/USD", interval=1), now=1.0)
    subs.want(SubscriptionKey("ohlc", "BTC/USD", interval=5), now=1.0)
    assert only(subs.due(now=1.0)).params["interval"] == 5


def test_a_key_nobody_knows_cannot_be_resubscribed_or_dropped() -> None:
    subs = connected(TICKER)
    assert not subs.resubscribe(BOOK, now=0.0)
    subs.drop(BOOK, now=0.0)
    assert subs.status(BOOK) is None


def test_resubscribes_overtake_subscriptions_of_lower_priority_and_leavers_come_last() -> None:
    candles = SubscriptionKey("ohlc", "BTC/USD", interval=1)
    subs = live(BOOK)
    subs.want(TICKER, now=1.0)
    subs.ack(yes(only(subs.due(now=1.0))), now=1.0)
    subs.drop(TICKER, now=1.0)
    subs.want(candles, now=4.0)
    subs.resubscribe(BOOK, now=4.0)
    assert [(r.method, r.channel) for r in subs.due(now=4.0)] == [
        ("unsubscribe", "book"),
        ("subscribe", "ohlc"),
        ("unsubscribe", "ticker"),
    ]


def test_an_unsubscribe_confirmed_late_is_healed_by_subscribing_again() -> None:
    subs = live(BOOK)
    subs.resubscribe(BOOK, now=0.0)
    gone = only(subs.due(now=0.0))
    subs.ack(yes(only(subs.due(now=5.0))), now=5.1)
    subs.ack(yes(gone), now=5.2)
    assert only(subs.due(now=5.2)).method == "subscribe"


def test_an_unsubscribe_confirmed_late_does_not_hide_a_later_subscribe_whose_answer_was_lost() -> None:
    subs = live(BOOK)
    subs.resubscribe(BOOK, now=0.0)
    gone = only(subs.due(now=0.0))
    assert only(subs.due(now=5.0)).method == "subscribe"  # reaches the venue; its answer does not reach us
    subs.drop(BOOK, now=5.1)
    assert only(subs.due(now=10.0)).method == "unsubscribe"
    subs.ack(yes(gone), now=10.1)
    assert subs.status(BOOK) is SubscriptionStatus.LEAVING
    assert "unsubscribe" in [request.method for _, request in drain(subs, 10.1, until=20.0)]


def test_a_subscribe_confirmed_late_does_not_undo_the_unsubscribe_sent_after_it() -> None:
    subs = connected(BOOK)
    first = only(subs.due(now=0.0))
    subs.ack(yes(only(subs.due(now=5.0))), now=5.1)
    subs.resubscribe(BOOK, now=5.2)
    assert only(subs.due(now=5.2)).method == "unsubscribe"
    subs.ack(yes(first), now=5.3)
    assert subs.status(BOOK) is SubscriptionStatus.LEAVING


def test_an_unsubscribe_confirmed_late_does_not_undo_the_subscribe_sent_after_it() -> None:
    subs = live(BOOK)
    subs.resubscribe(BOOK, now=0.0)
    gone = only(subs.due(now=0.0))
    again = only(subs.due(now=5.0))
    subs.ack(yes(gone), now=5.1)
    assert subs.status(BOOK) is SubscriptionStatus.REQUESTED
    subs.ack(yes(again), now=5.2)
    assert subs.status(BOOK) is SubscriptionStatus.ACKED


def test_a_refusal_after_silence_does_not_prove_that_the_first_try_failed() -> None:
    subs = connected(BOOK)
    subs.due(now=0.0)
    subs.ack(no(only(subs.due(now=5.0)), "Exceeded msg rate"), now=5.1)
    subs.drop(BOOK, now=5.2)
    assert [r.method for _, r in drain(subs, 5.2, until=9.0)] == ["unsubscribe"]


def test_an_unsubscribe_refused_for_its_rate_is_sent_again() -> None:
    subs = live(BOOK)
    subs.resubscribe(BOOK, now=0.0)
    subs.ack(no(only(subs.due(now=0.0)), "Exceeded msg rate"), now=0.1)
    assert subs.status(BOOK) is SubscriptionStatus.ACKED
    again = drain(subs, 0.1, until=3.0)
    assert [r.method for _, r in again] == ["unsubscribe"]
    assert again[0][0] == pytest.approx(2.1)


@pytest.mark.parametrize("drop_first", [True, False])
def test_a_new_depth_of_a_book_waits_for_the_old_one_to_leave_which_has_no_grace(drop_first: bool) -> None:
    deeper = SubscriptionKey("book", "BTC/USD", depth=25)
    subs = live(BOOK)
    if drop_first:
        subs.drop(BOOK, now=1.0)
    subs.want(deeper, now=1.0)
    subs.drop(BOOK, now=1.0)
    gone = only(subs.due(now=1.0))
    assert (gone.method, gone.params["depth"]) == ("unsubscribe", 10)
    subs.ack(yes(gone), now=1.1)
    come = only(subs.due(now=1.1))
    assert (come.method, come.params["depth"]) == ("subscribe", 25)


def test_candles_of_another_interval_need_not_wait() -> None:
    minute, hour = (SubscriptionKey("ohlc", "BTC/USD", interval=n) for n in (1, 60))
    subs = live(minute)
    subs.drop(minute, now=1.0)
    subs.want(hour, now=1.0)
    assert only(subs.due(now=1.0)).params["interval"] == 60
    assert subs.status(minute) is SubscriptionStatus.LIVE


def test_data_before_the_reply_makes_the_key_live_once_confirmed() -> None:
    subs = connected(BOOK)
    request = only(subs.due(now=0.0))
    subs.data("book", "BTC/USD", now=0.1)
    assert subs.status(BOOK) is SubscriptionStatus.REQUESTED
    subs.ack(yes(request), now=0.2)
    assert subs.status(BOOK) is SubscriptionStatus.LIVE


def test_data_nobody_asked_for_changes_nothing() -> None:
    subs = connected(BOOK)
    subs.data("book", "DOGE/USD", now=0.0)
    subs.data("book", "BTC/USD", now=0.0)
    assert subs.wanted() == [BOOK]
    assert subs.status(BOOK) is SubscriptionStatus.WANTED


class VenueModel:
    """The venue's side: a set of subscriptions, and replies that may be lost, late or refused."""

    def __init__(self) -> None:
        self.subscribed: set[SubscriptionKey] = set()
        self.replies: list[Ack] = []

    def receive(self, request: Request, *, error: str | None) -> None:
        for symbol in request.symbols or (None,):
            depth, interval = request.params.get("depth"), request.params.get("interval")
            key = SubscriptionKey(request.channel, symbol, depth=depth, interval=interval)
            refusal = error
            if refusal is None:
                there = key in self.subscribed
                if request.method == "subscribe":
                    refusal = "Already subscribed" if there else None
                    self.subscribed.add(key)
                else:
                    refusal = None if there else "Subscription Not Found"
                    self.subscribed.discard(key)
            ack = yes(request, symbol) if refusal is None else no(request, refusal, symbol=symbol)
            self.replies.append(ack)


KEYS = [
    SubscriptionKey("instrument"),
    *(SubscriptionKey("ticker", f"{s}/USD") for s in "ABC"),
    *(SubscriptionKey("book", f"{s}/USD", depth=10) for s in "ABC"),
    SubscriptionKey("book", "A/USD", depth=25),
    SubscriptionKey("ohlc", "A/USD", interval=1),
    SubscriptionKey("ohlc", "A/USD", interval=5),
]


class SubscriptionsMachine(RuleBasedStateMachine):
    """Any history of wants, connections and a bad venue, then a good one: it ends up with exactly what is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.subs = Subscriptions(
            SubscriptionSettings(ack_timeout_s=5.0, retries=2, retry_pause_s=1.0, grace_s=3.0, per_second=4.0)
        )
        self.wanted: dict[SubscriptionKey, None] = {}
        self.refused_for_good: dict[SubscriptionKey, None] = {}
        self.venue: VenueModel | None = None
        self.sent_at: list[float] = []

    @initialize(keys=st.lists(st.sampled_from(KEYS), max_size=5))
    def start(self, keys: list[SubscriptionKey]) -> None:
        for key in keys:
            self.want(key)

    @rule(key=st.sampled_from(KEYS))
    def want(self, key: SubscriptionKey) -> None:
        self.subs.want(key, now=self.now)
        self.wanted[key] = None
        self.refused_for_good.pop(key, None)

    @rule(key=st.sampled_from(KEYS))
    def drop(self, key: SubscriptionKey) -> None:
        self.subs.drop(key, now=self.now)
        self.wanted.pop(key, None)

    @rule(key=st.sampled_from(KEYS))
    def resubscribe(self, key: SubscriptionKey) -> None:
        self.subs.resubscribe(key, now=self.now)

    @precondition(lambda self: self.venue is None)
    @rule()
    def connect(self) -> None:
        self.subs.connected(now=self.now)
        self.venue = VenueModel()
        self.sent_at.clear()
        self.refused_for_good.clear()

    @precondition(lambda self: self.venue is not None)
    @rule()
    def disconnect(self) -> None:
        self.subs.disconnected(now=self.now)
        self.venue = None

    @rule(step=st.sampled_from([0.0, 0.1, 0.3, 1.0, 3.0, 6.0]))
    def time_passes(self, step: float) -> None:
        self.now += step

    @rule(fate=st.sampled_from(["taken", "taken", "lost", NO, "Exceeded msg rate"]))
    def send(self, fate: str) -> None:
        for request in self.subs.due(now=self.now):
            assert self.venue is not None
            self.sent_at.append(self.now)
            if fate != "lost":
                self.venue.receive(request, error=None if fate == "taken" else fate)
        self.note_refusals(self.subs.take_notices())

    @precondition(lambda self: self.venue is not None and self.venue.replies)
    @rule(which=st.integers(0, 1000), lost=st.booleans())
    def reply(self, which: int, lost: bool) -> None:
        assert self.venue is not None
        ack = self.venue.replies.pop(which % len(self.venue.replies))
        if not lost:
            self.note_refusals(self.subs.ack(ack, now=self.now))

    def note_refusals(self, notices: list[Any]) -> None:
        for notice in notices:
            assert isinstance(notice, Refused)
            for key in self.wanted:
                if notice.final and (key.channel, key.symbol) == (notice.channel, notice.symbol):
                    self.refused_for_good[key] = None

    @invariant()
    def the_wants_are_known(self) -> None:
        assert set(self.subs.wanted()) == set(self.wanted)

    @invariant()
    def the_pace_is_kept(self) -> None:
        recent = self.sent_at[-5:]
        assert not (len(recent) == 5 and recent[-1] - recent[0] < 1.0 - 1e-6)

    @invariant()
    def nothing_is_kept_that_has_no_reason(self) -> None:
        in_flight = [e for batch in self.subs._in_flight.values() for e in batch]
        assert len(in_flight) == len({e.key for e in in_flight})
        assert {e.key for e in in_flight} <= set(self.subs._active)
        assert set(self.subs._active) <= set(self.subs._entries)
        assert sum(len(v) for v in self.subs._by_stream.values()) == len(self.subs._entries)

    def teardown(self) -> None:
        if self.venue is None:
            self.connect()
        assert self.venue is not None
        for _ in range(500):
            for ack in self.venue.replies:
                self.note_refusals(self.subs.ack(ack, now=self.now))
            self.venue.replies = []
            for request in self.subs.due(now=self.now):
                self.venue.receive(request, error=None)
            self.note_refusals(self.subs.take_notices())
            if not self.venue.replies:
                due = self.subs.next_due(now=self.now)
                if due is None:
                    break
                assert due > self.now
                self.now = due
        else:
            pytest.fail("the subscriptions never come to rest")
        wanted, there = set(self.wanted), self.venue.subscribed
        assert wanted - there <= set(self.refused_for_good)
        assert len(there - wanted) <= self.subs.abandoned
        for key in wanted & there - set(self.refused_for_good):
            assert self.subs.status(key) in (SubscriptionStatus.ACKED, SubscriptionStatus.LIVE)


SubscriptionsMachine.TestCase.settings = hypothesis_settings(
    max_examples=150, stateful_step_count=40, deadline=None, print_blob=True
)
TestSubscriptionsMachine = SubscriptionsMachine.TestCase


def test_what_stays_unanswered_or_is_refused_for_now_while_the_venue_is_away_counts_for_nothing() -> None:
    away = True
    subs = Subscriptions(SETTINGS, is_away=lambda: away)
    subs.want(BOOK, now=0.0)
    subs.want(TICKER, now=0.0)
    subs.connected(now=0.0)
    asked, now = 0, 0.0
    while now < 100.0:
        for request in subs.due(now=now):
            asked += 1
            if request.channel == "ticker":
                assert subs.ack(no(request), now=now) == []
        now += 1.0
    assert subs.take_notices() == []
    assert 20 <= asked <= 2 * 21, "each about every ack_timeout_s: neither a storm nor a longer and longer pause"
    away = False
    told: list[Any] = []
    while now < 150.0:
        subs.due(now=now)
        told += subs.take_notices()
        now += 1.0
    assert {notice.channel for notice in told if notice.final} == {"ticker", "book"}


def test_a_refusal_for_good_is_one_even_while_the_venue_is_away() -> None:
    subs = Subscriptions(SETTINGS, is_away=lambda: True)
    subs.want(BOOK, now=0.0)
    subs.connected(now=0.0)
    (notice,) = subs.ack(no(only(subs.due(now=0.0)), "Currency pair not supported BTC/USD"), now=0.1)
    assert isinstance(notice, Refused)
    assert notice.final
