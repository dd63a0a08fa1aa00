"""What the commands print keeps the digits of the wire and names every event."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from kraken_engine.cli.output import EventCounts, event_json, print_json
from kraken_engine.errors import Stale
from kraken_engine.model import Integrity, Side, Source
from kraken_engine.normalise.events import LineDown, Live, Trade

TRADE = Trade(
    symbol="BTC/USD",
    source=Source.WEBSOCKET_V2,
    received_s=1.5,
    venue_time="2026-01-01T00:00:00.000000Z",
    integrity=Integrity.UNVERIFIED,
    side=Side.BUY,
    price=Decimal("0.00000010"),
    qty=Decimal("1.50000000"),
    order_type="limit",
    trade_id=7,
)


def printed(capsys: pytest.CaptureFixture[str], document: dict[str, object]) -> dict[str, object]:
    print_json(document)
    (line,) = capsys.readouterr().out.splitlines()
    parsed: dict[str, object] = json.loads(line)
    return parsed


def test_a_decimal_is_text_with_all_its_digits_and_never_an_exponent(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, event_json(TRADE))
    assert shown["price"] == "0.00000010"
    assert shown["qty"] == "1.50000000"


def test_an_event_says_its_kind_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert next(iter(event_json(TRADE))) == "event"
    assert printed(capsys, event_json(TRADE))["source"] == "websocket_v2"


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (Stale("book", "BTC/USD", "checksum", since_s=2.0), "Stale"),
        (Live(at_s=1.0, channel="book", symbol="BTC/USD"), "Live"),
        (LineDown(at_s=1.0, line="market A", reason="reset", failures=1, retry_in_s=0.5), "LineDown"),
    ],
)
def test_notices_are_events_like_any_other(
    capsys: pytest.CaptureFixture[str], event: Live | LineDown | Stale, kind: str
) -> None:
    assert printed(capsys, event_json(event))["event"] == kind


def test_events_are_counted_by_kind() -> None:
    counts = EventCounts()
    counts.add([TRADE, TRADE, Stale("trade", "BTC/USD", "cut")])
    assert counts.by_kind == {"Trade": 2, "Stale": 1}
