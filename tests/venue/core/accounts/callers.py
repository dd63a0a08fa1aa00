"""A caller of the venue's private REST interface as its documents describe one; it shares no code with the venue."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import attrs
from tests.venue.core.naive_client import WALL_NS

from kraken_engine.venue.core.accounts.settings import TEST_ACCOUNT, TEST_KEY, TEST_SECRET, AccountSettings
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.ports import RestRequest

__all__ = ["Caller", "opened_with"]


def opened_with(*accounts: AccountSettings, symbols: int = 3, rate: float = 20.0, seed: int = 1) -> Exchange:
    """Open an exchange at second 0 with these accounts; the test account when there are none."""
    return Exchange(seed, symbols, rate, 0.0, WALL_NS, levels=60, accounts=accounts or (TEST_ACCOUNT,))


@attrs.define
class Caller:
    """Signs and sends."""

    exchange: Exchange
    key: str = TEST_KEY
    secret: str = TEST_SECRET
    now: float = 0.0
    nonce: int = 1_000

    def signed(self, path: str, nonce: str, payload: str) -> str:
        digest = hashlib.sha256((nonce + payload).encode()).digest()
        return base64.b64encode(
            hmac.new(base64.b64decode(self.secret), path.encode() + digest, hashlib.sha512).digest()
        ).decode()

    def send(self, name: str, *, as_json: bool = False, sign: str | None = None, **fields: Any) -> dict[str, Any]:
        """Call an endpoint and return the envelope."""
        self.nonce += 1
        fields = {"nonce": str(self.nonce), **fields}
        payload = json.dumps(fields) if as_json else urlencode(fields)
        path = f"/0/private/{name}"
        request = RestRequest(
            method="POST",
            path=path,
            headers={
                "api-key": self.key,
                "api-sign": self.signed(path, str(fields["nonce"]), payload) if sign is None else sign,
                "content-type": "application/json" if as_json else "application/x-www-form-urlencoded",
            },
            body=payload.encode(),
        )
        response = self.exchange.rest(request, self.now)
        assert response.status == 200
        answer: dict[str, Any] = json.loads(response.body)
        return answer

    def call(self, name: str, **fields: Any) -> Any:
        """Call an endpoint, expect success, and return the result."""
        answer = self.send(name, **fields)
        assert answer["error"] == []
        return answer["result"]

    def error(self, name: str, **fields: Any) -> str:
        """Call an endpoint, expect a refusal, and return its words."""
        answer = self.send(name, **fields)
        assert "result" not in answer
        (error,) = answer["error"]
        assert isinstance(error, str)
        return error
