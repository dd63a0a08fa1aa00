"""The six key figures: what they count, over which window, and the shape of the report."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.monitor.kpis import UNITS, Kpis

DAY_NS = 86_400 * 10**9
MIDNIGHT_NS = 20_000 * DAY_NS


def test_there_are_six_figures_and_each_has_a_unit() -> None:
    assert list(Kpis(now=0.0).values(now=0.0)) == list(UNITS)
    assert set(Kpis(now=0.0).values(now=0.0).values()) == {0.0}


def test_uptime_is_the_share_of_time_with_at_least_one_line() -> None:
    kpis = Kpis(now=100.0)
    kpis.line_up("a", now=110.0)
    kpis.line_up("b", now=120.0)
    kpis.line_down("a", now=130.0)
    kpis.line_down("b", now=140.0)
    assert kpis.values(now=160.0)["websocket_uptime"] == pytest.approx(50.0)
    kpis.line_up("a", now=160.0)
    assert kpis.values(now=200.0)["websocket_uptime"] == pytest.approx(70.0)


def test_a_line_that_goes_up_or_down_twice_counts_once() -> None:
    kpis = Kpis(now=0.0)
    kpis.line_down("a", now=0.0)
    kpis.line_up("a", now=0.0)
    kpis.line_up("a", now=5.0)
    kpis.line_down("a", now=10.0)
    kpis.line_down("a", now=15.0)
    assert kpis.values(now=20.0)["websocket_uptime"] == pytest.approx(50.0)


def test_the_message_rate_is_that_of_the_last_ten_seconds() -> None:
    kpis = Kpis(now=0.0)
    for n in range(60):
        kpis.messages(25, latency_s=0.0, now=n * 0.5)
    assert kpis.values(now=29.999)["websocket_message_rate"] == pytest.approx(50.0, rel=0.01)
    assert kpis.values(now=100.0)["websocket_message_rate"] == 0.0


def test_the_first_seconds_are_no_flood() -> None:
    kpis = Kpis(now=1000.9)
    kpis.messages(10, latency_s=0.0, now=1000.95)
    assert kpis.values(now=1000.96)["websocket_message_rate"] == 10.0


@given(
    rate=st.floats(0.5, 500.0),
    start=st.floats(0.0, 1e6),
    lived_s=st.floats(20.0, 40.0),
)
def test_a_steady_stream_is_measured_at_its_rate(rate: float, start: float, lived_s: float) -> None:
    kpis = Kpis(now=start)
    for n in range(int(lived_s * rate)):
        kpis.messages(1, latency_s=0.0, now=start + n / rate)
    measured = kpis.values(now=start + lived_s)["websocket_message_rate"]
    assert abs(measured - rate) * 9.0 <= 2.0 + 1e-6 * rate


def test_errors_and_calls_are_counted_per_minute() -> None:
    kpis = Kpis(now=0.0)
    for n in range(120):
        kpis.error(now=float(n))
        kpis.rest_call(response_s=0.1, now=float(n), wall_ns=MIDNIGHT_NS)
    values = kpis.values(now=119.999)
    assert values["error_rate"] == pytest.approx(60.0, rel=0.01)
    assert values["rest_api_calls"] == pytest.approx(60.0, rel=0.01)


def test_latency_is_that_of_the_last_thousand_batches() -> None:
    kpis = Kpis(now=0.0)
    kpis.messages(1, latency_s=9.0, now=0.0)
    for n in range(1, 1001):
        kpis.messages(1, latency_s=n / 1000, now=1.0)
    assert kpis.latency_ms(0.5) == pytest.approx(500.0)
    assert kpis.latency_ms(0.99) == pytest.approx(990.0)
    assert kpis.latency_ms(1.0) == pytest.approx(1000.0)
    assert kpis.values(now=1.0)["data_latency"] == pytest.approx(500.0)
    assert len(kpis._latencies_s) == 1000


def test_the_report_has_the_founding_shape() -> None:
    kpis = Kpis(now=0.0)
    kpis.line_up("a", now=0.0)
    kpis.messages(30, latency_s=0.002, now=1.0)
    kpis.messages(30, latency_s=0.004, now=2.0)
    kpis.rest_call(response_s=0.25, now=2.0, wall_ns=MIDNIGHT_NS)
    kpis.rate_limit()
    kpis.failover()
    assert kpis.generate_report(now=3.0, wall_ns=MIDNIGHT_NS) == {
        "websocket": {
            "uptime": 100.0,
            "message_rate": 20.0,
            "avg_latency": pytest.approx(3.0),
            "p50_latency": 2.0,
            "p99_latency": 4.0,
        },
        "rest_api": {"calls_today": 1, "rate_limits_hit": 1, "avg_response_time": 250.0},
    }
    assert kpis.values(now=3.0)["failover_count"] == 1.0


def test_calls_today_starts_again_at_midnight_utc() -> None:
    kpis = Kpis(now=0.0)
    for wall_ns in (MIDNIGHT_NS - 2, MIDNIGHT_NS - 1, MIDNIGHT_NS):
        today = kpis.generate_report(now=0.0, wall_ns=wall_ns)["rest_api"]["calls_today"]
        assert today == (0 if wall_ns == MIDNIGHT_NS else wall_ns - MIDNIGHT_NS + 2)
        kpis.rest_call(response_s=0.1, now=0.0, wall_ns=wall_ns)
    assert kpis.generate_report(now=0.0, wall_ns=MIDNIGHT_NS)["rest_api"]["calls_today"] == 1
