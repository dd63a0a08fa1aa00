"""Every error string of the venue has one meaning, and what is unknown is treated as it is safest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.codec.venue_errors import (
    VENUE_ERRORS,
    BreakerEffect,
    ErrorAction,
    RetryClass,
    breaker_effect,
    classify,
    is_warning,
    rejected,
)
from kraken_engine.errors import (
    AuthRejected,
    NonceRejected,
    NotNow,
    OrderRefused,
    RateLimited,
    Rejected,
    RequestInvalid,
    SessionRejected,
    VenueUnavailable,
)

FACT_SHEET = {
    "R": [
        "EAPI:Invalid nonce", "EAPI:Rate limit exceeded", "EAuth:Rate limit exceeded", "EAuth:Too many requests",
        "ESession:Invalid session", "EGeneral:Too many requests", "EService: Throttled: 1700000000",
        "EOrder:Rate limit exceeded", "EOrder:Domain rate limit exceeded",
        "EEarnings:Busy", "Exceeded msg rate",
    ],
    "R?": [
        "EGeneral:Internal error", "EGeneral:Internal error:17", "EDatabase:Internal error", "EService:Unavailable",
        "EService:Busy",
    ],
    "W": [
        "EService:Market in cancel_only mode", "EService:Market in post_only mode",
        "EService:Market in limit_only mode", "EOrder:Orders limit exceeded",
        "EOrder:Scheduled orders limit exceeded", "EOrder:Positions limit exceeded",
    ],
    "F": [
        "EService:Deadline elapsed",  # there R, for an order made anew: the same again has a deadline that is over
        "EAPI:Feature disabled", "EAPI:Bad request", "EGeneral:Invalid arguments",
        "EGeneral:Invalid arguments:ordertype", "EGeneral:Invalid arguments:price",
        "EGeneral:Invalid arguments:volume minimum not met", "EGeneral:Invalid arguments:cl_ord_id",
        "EGeneral:Invalid arguments:cl_ord_id not unique", "EGeneral:Invalid arguments:Index unavailable",
        "EGeneral:Invalid arguments:no_mpp order option is only available when ordertype = market",
        "EGeneral:Unknown method", "EQuery:Unknown asset pair", "EQuery:Unknown asset", "EQuery:Invalid asset pair",
        "EOrder:Insufficient funds", "EOrder:Order minimum not met", "EOrder:Cost minimum not met",
        "EOrder:Tick size check failed", "EOrder:Invalid price", "EOrder:Invalid order", "EOrder:Unknown order",
        "EOrder:Post only order", "EOrder:Cannot open position", "EOrder:Cannot open opposing position",
        "EOrder:Insufficient margin", "EOrder:Margin allowance exceeded", "EOrder:Margin level too low",
        "EOrder:Margin position size exceeded", "EOrder:Unknown position",
        "EOrder:Reduce only:No position exists", "EOrder:Reduce only:Position is closed",
        "EOrder:Reduce only:Non-PC", "ETrade:Invalid request", "EFunding:Unknown withdraw key",
        "EFunding:Invalid amount", "EFunding:Unknown asset", "EFunding:No funding method",
        "EFunding:Max fee exceeded", "EFunding:Too many addresses", "EFunding:Unknown reference id",
        "EFunding:Invalid reference id", "EEarnings:Below min", "EEarnings:Above max",
        "EEarnings:Insufficient funds", "Currency pair not supported XBT/USD", "Malformed request",
        "Unsupported event", "Unsupported field: 'params' for the given msg type: ping",
        "Limit_price field must be a number_float",
        "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
        "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com",
    ],
    "X": [
        "EAPI:Invalid key", "EAPI:Invalid signature", "EAuth:Account temporary disabled", "EAuth:Account unconfirmed",
        "EAccount:Invalid permissions", "EAccount:Invalid permissions:region", "EGeneral:Temporary lockout",
        "EGeneral:Permission denied", "ETrade:User Locked", "EBM:limit exceeded:CAL", "EEarnings:Permission denied",
    ],
}  # fmt: skip

STRINGS = [(words, retry) for retry, all_words in FACT_SHEET.items() for words in all_words]


@pytest.mark.parametrize(("words", "retry"), STRINGS)
def test_every_string_of_the_fact_sheet_has_its_class(words: str, retry: str) -> None:
    error = classify(words)
    assert (error.rule.retry, error.rule.known) == (RetryClass(retry), True)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("EAPI:Invalid nonce", NonceRejected),
        ("EAPI:Invalid key", AuthRejected),
        ("ESession:Invalid session", SessionRejected),
        ("Token(s) not found", SessionRejected),
        ("EAPI:Rate limit exceeded", RateLimited),
        ("EOrder:Insufficient funds", OrderRefused),
        ("EQuery:Unknown asset pair", RequestInvalid),
        ("EService:Market in cancel_only mode", NotNow),
        ("EService:Busy", VenueUnavailable),
    ],
)
def test_the_type_says_who_has_to_act(words: str, error: type[Rejected]) -> None:
    raised = rejected("Anything", [words], read=True)
    assert type(raised) is error
    assert raised.words == words
    assert words in str(raised)


@pytest.mark.parametrize(
    ("words", "effect"),
    [
        # I-22: what counts ...
        ("EService:Unavailable", BreakerEffect.FAILURE),
        ("EService:Something new", BreakerEffect.FAILURE),
        ("EGeneral:Internal error:5", BreakerEffect.FAILURE),
        ("EAPI:Rate limit exceeded", BreakerEffect.RATE_LIMIT),
        ("EGeneral:Temporary lockout", BreakerEffect.RATE_LIMIT),
        ("EService:Throttled:1700000000", BreakerEffect.RATE_LIMIT),
        # ... and what does not: the server worked
        ("EGeneral:Invalid arguments:price", BreakerEffect.NONE),
        ("EOrder:Insufficient funds", BreakerEffect.NONE),
        ("EOrder:Unknown order", BreakerEffect.NONE),
        ("EOrder:Rate limit exceeded", BreakerEffect.NONE),
        ("EAPI:Invalid nonce", BreakerEffect.NONE),
        ("EService:Market in post_only mode", BreakerEffect.NONE),
        ("Who knows", BreakerEffect.NONE),
    ],
)
def test_the_breaker_hears_of_the_venues_health_alone(words: str, effect: BreakerEffect) -> None:
    assert classify(words).rule.breaker is effect
    assert classify(words).counts_for_breaker == (effect is not BreakerEffect.NONE)


def test_a_rate_limit_outweighs_a_failure_for_the_breaker() -> None:
    assert breaker_effect(["EService:Busy", "EAPI:Rate limit exceeded"]) is BreakerEffect.RATE_LIMIT
    assert breaker_effect(["EOrder:Unknown order", "EService:Busy"]) is BreakerEffect.FAILURE
    assert breaker_effect([]) is BreakerEffect.NONE


@pytest.mark.parametrize(
    ("words", "action"),
    [
        ("EAPI:Rate limit exceeded", ErrorAction.ACTIVATE_CIRCUIT_BREAKER),
        ("EAPI:Invalid nonce", ErrorAction.RESET_NONCE_AND_RETRY),
        ("ESession:Invalid session", ErrorAction.REFRESH_TOKEN_AND_RECONNECT),
        ("EOrder:Insufficient funds", ErrorAction.LOG_AND_CONTINUE),
        ("EOrder:Rate limit exceeded", ErrorAction.LOG_AND_CONTINUE),
        ("Never seen", ErrorAction.LOG_AND_CONTINUE),
    ],
)
def test_each_string_names_the_action_of_the_founding_table(words: str, action: ErrorAction) -> None:
    assert classify(words).rule.action is action
    assert rejected("Anything", [words], read=True).action == action


def test_the_venue_says_itself_when_a_throttled_call_may_come_back() -> None:
    assert classify("EService: Throttled: 1758822000").retry_at_unix_s == 1758822000.0
    assert classify("EService:Throttled:1758822000").retry_at_unix_s == 1758822000.0
    assert classify("EService:Throttled").retry_at_unix_s is None


def test_an_answer_that_leaves_the_outcome_open_is_retryable_for_questions_alone() -> None:
    asked, ordered = (
        rejected("Balance", ["EService:Busy"], read=True),
        rejected("AddOrder", ["EService:Busy"], read=False),
    )
    assert (asked.retryable, asked.maybe_executed) == (True, False)
    assert (ordered.retryable, ordered.maybe_executed) == (False, True)


def test_an_unknown_string_is_retryable_for_questions_and_leaves_an_order_open() -> None:
    assert not classify("EOrder:Something nobody documented").rule.known
    assert rejected("Balance", ["EXyz:What"], read=True).retryable
    assert rejected("AddOrder", ["EXyz:What"], read=False).maybe_executed


def test_the_gravest_of_several_errors_decides() -> None:
    raised = rejected("AddOrder", ["EGeneral:Too many requests", "EAPI:Invalid key"], read=False)
    assert type(raised) is AuthRejected
    assert not raised.retryable
    assert "EGeneral:Too many requests; EAPI:Invalid key" in str(raised)


def test_a_lockout_asks_for_a_quarter_of_an_hour() -> None:
    assert rejected("Balance", ["EGeneral:Temporary lockout"], read=True).retry_after_s == 900.0


def test_words_of_the_venue_reach_a_message_on_one_printable_line() -> None:
    raised = rejected("Balance", ["EService:Busy\x1b[2J\nline two" + "x" * 500], read=True)
    assert "\n" not in str(raised)
    assert "\x1b" not in str(raised)
    assert len(raised.words) < 200


@given(st.sampled_from([words for words, _ in STRINGS]), st.data())
def test_letter_case_and_blanks_round_colons_make_no_difference(words: str, data: st.DataObject) -> None:
    blanks = st.sampled_from(["", " ", "  "])
    spaced = "".join(data.draw(blanks) + c + data.draw(blanks) if c == ":" else c for c in words)
    cased = "".join(data.draw(st.sampled_from([c.lower(), c.upper(), c])) for c in spaced)
    assert classify(cased).rule == classify(words).rule


@given(st.sampled_from(list(VENUE_ERRORS)), st.text(alphabet=st.characters(codec="ascii"), max_size=40))
def test_a_detail_behind_a_known_string_keeps_it_known(words: str, detail: str) -> None:
    assert classify(f"{words}:{detail}").rule.known


@given(st.text(max_size=300))
def test_no_text_at_all_is_too_strange(words: str) -> None:
    error = classify(words)
    assert isinstance(rejected("Balance", [words], read=False), Rejected)
    assert error.maybe_executed(read=False) or error.rule.known


def test_a_word_that_only_begins_like_a_known_one_is_unknown() -> None:
    assert not classify("EAPI:Invalid keyboard").rule.known
    assert not classify("EServices:Busy").rule.known


@pytest.mark.parametrize(
    ("words", "warning"), [("WDatabase:No change", True), ("EService:Busy", False), ("Who", False)]
)
def test_a_warning_is_told_from_an_error(words: str, warning: bool) -> None:
    assert is_warning(words) is warning
