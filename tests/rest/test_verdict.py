"""What an attempt says of the venue, and whether there may be another one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.codec.venue_errors import VENUE_ERRORS, BreakerEffect
from kraken_engine.errors import DecodeError, NotSent, Rejected, RestFailed
from kraken_engine.rest.operations import OPERATIONS, Group, Operation
from kraken_engine.rest.sending import snippet
from kraken_engine.rest.verdict import refusal, verdict
from kraken_engine.secret import Secret

ADD, BALANCE, CANCEL = (
    OPERATIONS[Group.EMERGENCY, "AddOrder"],
    OPERATIONS[Group.RECOVERY, "Balance"],
    OPERATIONS[Group.EMERGENCY, "CancelOrder"],
)

_WORDS = st.lists(st.sampled_from(list(VENUE_ERRORS)) | st.text(max_size=30), min_size=1, max_size=4)


@given(_WORDS)
def test_an_order_that_may_have_been_executed_is_never_tried_again(errors: list[str]) -> None:
    found = refusal(ADD, tuple(errors))
    assert isinstance(found.error, Rejected)
    assert not (found.may_retry and found.error.maybe_executed)


@given(_WORDS, st.sampled_from(list(OPERATIONS.values())))
def test_after_a_rate_limit_nothing_is_tried_again(errors: list[str], what: Operation) -> None:
    found = refusal(what, tuple(errors))
    assert not (found.may_retry and found.effect is BreakerEffect.RATE_LIMIT)


@pytest.mark.parametrize(
    ("what", "error", "effect", "again"),
    [
        (BALANCE, RestFailed("Balance", "gone", maybe_executed=True), BreakerEffect.FAILURE, True),
        (CANCEL, RestFailed("CancelOrder", "gone", maybe_executed=True), BreakerEffect.FAILURE, True),
        (ADD, RestFailed("AddOrder", "gone", maybe_executed=True), BreakerEffect.FAILURE, False),
        (ADD, RestFailed("AddOrder", "refused", maybe_executed=False), BreakerEffect.FAILURE, True),
        (BALANCE, RestFailed("Balance", "429", maybe_executed=False, status=429), BreakerEffect.RATE_LIMIT, False),
        (BALANCE, NotSent("Balance", "disk full"), None, False),
        (BALANCE, DecodeError("$", "JSON", "html"), BreakerEffect.FAILURE, True),
        (ADD, DecodeError("$", "JSON", "html"), BreakerEffect.FAILURE, False),
    ],
)
def test_no_answer_counts_against_the_venue_and_is_repeated_where_that_does_no_harm(
    what: Operation, error: RestFailed | DecodeError, effect: BreakerEffect | None, again: bool
) -> None:
    found = verdict(what, error)
    assert (found.effect, found.may_retry) == (effect, again)


def test_an_answer_to_an_order_that_makes_no_sense_leaves_it_open() -> None:
    found = verdict(ADD, DecodeError("$", "JSON", "html"))
    assert isinstance(found.error, RestFailed)
    assert found.error.maybe_executed


@given(st.binary(max_size=300))
def test_a_snippet_is_short_printable_and_without_markup(body: bytes) -> None:
    text = snippet(body)
    assert len(text) <= 101
    assert "\n" not in text


def test_a_snippet_shows_no_secret() -> None:
    secret = Secret("a-token-nobody-may-see")
    assert secret.reveal() not in snippet(b"<p>rejected a-token-nobody-may-see</p>")


@pytest.mark.parametrize(
    ("words", "accepted"),
    [
        ("EOrder:Insufficient funds", True),
        ("EGeneral:Invalid arguments", True),
        ("EAPI:Invalid nonce", False),
        ("EAPI:Invalid key", False),
        ("EAPI:Rate limit exceeded", False),
        ("EGeneral:Temporary lockout", False),
        ("EService:Unavailable", False),
    ],
)
def test_a_nonce_is_accepted_only_by_a_venue_that_got_so_far(words: str, accepted: bool) -> None:
    assert refusal(BALANCE, (words,)).nonce_accepted is accepted
