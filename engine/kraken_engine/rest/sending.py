"""One call on the wire, and its answer as the venue's envelope or as an error.

A public call is a GET; a signed one a POST whose nonce is drawn here, at the moment it leaves, for nonces have to
arrive in the order in which they were drawn. Nothing is queued or repeated here, and nothing decides about the next
call.
"""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, final
from urllib.parse import urlencode

import attrs
import trio

from kraken_engine.codec.rest import Envelope, decode_envelope
from kraken_engine.codec.signing import signed_request
from kraken_engine.control.call_queue import Urgency
from kraken_engine.control.nonce import ClockStepped, Held, NeedsMark, NonceSource
from kraken_engine.control.nonce_guide import NonceGuide
from kraken_engine.errors import DecodeError, EngineError, NonceRejected, NotSent, RestFailed, StoreError
from kraken_engine.rest.operations import Operation
from kraken_engine.rest.verdict import Verdict
from kraken_engine.runtime import Clock
from kraken_engine.secret import ApiKey, redacted
from kraken_engine.wire.https import HttpAnswer, HttpClient

__all__ = ["MemoryMarks", "NonceMarks", "Reply", "Sender", "SignedSender", "UnsignedSender", "forget_frames", "snippet"]

_SNIPPET_CHARACTERS = 100
_LOOKED_AT_BYTES = 4096
_PATIENCE_FOR_TIME_S = 2.0


@attrs.frozen(kw_only=True)
class Reply:
    """The venue's own answer; the venue may still have refused."""

    envelope: Envelope
    received_s: float
    """Monotonic seconds at which it had arrived."""
    took_s: float = 0.0
    """Seconds it took, from when the request was handed over."""
    date_unix_s: int | None = None
    """The second that HTTP names as its date."""


class Sender(Protocol):
    """Puts calls on the wire, one way or the other."""

    async def send(self, what: Operation, fields: Mapping[str, str], *, timeout_s: float) -> Reply:
        """Send one call and return what the venue answered.

        Raises:
            RestFailed: it did not answer; says whether it may have acted.
            NotSent: the mark of the nonces cannot be saved, or not in time.
            DecodeError: the body was none of the venue's.
            NonceRejected: too many nonces were refused lately; nothing was sent.
        """
        ...

    def heard(self, found: Verdict | None, *, reset: bool) -> bool:
        """Learn from what became of an attempt (None: it succeeded); say whether to try again with another nonce."""
        ...


class NonceMarks(Protocol):
    """Where the high-water mark of each key's nonces outlives the process."""

    async def mark(self, fingerprint: str) -> int:
        """Return the mark of a key; 0 if there is none yet."""
        ...

    async def raise_mark(self, fingerprint: str, mark: int) -> None:
        """Return once ``mark`` is durable.

        Raises:
            StoreError: perhaps it is not.
        """
        ...


@final
@attrs.define(eq=False)
class MemoryMarks:
    """Marks that end with the process: for keys of a simulated venue, and for questions asked once."""

    _marks: dict[str, int] = attrs.field(factory=dict[str, int], init=False)

    async def mark(self, fingerprint: str) -> int:
        """Return the mark of a key."""
        return self._marks.get(fingerprint, 0)

    async def raise_mark(self, fingerprint: str, mark: int) -> None:
        """Remember ``mark``."""
        self._marks[fingerprint] = max(mark, self._marks.get(fingerprint, 0))


@final
@attrs.frozen(eq=False)
class UnsignedSender:
    """Sends public calls."""

    http: HttpClient

    async def send(self, what: Operation, fields: Mapping[str, str], *, timeout_s: float) -> Reply:
        """Send one call; see :class:`Sender`."""
        target = f"{what.path}?{urlencode(fields)}" if fields else what.path
        return _reply(what, await self.http.request(what.name, "GET", target, timeout_s=timeout_s))

    def heard(self, found: Verdict | None, *, reset: bool) -> bool:  # noqa: ARG002
        """Learn nothing: there are no nonces."""
        return False


