"""Another project's order-book client runs against the simulated venue and checks every update by itself.

Run by ``nox -s foreign``, which installs that client; its file name keeps it out of the ordinary run. The client
(python-kraken-sdk, asyncio) shares no code with ours: it asks the venue's REST interface for precisions, keeps its own
books, and compares its own checksum with the venue's after each update.
"""

from __future__ import annotations

import asyncio
import collections
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kraken.spot import Market, SpotOrderBookClient

SECONDS = 20.0
SYMBOLS = 5
RATE = 250


@pytest.fixture
def addresses() -> Iterator[dict[str, str]]:
    command = [sys.executable, "-m", "kraken_engine", "venue", "--symbols", str(SYMBOLS), "--rate", str(RATE)]
    with subprocess.Popen([*command, "--control-port", "0", "--json"], stdout=subprocess.PIPE, text=True) as venue:
        assert venue.stdout is not None
        yield json.loads(venue.stdout.readline())
        venue.terminate()
        assert venue.wait(timeout=10) == 0


class Judge(SpotOrderBookClient):  # type: ignore[misc]  # the client has no type information
    """Counts what the client's own check says about every update."""

    def __init__(self) -> None:
        super().__init__(depth=10)
        self.snapshots: collections.Counter[str] = collections.Counter()
        self.valid: collections.Counter[str] = collections.Counter()
        self.invalid: collections.Counter[str] = collections.Counter()

    async def on_book_update(self, pair: str, message: dict[str, Any]) -> None:
        if message.get("type") == "snapshot":
            self.snapshots[pair] += 1
        elif message.get("type") == "update":
            (self.valid if self.get(pair=pair)["valid"] else self.invalid)[pair] += 1


@pytest.fixture
def pairs(addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Point the client at the venue, and return the names of all its books."""
    monkeypatch.setattr(SpotOrderBookClient, "WS_URL", addresses["ws"].removesuffix("/v2"))
    monkeypatch.setattr(SpotOrderBookClient, "AUTH_WS_URL", addresses["ws_auth"].removesuffix("/v2"))
    monkeypatch.setattr(Market, "URL", addresses["rest"])
    with urllib.request.urlopen(f"{addresses['control']}/symbols") as answer:
        names: list[str] = json.load(answer)
    return names


def test_every_update_passes_the_checksum_of_a_client_that_is_not_ours(pairs: list[str]) -> None:
    judge = asyncio.run(_follow(pairs))
    counted = {"snapshots": judge.snapshots, "valid": judge.valid, "invalid": judge.invalid}
    sys.stdout.write(json.dumps({name: dict(counts) for name, counts in counted.items()}) + "\n")

    assert not judge.exception_occur
    assert judge.invalid == {}
    assert set(judge.snapshots) == set(judge.valid) == set(pairs)
    assert judge.valid.total() >= RATE * SECONDS / 2


def test_the_client_notices_the_one_checksum_that_is_wrong(addresses: dict[str, str], pairs: list[str]) -> None:
    fault = json.dumps({"fault": "corrupt_checksum", "symbol": pairs[0]}).encode()
    request = urllib.request.Request(f"{addresses['control']}/faults", fault, method="POST")

    def corrupt() -> None:
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200

    judge = asyncio.run(_follow(pairs[:1], seconds=3.0, midway=corrupt))
    assert judge.invalid == {pairs[0]: 1}


async def _follow(pairs: list[str], *, seconds: float = SECONDS, midway: Callable[[], None] | None = None) -> Judge:
    judge = Judge()
    await judge.start()
    try:
        await judge.add_book(pairs=pairs)
        await asyncio.sleep(seconds / 2)
        if midway is not None:
            await asyncio.to_thread(midway)
        await asyncio.sleep(seconds / 2)
    finally:
        await judge.close()
    return judge
