"""Every string of the venue, answered to a call: the row of the table is what happens (``spec.md`` row 18)."""

from __future__ import annotations

import msgspec
import pytest
from tests.codec.test_venue_errors import STRINGS
from tests.control.test_error_actions import SPECIAL_WORDS
from tests.rest.harness import RESULTS, Http, TinyVenue, rest_of
from trio.testing import MockClock

from kraken_engine.codec.venue_errors import VENUE_ERRORS, is_warning
from kraken_engine.control.error_actions import ActivateCircuitBreaker, Command, LogAndContinue, ResetNonceAndRetry
from kraken_engine.errors import CircuitOpen, Rejected

CLASSES = dict(STRINGS)
"""What may be done after an answer, from the documents; not from the table that is tested."""
CATEGORIES = {"EAuth": "X", "EDatabase": "R?", "EService": "R?", "EQuery": "F", "EFunding": "F", "EEarnings": "F"}
"""And of what a category may bring beside its known strings."""
BEGINNINGS = {
    "Currency pair not supported": "F",
    "Unsupported field": "F",
    "EService:Throttled": "R",
    "EService:Market in": "W",
    "EOrder:Reduce only": "F",
    "EBM:limit exceeded": "X",
    "Token(s) not found": "R",
    "Private data and trading are unavailable on this endpoint": "F",
    "Public market data subscriptions are unavailable on this endpoint": "F",
}


def retry_class(words: str) -> str:
    return {**CATEGORIES, **BEGINNINGS, **CLASSES}[words]


@pytest.mark.parametrize("words", VENUE_ERRORS)
async def test_what_the_venue_answers_leads_to_what_its_row_says(words: str, autojump_clock: MockClock) -> None:
    expected = SPECIAL_WORDS.get(words, LogAndContinue)
    commands: list[Command] = []
    venue = TinyVenue()
    if is_warning(words):  # beside which the result stands
        body = {"error": [words], "result": RESULTS["Balance"]}
        venue.script["Balance"] = [Http(200, msgspec.json.encode(body))]
    else:
        venue.script["Balance"] = [[words]]
    async with rest_of(venue) as rest:
        rest.public.desk.on_decided = commands.append
        error: Rejected | None = None
        try:
            assert await rest.private.balance(timeout_s=60.0)
        except Rejected as raised:
            error = raised
        if is_warning(words):
            assert (error, commands) == (None, [])
            return
        assert [type(command) for command in commands] == [expected]
        assert (commands[0].where.account, commands[0].where.operation) == ("main", "Balance")
        asked = [seen for seen in venue.seen if seen.name == "Balance"]
        if expected is ActivateCircuitBreaker:
            assert (len(asked), type(error)) == (1, VENUE_ERRORS[words].error)
            assert rest.private.breaker_is_open
            with pytest.raises(CircuitOpen):
                await rest.private.balance_ex()
            return
        assert not rest.private.breaker_is_open
        if retry_class(words) in ("R", "R?"):  # a question may be asked again, and was answered then
            assert (len(asked), error) == (2, None)
            if expected is ResetNonceAndRetry:
                assert asked[1].nonce > asked[0].nonce + 10**6
                assert asked[1].at_s - asked[0].at_s < 3.0
            else:
                assert asked[1].at_s - asked[0].at_s >= VENUE_ERRORS[words].pause_s
        else:
            assert (len(asked), type(error)) == (1, VENUE_ERRORS[words].error)
            assert error is not None
            assert not error.retryable
        assert await rest.private.balance_ex()