@final
@attrs.define(eq=False)
class SignedSender:
    """Sends calls of one key, which must be one at a time."""

    http: HttpClient
    key: ApiKey = attrs.field(repr=False)
    guide: NonceGuide
    marks: NonceMarks
    clock: Clock
    ask_time: Callable[[], Awaitable[object]]
    """Asks the venue for its time, which the guide's clock of the venue then knows."""
    not_followed: Callable[[ClockStepped], None]
    """Told of a wall clock so far ahead that nonces do not go along; must not wait."""

    @property
    def nonces(self) -> NonceSource:
        """The nonces of the key."""
        return self.guide.nonces

    async def send(self, what: Operation, fields: Mapping[str, str], *, timeout_s: float) -> Reply:
        """Draw a nonce, and send one call; see :class:`Sender`."""
        now = self.clock.now()
        ends_s = now + timeout_s
        if self.guide.has_to_ask(self.clock.wall_ns(), now=now, urgent=what.urgency <= Urgency.CANCEL):
            with trio.move_on_after(_PATIENCE_FOR_TIME_S), contextlib.suppress(EngineError):
                await self.ask_time()
                self.guide.told(now=self.clock.now())
        nonce = await self._nonce(what, timeout_s)
        request = signed_request(what.path, fields, nonce=nonce, key=self.key)
        answer = await self.http.request(
            what.name,
            "POST",
            request.path,
            headers=request.headers,
            body=request.body,
            timeout_s=ends_s - self.clock.now(),
        )
        return _reply(what, answer)

    def heard(self, found: Verdict | None, *, reset: bool) -> bool:
        """Learn whether the nonce was taken; after a refused one, if commanded, go up with them, a few times."""
        if found is None or found.nonce_accepted:
            self.guide.accepted()
            return False
        return self.guide.not_accepted(self.clock.wall_ns(), now=self.clock.now(), reset=reset)

    async def _nonce(self, what: Operation, timeout_s: float) -> int:  # noqa: ASYNC109 - it needs words of its own
        with trio.move_on_after(timeout_s):
            return await self._drawn(what)
        raise NotSent(what.name, f"the mark of its nonces was not saved within {timeout_s:g} s, so nothing is signed")

    async def _drawn(self, what: Operation) -> int:
        while True:
            drawn = self.nonces.next(self.clock.wall_ns(), now=self.clock.now(), urgent=what.urgency <= Urgency.CANCEL)
            step, self.nonces.clock_step = self.nonces.clock_step, None
            if step is not None and not step.followed:
                self.not_followed(step)
            match drawn:
                case int():
                    return drawn
                case NeedsMark(up_to=up_to):
                    await self._raise_mark(what, up_to)
                case Held(wait_s=wait_s):
                    raise NonceRejected(
                        what.name,
                        "nonces of this key were refused again and again: does another program use it?",
                        retryable=False,
                        action="log_and_continue",
                        retry_after_s=wait_s,
                    )

    async def _raise_mark(self, what: Operation, up_to: int) -> None:
        try:
            await self.marks.raise_mark(self.key.fingerprint, up_to)
        except (OSError, StoreError) as error:
            # A nonce above a mark that is not durable could be drawn again after a crash, below one the venue has seen.
            raise NotSent(
                what.name, f"the mark of its nonces cannot be saved, so nothing is signed: {error}"
            ) from error
        self.nonces.marked(up_to)


def forget_frames(error: BaseException) -> None:
    """Take the tracebacks off an error and what caused it: the variables of those frames hold what nobody may see."""
    found: BaseException | None = error
    while found is not None:
        found.__traceback__ = None
        found = found.__cause__ or found.__context__


def snippet(body: bytes) -> str:
    """Return the beginning of a body that is no JSON, fit for a message: no markup, no secrets, one line."""
    text = body[:_LOOKED_AT_BYTES].decode("utf-8", "replace")
    text = _IGNORED.sub(" ", text)
    text = " ".join(html.unescape(_TAG.sub(" ", text)).split())
    text = redacted(text)
    return text if len(text) <= _SNIPPET_CHARACTERS else text[:_SNIPPET_CHARACTERS] + "…"


_IGNORED = re.compile(r"<(script|style)\b.*?(</\1>|\Z)|<!--.*?(-->|\Z)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[^>]*(>|\Z)")


def _reply(what: Operation, answer: HttpAnswer) -> Reply:
    """Return the venue's answer in an HTTP answer.

    The venue says 200 to whatever it refuses; another status means that the request did not reach it, or that something
    in between gave up on the answer. Some such answers still carry its envelope.
    """
    if answer.status == 200:
        return _in(answer, decode_envelope(answer.body))
    try:
        envelope = decode_envelope(answer.body)
    except DecodeError:
        envelope = None
    if envelope is not None and envelope.errors:
        return _in(answer, envelope)
    words = snippet(answer.body)
    raise RestFailed(
        what.name,
        f"expected HTTP 200, got {answer.status}{f': {words}' if words else ''}",
        # 4xx and 3xx come from the edge, which sent the request away. A 5xx may be the end of one that was worked on,
        # and what calls itself a success may well be one.
        maybe_executed=not 300 <= answer.status < 500,
        status=answer.status,
        retry_after_s=answer.retry_after_s,
    )


def _in(answer: HttpAnswer, envelope: Envelope) -> Reply:
    return Reply(envelope=envelope, received_s=answer.received_s, took_s=answer.took_s, date_unix_s=answer.date_unix_s)
