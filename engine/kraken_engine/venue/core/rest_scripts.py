"""Answers that an HTTP client should never get, byte by byte: slow ones, broken ones, bombs and lies.

A *script* is a sequence of bytes to send and seconds to wait; after it the connection ends. Lies are well-formed HTTP
with a body that no venue would send; each of them can be told from the truth, given the documents.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import attrs
import msgspec

from kraken_engine.venue.core.ports import RestResponse

__all__ = ["BREAKS", "LIES", "broken", "html", "lying", "slow"]

_HANG_S = 3_600.0
_ENDLESS_BLOCK = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
_ENDLESS_BLOCKS = 4_096
"""Sixteen MiB of blanks."""
_BOMB_BYTES = 64 * 1024 * 1024
_SLICES = 20
_DIGITS = 5_000

_REASONS = {301: "Moved Permanently", 403: "Forbidden", 429: "Too Many Requests", 500: "Internal Server Error"}


def slow(response: RestResponse, seconds: float, part: str) -> RestResponse:
    """Return an answer whose ``headers`` come late, or whose ``body`` comes in slices, over ``seconds``."""
    head, body = _head(response, len(response.body)), response.body
    if part == "headers":
        return attrs.evolve(response, script=(seconds, head + body))
    size = max(1, -(-len(body) // _SLICES))
    steps: list[bytes | float] = [head]
    for start in range(0, len(body), size):
        steps += [seconds / _SLICES, body[start : start + size]]
    return attrs.evolve(response, script=tuple(steps))


def html(status: int, headers: Mapping[str, str]) -> RestResponse:
    """Return the page of an edge server that did not let the request through."""
    reason = _REASONS.get(status, "Error")
    body = f"<!DOCTYPE html><html><head><title>{status}: {reason}</title></head><body><h1>{reason}</h1></body></html>"
    return RestResponse(status=status, headers={"content-type": "text/html", **headers}, body=body.encode())


def broken(response: RestResponse, kind: str) -> RestResponse:
    """Return an answer that breaks HTTP in one of the ways of ``BREAKS``."""
    return BREAKS[kind](response)


def lying(response: RestResponse, kind: str) -> RestResponse:
    """Return an answer that lies in one of the ways of ``LIES``."""
    return attrs.evolve(response, body=LIES[kind](response.body))


def _head(response: RestResponse, length: int | None, **extra: str) -> bytes:
    headers = {**response.headers, **extra, "connection": "close"}
    if length is not None:
        headers["content-length"] = str(length)
    lines = [f"HTTP/1.1 {response.status} OK", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _half(response: RestResponse) -> bytes:
    return response.body[: max(1, len(response.body) // 2)]


def _chunked(response: RestResponse) -> bytes:
    half = _half(response)
    return _head(response, None, **{"transfer-encoding": "chunked"}) + b"%x\r\n%b\r\n" % (len(half), half)


def _scripted(response: RestResponse, *steps: bytes | float) -> RestResponse:
    return attrs.evolve(response, script=steps)


@functools.cache
def _bomb() -> bytes:
    packer = zlib.compressobj(level=9, wbits=31)
    block = b"0" * 65536
    parts = [packer.compress(b'{"error":[],"result":{"unixtime":1')]
    parts += [packer.compress(block) for _ in range(_BOMB_BYTES // len(block))]
    return b"".join([*parts, packer.compress(b"}}"), packer.flush()])


def _gzip_bomb(response: RestResponse) -> RestResponse:
    return attrs.evolve(response, headers={**response.headers, "content-encoding": "gzip"}, body=_bomb())


BREAKS: Mapping[str, Callable[[RestResponse], RestResponse]] = {
    "truncated": lambda answer: _scripted(answer, _head(answer, len(answer.body)) + _half(answer)),
    "short_length": lambda answer: _scripted(answer, _head(answer, len(_half(answer))) + answer.body),
    "chunk_garbage": lambda answer: _scripted(answer, _chunked(answer) + b"zz\r\nno length of a chunk\r\n"),
    "bad_status_line": lambda answer: _scripted(answer, b"HTTP/9 OK 200\r\n\r\n" + answer.body),
    "endless": lambda answer: _scripted(answer, _chunked(answer), *([_ENDLESS_BLOCK] * _ENDLESS_BLOCKS)),
    "never_ends": lambda answer: _scripted(answer, _head(answer, len(answer.body)) + _half(answer), _HANG_S),
    "no_answer": lambda answer: _scripted(answer, _HANG_S),
    "reset": lambda answer: _scripted(answer, b""),
    "gzip_bomb": _gzip_bomb,
}
"""Ways to break an answer: how much of it arrives, and whether the connection ends."""


def _fields(value: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _parts(value: Any) -> Sequence[Any] | None:
    return cast("Sequence[Any]", value) if isinstance(value, list) else None


def _nested(values: Iterable[Any]) -> bool:
    return any(isinstance(value, (dict, list)) for value in values)


def _with_result(body: bytes, change: Callable[[Any], Any]) -> bytes:
    document = _fields(msgspec.json.decode(body))
    if document is None or "result" not in document:
        return b'{"error":[]}'  # an error has no result to lie about: have it say that all is well
    return msgspec.json.encode({**document, "result": change(document["result"])})


def _other_types(value: Any) -> Any:
    if (fields := _fields(value)) is not None:
        return {name: _other_types(part) for name, part in fields.items()} or [1]
    if (parts := _parts(value)) is not None:
        return {"0": [_other_types(part) for part in parts]}
    return {"text": value} if isinstance(value, str) else [value]


def _less(value: Any) -> Any:
    """Return innermost objects and rows without their last part."""
    if (fields := _fields(value)) is not None:
        if _nested(fields.values()):
            return {name: _less(part) for name, part in fields.items()}
        return dict(list(fields.items())[:-1])
    if (parts := _parts(value)) is not None:
        return [_less(part) for part in parts] if _nested(parts) else parts[:-1]
    return value


def _missing(body: bytes) -> bytes:
    """Return a body that lacks fields; a result that is flat itself is gone as a whole."""
    document = _fields(msgspec.json.decode(body)) or {}
    result = document.get("result")
    nested = _nested((_fields(result) or {}).values()) or _nested(_parts(result) or [])
    return _with_result(body, _less) if nested else b'{"error":[]}'


def _huge(value: Any) -> Any:
    if (fields := _fields(value)) is not None:
        return {name: _huge(part) for name, part in fields.items()}
    if (parts := _parts(value)) is not None:
        return [_huge(part) for part in parts]
    if isinstance(value, str):
        return "9" * _DIGITS + "." + "9" * _DIGITS if value[:1].isdigit() else value
    return value if value is None or isinstance(value, bool) else msgspec.Raw(b"9" * _DIGITS)


LIES: Mapping[str, Callable[[bytes], bytes]] = {
    "wrong_types": lambda body: _with_result(body, _other_types),
    "missing_fields": _missing,
    "huge_digits": lambda body: _with_result(body, _huge),
    "exponent": lambda _: b'{"error":[],"result":1e999999999}',
    "not_a_number": lambda _: b'{"error":[],"result":NaN}',
    "deep": lambda _: b'{"error":[],"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "no_envelope": lambda _: b"[]",
    "error_is_text": lambda _: b'{"error":"EAPI:Invalid key"}',
    "half": lambda body: body[: len(body) // 2],
    "html": lambda _: b"<html><body>All is well.</body></html>",
    "empty": lambda _: b"",
    "not_utf8": lambda _: b'{"error":[],"result":"\xff\xfe"}',
}
"""Ways to lie in a body, each of which can be found out."""
