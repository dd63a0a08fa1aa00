"""Instruments and venue states: what makes sense stands, what does not is named and left out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests import strategies_frames as frames

from kraken_engine.codec.ws_v2 import Decoder
from kraken_engine.errors import DecodeError
from kraken_engine.model import Instrument, VenueMode
from kraken_engine.normalise.instruments import instrument_update, venue_status


def decoded(frame: bytes) -> Any:
    return Decoder().decode(frame)


def never(error: DecodeError) -> None:
    raise AssertionError(f"rejected: {error}")


def test_a_pair_becomes_an_instrument() -> None:
    update = instrument_update(decoded(frames.INSTRUMENT), received_s=2.0, reject=never)
    assert (update.snapshot, update.received_s) == (True, 2.0)
    assert update.instruments == (
        Instrument(
            symbol="EUR/USD",
            base="EUR",
            quote="USD",
            status="online",
            price_decimals=5,
            qty_decimals=8,
            price_increment=Decimal("0.00001"),
            qty_increment=Decimal("0.00000001"),
            qty_min=Decimal("0.5"),
            cost_min=Decimal("0.5"),
            marginable=True,
        ),
    )


def test_the_docs_spelling_of_increments_and_costs_is_understood() -> None:
    frame = frames.INSTRUMENT.replace(b"0.00000001", b"1e-08").replace(b'"cost_min":0.50', b'"cost_min":"0.50"')
    (instrument,) = instrument_update(decoded(frame), received_s=0.0, reject=never).instruments
    assert (instrument.qty_increment, instrument.cost_min) == (Decimal("0.00000001"), Decimal("0.5"))


def test_an_update_without_pairs_is_empty() -> None:
    frame = b'{"channel":"instrument","type":"update","data":{"assets":[{"id":"BTC"}],"pairs":[]}}'
    update = instrument_update(decoded(frame), received_s=0.0, reject=never)
    assert (update.instruments, update.snapshot) == ((), False)


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (b'"symbol":"EUR/USD"', b'"symbol":""', "symbol"),
        (b'"symbol":"EUR/USD",', b"", "symbol"),
        (b'"base":"EUR"', b'"base":null', "base"),
        (b'"price_precision":5', b'"price_precision":31', "price_precision"),
        (b'"qty_precision":8', b'"qty_precision":-1', "qty_precision"),
        (b'"qty_precision":8', b'"qty_precision":8.0', "qty_precision"),
        (b'"price_increment":0.00001', b'"price_increment":0', "price_increment"),
        (b'"qty_increment":0.00000001', b'"qty_increment":-0.1', "qty_increment"),
        (b'"qty_min":0.50000000', b'"qty_min":"0.5"', "qty_min"),
        (b'"cost_min":0.50', b'"cost_min":"half"', "cost_min"),
        (b'"cost_min":0.50', b'"cost_min":"\\u00bd"', "cost_min"),
        (b'"cost_min":0.50', b'"cost_min":null', "cost_min"),
    ],
)
def test_a_pair_that_makes_no_sense_is_rejected_alone(old: bytes, new: bytes, path: str) -> None:
    start = frames.INSTRUMENT.index(b'"pairs":[') + len(b'"pairs":[')
    pair = frames.INSTRUMENT[start : frames.INSTRUMENT.rindex(b"]")]
    assert old in pair
    frame = frames.INSTRUMENT[:start] + pair.replace(old, new) + b"," + frames.INSTRUMENT[start:]
    rejected: list[DecodeError] = []
    update = instrument_update(decoded(frame), received_s=0.0, reject=rejected.append)
    assert [instrument.symbol for instrument in update.instruments] == ["EUR/USD"]
    assert [error.path for error in rejected] == [f"$.data.pairs[0].{path}"]


@pytest.mark.parametrize(
    ("word", "mode"),
    [
        ("online", VenueMode.ONLINE),
        ("maintenance", VenueMode.MAINTENANCE),
        ("cancel_only", VenueMode.CANCEL_ONLY),
        ("post_only", VenueMode.POST_ONLY),
        ("limit_only", VenueMode.LIMIT_ONLY),
        ("unknown", VenueMode.UNKNOWN),
        ("on fire", VenueMode.UNKNOWN),
    ],
)
def test_the_venues_word_gives_its_mode_and_is_kept(word: str, mode: VenueMode) -> None:
    frame = frames.STATUS.replace(b'"online"', b'"%s"' % word.encode())
    status = venue_status(decoded(frame), at_s=4.0, reject=never)
    assert status is not None
    assert (status.mode, status.text, status.at_s, status.maintenance) == (mode, word, 4.0, ())


def test_announced_windows_come_as_sent() -> None:
    frame = frames.STATUS.replace(b'"emergency":[]', b'"emergency":[{"a":1}]').replace(b'nance":[]', b'nance":["soon"]')
    status = venue_status(decoded(frame), at_s=0.0, reject=never)
    assert status is not None
    assert status.maintenance == ("soon", {"a": 1})


def test_a_status_without_state_is_rejected() -> None:
    rejected: list[DecodeError] = []
    message = decoded(b'{"channel":"status","type":"update","data":[]}')
    assert venue_status(message, at_s=0.0, reject=rejected.append) is None
    assert [error.path for error in rejected] == ["$.data"]
