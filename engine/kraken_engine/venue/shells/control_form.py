"""Reading what is asked of the control port, so that a mistake is told in one clear sentence."""

from __future__ import annotations

from typing import Any

import msgspec

from kraken_engine.errors import shown
from kraken_engine.venue.core.ports import RestRequest

__all__ = ["MOST_NUMBER", "Problem", "read_object", "whole"]

MOST_NUMBER = 10**12


class Problem(Exception):
    """An answer in flight."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


def read_object(body: bytes, example: str) -> dict[str, Any]:
    """Return a JSON object. Problem: the body is none."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem(400, f"body: expected a JSON object such as {example}: {error}") from None


def whole(request: RestRequest, name: str, most: int, default: str) -> int:
    """Return a field of the query that has to be a whole number up to ``most``."""
    text = request.query.get(name, default)
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
        raise Problem(400, f"{name}: expected a whole number up to {most}, got {shown(text)}")
    return int(text)
