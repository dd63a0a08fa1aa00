"""What every REST endpoint needs: reading the fields of a request, and the envelope of an answer.

Bodies are form-encoded or JSON (docs "Spot REST Introduction"). Whatever is wrong with a request is an error text in
the envelope, never an exception that leaves this package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import parse_qsl

import attrs
import msgspec

from kraken_engine.venue.core.ports import RestRequest, RestResponse

__all__ = ["Answer", "RestFailed", "envelope", "failure", "flag", "integer", "read_fields", "with_posted_form"]

Answer = dict[str, Any]

_HEADERS = {"content-type": "application/json"}
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_MOST_FIELDS = 100


class RestFailed(Exception):
    """The request gets this error text instead of a result."""


def envelope(result: object, warnings: Sequence[str] = ()) -> RestResponse:
    """Return a success; ``warnings`` (``W...``) may come with it."""
    return _json({"error": list(warnings), "result": result}, 200)


def failure(error: str, status: int = 200) -> RestResponse:
    """Return a failure: it has no result. The HTTP status is nearly always 200."""
    return _json({"error": [error]}, status)


def with_posted_form(request: RestRequest) -> RestRequest:
    """Return the request with the fields of a posted form among those of its query string.

    The documentation lists GET alone for public data, but forbids no POST, and a widespread client (krakenex) posts
    every question, without a content type. A body passed over in silence would be answered with something else than
    was asked.
    """
    if request.method != "POST" or not request.body:
        return request
    if _content_type(request) != _FORM:
        raise RestFailed("EGeneral:Invalid arguments")
    return attrs.evolve(request, query={**request.query, **_form_fields(request.body)})


def read_fields(request: RestRequest) -> dict[str, str]:
    """Return the fields of a posted body, form-encoded or JSON, as text; a list becomes text with commas."""
    if not request.body:
        return {}
    if _content_type(request) == _JSON:
        return _json_fields(request.body)
    return _form_fields(request.body)


def integer(fields: Mapping[str, str], name: str, default: int) -> int:
    """Return a field that has to be a whole number from 0 on."""
    text = fields.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise RestFailed(f"EGeneral:Invalid arguments:{name}")
    return int(text)


def flag(fields: Mapping[str, str], name: str) -> bool:
    """Return a field that has to be ``true`` or ``false``; false when it is not there."""
    text = fields.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise RestFailed(f"EGeneral:Invalid arguments:{name}")
    return text in ("true", "1")


def _content_type(request: RestRequest) -> str:
    return request.headers.get("content-type", _FORM).partition(";")[0].strip().lower()


def _form_fields(body: bytes) -> dict[str, str]:
    try:
        fields = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise RestFailed("EGeneral:Invalid arguments") from None
    return dict(fields)


def _json_fields(body: bytes) -> dict[str, str]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise RestFailed("EGeneral:Invalid arguments") from None
    if not isinstance(value, dict) or len(cast("dict[str, Any]", value)) > _MOST_FIELDS:
        raise RestFailed("EGeneral:Invalid arguments")
    return {name: _text(name, field) for name, field in cast("dict[str, Any]", value).items() if field is not None}


def _text(name: str, value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case list():
            return ",".join(_text(name, part) for part in cast("list[object]", value))
        case _:
            raise RestFailed(f"EGeneral:Invalid arguments:{name}")


def _json(value: Answer, status: int) -> RestResponse:
    return RestResponse(status=status, headers=_HEADERS, body=msgspec.json.encode(value))
