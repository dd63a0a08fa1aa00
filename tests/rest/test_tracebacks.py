"""What a failed signed call leaves in a traceback, locals and all, shows neither key nor password nor signature."""

from __future__ import annotations

import traceback

import attrs
import pytest
from tests.rest.harness import CONFIG, SECRET, Drop, Hang, Http, TinyVenue, rest_of
from trio.testing import MockClock

from kraken_engine.errors import EngineError
from kraken_engine.secret import ApiKey, Secret
from kraken_engine.tasks.rest import Rest

NAME, PASSWORD = "the-name-of-the-key", "a-one-time-password"
KEY = ApiKey(key=Secret(NAME), secret=Secret(SECRET), otp=Secret(PASSWORD))
ONCE = attrs.evolve(CONFIG, rest=attrs.evolve(CONFIG.rest, max_retries=0))


async def seen_by_whoever_prints_everything(rest: Rest, name: str = "api_key_info") -> str:
    try:
        await getattr(rest.private, name)()
    except EngineError as error:
        seen = traceback.TracebackException.from_exception(error, capture_locals=True)
        return "".join(seen.format())
    raise AssertionError("expected a failure")


@pytest.mark.parametrize(
    "step",
    [
        Drop(),
        Hang(),
        Http(500, b"oops"),
        Http(200, b"no JSON"),
        Http(200, b"no gzip", b"content-encoding: gzip\r\n"),
        Http(200, b"", b"content-encoding: other\r\n"),
        ["EAPI:Invalid key"],
        {"permissions": 5},
    ],
)
async def test_a_failed_call_shows_nothing_of_what_signed_it(autojump_clock: MockClock, step: object) -> None:
    venue = TinyVenue()
    venue.script["GetApiKeyInfo"] = [step]
    async with rest_of(venue, ONCE, key=KEY) as rest:
        seen = await seen_by_whoever_prints_everything(rest)
    for secret in (NAME, SECRET, PASSWORD, "API-Sign", "nonce="):
        assert secret not in seen


async def test_a_call_that_finds_nobody_shows_nothing_either(autojump_clock: MockClock) -> None:
    venue = TinyVenue()
    config = attrs.evolve(ONCE, rest=attrs.evolve(ONCE.rest, base_url="https://api.venue.test"))
    async with rest_of(venue, config, key=KEY) as rest:
        seen = await seen_by_whoever_prints_everything(rest)
    for secret in (NAME, SECRET, PASSWORD, "API-Sign", "nonce="):
        assert secret not in seen


@pytest.mark.parametrize(
    "step",
    [
        Http(200, b'{"error":[],"result":{"token":"a-token-of-the-venue","expires":900}} and more'),
        Http(200, b'{"error":[],"result":{"token":"a-token-of-the-venue","expires":900}'),
        Http(200, b'{"error":[],"result":{"token":"a-token-of-the-venue","token":"x","expires":900}}'),
        Http(200, b'{"result":{"token":"a-token-of-the-venue","expires":900}}'),
        {"token": "a-token-of-the-venue\n", "expires": 900},
        {"token": "a-token-of-the-venue", "expires": -1},
        {"token": ["a-token-of-the-venue"], "expires": 900},
    ],
)
async def test_an_answer_that_makes_no_sense_shows_no_token(autojump_clock: MockClock, step: object) -> None:
    venue = TinyVenue()
    venue.script["GetWebSocketsToken"] = [step]
    async with rest_of(venue, ONCE, key=KEY) as rest:
        assert "a-token" not in await seen_by_whoever_prints_everything(rest, "websockets_token")
