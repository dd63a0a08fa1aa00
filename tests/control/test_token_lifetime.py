"""Token lifetime (finding 7, faults 55 to 57): kept ready, one fetch for all, and no storm when the key is refused."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.config import TokenSettings
from kraken_engine.control.token_lifetime import Fetch, TokenLifetime
from kraken_engine.secret import Secret

A, B, C = Secret("token-a-000000"), Secret("token-b-000000"), Secret("token-c-000000")


def lifetime(*, jitter_s: float = 0.0, seed: int = 0) -> TokenLifetime:
    return TokenLifetime(TokenSettings(jitter_s=jitter_s), random.Random(seed))


def begun(tokens: TokenLifetime, *, now: float) -> Fetch:
    fetch = tokens.begin(now=now)
    assert fetch is not None
    return fetch


def fetch(tokens: TokenLifetime, token: Secret, *, now: float, expires_s: float = 900.0) -> None:
    tokens.fetched(begun(tokens, now=now), token, expires_s=expires_s, now=now)


def test_a_token_is_fetched_at_once_and_renewed_five_minutes_before_it_expires() -> None:
    tokens = lifetime()
    fetch(tokens, A, now=0.0)
    assert tokens.begin(now=599.0) is None
    fetch(tokens, B, now=600.0)
    assert tokens.usable(now=600.0) is B


@given(seed=st.integers(0, 2**32))
def test_the_jitter_renews_earlier_and_never_later(seed: int) -> None:
    tokens = lifetime(jitter_s=30.0, seed=seed)
    fetch(tokens, A, now=0.0)
    assert tokens.begin(now=569.9) is None
    assert tokens.begin(now=600.0) is not None


def test_it_is_looked_at_each_minute() -> None:
    tokens = lifetime()
    fetch(tokens, A, now=0.0)
    looks, now = [], 0.0
    while now < 600.0:
        now = tokens.next_check(now=now)
        looks.append(now)
        if tokens.begin(now=now):
            break
    assert looks == [60.0 * n for n in range(1, 11)]


def test_its_time_runs_from_when_it_was_asked_for() -> None:
    tokens = lifetime()
    asked = begun(tokens, now=0.0)
    tokens.fetched(asked, A, expires_s=900.0, now=20.0)
    assert tokens.usable(now=894.9) is A
    assert tokens.usable(now=895.0) is None


def test_the_old_token_serves_until_the_new_one_is_there() -> None:
    tokens = lifetime()
    fetch(tokens, A, now=0.0)
    asked = begun(tokens, now=600.0)
    assert tokens.usable(now=610.0) is A
    tokens.failed(asked, now=615.0)
    assert tokens.usable(now=615.0) is A


def test_one_fetch_at_a_time() -> None:
    tokens = lifetime()
    asked = begun(tokens, now=0.0)
    assert [tokens.begin(now=now) for now in (0.0, 1.0, 29.0)] == [None, None, None]
    tokens.cancelled(asked)
    assert tokens.begin(now=29.0) is not None


def test_a_fetch_nobody_reports_on_does_not_wedge_it_and_comes_too_late() -> None:
    tokens = lifetime()
    lost = begun(tokens, now=0.0)
    assert tokens.next_check(now=0.0) == 30.0
    assert tokens.begin(now=30.0) is None  # counted as failed: a pause first
    again = begun(tokens, now=tokens.next_check(now=30.0))
    tokens.fetched(lost, A, expires_s=900.0, now=36.0)
    assert tokens.usable(now=36.0) is None
    tokens.fetched(again, B, expires_s=900.0, now=37.0)
    assert tokens.usable(now=37.0) is B


def test_failed_fetches_are_spaced_out_and_a_success_forgets_them() -> None:
    tokens, now, pauses = lifetime(), 0.0, []
    for _ in range(8):
        tokens.failed(begun(tokens, now=now), now=now)
        pauses.append(tokens.next_check(now=now) - now)
        now += pauses[-1]
    bounds = [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0, 60.0]
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))
    fetch(tokens, A, now=now)
    tokens.failed(begun(tokens, now=now + 600.0), now=now + 600.0)
    assert tokens.next_check(now=now + 600.0) <= now + 605.0


def test_an_open_breaker_says_when_the_next_fetch_makes_sense() -> None:
    tokens = lifetime()
    tokens.failed(begun(tokens, now=0.0), now=0.0, retry_after_s=15.0)
    assert tokens.begin(now=14.0) is None
    assert tokens.begin(now=15.0) is not None


def test_a_rejected_token_is_fetched_anew_once_for_all_who_report_it() -> None:
    tokens = lifetime()
    fetch(tokens, A, now=0.0)
    for _ in range(5):
        tokens.rejected(A, "EService:Invalid session", now=1.0)
    assert tokens.usable(now=1.0) is None
    fetch(tokens, B, now=1.0)
    tokens.rejected(A, "EService:Invalid session", now=2.0)
    assert tokens.usable(now=2.0) is B
    assert not tokens.auth_failed(now=2.0)


def test_three_tokens_rejected_in_a_row_stop_everything_for_15_minutes() -> None:
    tokens = lifetime()
    for now, token in ((0.0, A), (1.0, B), (2.0, C)):
        fetch(tokens, token, now=now)
        tokens.rejected(token, "ESession:Invalid session", now=now)
    assert tokens.auth_failed(now=2.0)
    assert tokens.auth_failed_why == "3 tokens rejected in a row: ESession:Invalid session"
    assert tokens.begin(now=901.9) is None
    fetch(tokens, A, now=902.0)
    assert not tokens.auth_failed(now=902.0)
    tokens.rejected(A, "ESession:Invalid session", now=903.0)
    assert not tokens.auth_failed(now=903.0)


def test_a_token_that_works_makes_up_for_those_before_it() -> None:
    tokens = lifetime()
    for now, token in enumerate((A, B, A, B, A, B)):
        fetch(tokens, token, now=float(now))
        tokens.accepted(token)
        tokens.rejected(token, "ESession:Invalid session", now=float(now))
        assert not tokens.auth_failed(now=float(now))


def test_a_key_without_permission_stops_at_once_but_a_token_in_hand_stays() -> None:
    tokens = lifetime()
    fetch(tokens, A, now=0.0)
    tokens.refused(begun(tokens, now=600.0), "EGeneral:Permission denied", now=600.0)
    assert tokens.auth_failed(now=600.0)
    assert tokens.usable(now=600.0) is A
    assert tokens.next_check(now=600.0) == 660.0
    assert tokens.begin(now=1499.0) is None
    assert tokens.begin(now=1500.0) is not None


def test_a_promise_of_the_venue_is_believed_within_reason() -> None:
    tokens = lifetime()
    fetch(tokens, A, now=0.0, expires_s=1e9)
    assert tokens.usable(now=895.0) is None
    tokens = lifetime()
    fetch(tokens, A, now=0.0, expires_s=0.0)
    assert tokens.usable(now=0.0) is None
    assert tokens.begin(now=1.0) is None
    tokens = lifetime()
    fetch(tokens, A, now=0.0, expires_s=60.0)
    assert tokens.begin(now=29.0) is None
    assert tokens.begin(now=30.0) is not None


def test_its_repr_shows_no_token() -> None:
    tokens = lifetime()
    fetch(tokens, A, now=0.0)
    assert "token-a" not in repr(tokens)
