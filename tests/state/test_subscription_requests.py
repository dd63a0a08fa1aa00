"""Refusals are read by the venue's own words."""

from __future__ import annotations

import pytest

from kraken_engine.state.subscription_requests import Refusal


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        ("Currency pair not supported XBT/USD", Refusal.FINAL),
        ("Unsupported event", Refusal.FINAL),
        ("Unsupported field: 'x' for the given msg type: subscribe", Refusal.FINAL),
        ("Malformed request", Refusal.FINAL),
        ("Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com", Refusal.FINAL),
        ("EGeneral:Permission denied", Refusal.FINAL),
        ("Exceeded msg rate", Refusal.TOO_FAST),
        ("Already subscribed", Refusal.ALREADY),
        ("ESession:Invalid session", Refusal.SESSION),
        ("Token(s) not found", Refusal.SESSION),
        ("EAPI:Invalid key", Refusal.FINAL),
        ("EAuth:Account temporary disabled", Refusal.FINAL),
        ("EGeneral:Temporary lockout", Refusal.FINAL),
        ("EGeneral:Invalid arguments:channel", Refusal.FINAL),
        ("EGeneral:Too many requests", Refusal.TOO_FAST),
        ("EService:Busy", Refusal.OTHER),
        ("EFuture:Never heard of", Refusal.OTHER),
        ("EService:Unavailable", Refusal.OTHER),
        ("", Refusal.OTHER),
    ],
)
def test_a_refusal_means_what_its_words_say(error: str, refusal: Refusal) -> None:
    assert Refusal.of(error) is refusal
