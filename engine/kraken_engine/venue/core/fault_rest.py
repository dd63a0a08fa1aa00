"""Faults of the REST side: refusals in the venue's words, pages of its edge, answers that are late, broken or untrue.

Each waits for requests whose path begins with ``path``, and hits the next ``times`` of them. ``executed`` says whether
the request is carried out all the same; then only the answer is lost, as when a connection breaks on the way back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from kraken_engine.errors import UsageError
from kraken_engine.venue.core.delivery import Delivery
from kraken_engine.venue.core.fault_log import FaultedVenue, FaultLog, Outcome, check_room, nanoseconds
from kraken_engine.venue.core.listing import Listing
from kraken_engine.venue.core.ports import RestRequest, RestResponse
from kraken_engine.venue.core.records import FaultRecord
from kraken_engine.venue.core.rest_form import failure
from kraken_engine.venue.core.rest_scripts import BREAKS, LIES, broken, html, lying, slow
from kraken_engine.venue.core.timestamps import NS_PER_S

__all__ = ["RestFaults"]

EVERYTHING = "/0/"
PRIVATE = "/0/private/"

MOST_TIMES = 1_000_000

_Answer = Callable[[], RestResponse]


@attrs.define(kw_only=True)
class _Armed:
    path: str
    left: int
    record: FaultRecord
    change: Callable[[_Answer], RestResponse]
    """Makes the answer; calls its argument to have the request carried out."""


class RestFaults(FaultLog):
    """The commands of this kind; they read as those of ``Faults``."""

    def __init__(self, venue: FaultedVenue, listings: Mapping[str, Listing], delivery: Delivery) -> None:
        super().__init__(venue, listings, delivery)
        self._rest: list[_Armed] = []

    def rest_error(
        self, error: str, *, now: float, path: str = EVERYTHING, times: int = 1, executed: bool = False
    ) -> Outcome:
        """Answer with the words ``error``: any of the venue's, such as ``EService:Unavailable``."""
        return self._arm_rest(
            "rest_error", now, path, times, _instead(failure(error), executed), error=error, executed=executed
        )

    def refuse_nonce(self, *, now: float, times: int = 1) -> Outcome:
        """Answer private calls with ``EAPI:Invalid nonce``, whatever their nonce; for good with a large ``times``."""
        change = _instead(failure("EAPI:Invalid nonce"), executed=False)
        return self._arm_rest("refuse_nonce", now, PRIVATE, times, change)

    def throttle(self, *, now: float, seconds: float, path: str = EVERYTHING, times: int = 1) -> Outcome:
        """Answer with ``EService: Throttled:`` and the second from which on it may be tried again."""
        wait_ns = nanoseconds(seconds)

        def change(_: _Answer) -> RestResponse:
            return failure(f"EService: Throttled: {-(-(self._venue.wall_ns() + wait_ns) // NS_PER_S)}")

        return self._arm_rest("throttle", now, path, times, change, seconds=seconds)

    def rest_status(
        self,
        status: int,
        *,
        now: float,
        path: str = EVERYTHING,
        times: int = 1,
        retry_after: int | None = None,
        location: str | None = None,
        executed: bool = False,
    ) -> Outcome:
        """Answer with an HTTP status and a page, as the venue's edge does."""
        if not 300 <= status <= 599:
            raise UsageError(f"status: expected 300 to 599, got {status}")
        if location is not None and not (location.isascii() and location.isprintable()):
            raise UsageError(f"location: expected printable ASCII, got {location!r}")
        headers = {"retry-after": None if retry_after is None else str(retry_after), "location": location}
        page = html(status, {name: value for name, value in headers.items() if value is not None})
        return self._arm_rest(
            "rest_status",
            now,
            path,
            times,
            _instead(page, executed),
            status=status,
            retry_after=retry_after,
            location=location,
            executed=executed,
        )

    def rest_slow(
        self, *, now: float, seconds: float, part: str = "headers", path: str = EVERYTHING, times: int = 1
    ) -> Outcome:
        """Answer truly, but let the ``headers`` or the ``body`` take ``seconds``."""
        if part not in ("headers", "body"):
            raise UsageError(f"part: expected headers or body, got {part!r}")
        nanoseconds(seconds)
        return self._arm_rest(
            "rest_slow", now, path, times, lambda answer: slow(answer(), seconds, part), seconds=seconds, part=part
        )

    def rest_break(self, kind: str, *, now: float, path: str = EVERYTHING, times: int = 1) -> Outcome:
        """Carry the request out, and break the answer: see ``rest_scripts.BREAKS`` for the kinds."""
        if kind not in BREAKS:
            raise UsageError(f"kind: expected one of {', '.join(BREAKS)}, got {kind!r}")
        return self._arm_rest("rest_break", now, path, times, lambda answer: broken(answer(), kind), kind=kind)

    def rest_lie(self, kind: str, *, now: float, path: str = EVERYTHING, times: int = 1) -> Outcome:
        """Carry the request out, and put something untrue into the answer: see ``rest_scripts.LIES`` for the kinds."""
        if kind not in LIES:
            raise UsageError(f"kind: expected one of {', '.join(LIES)}, got {kind!r}")
        return self._arm_rest("rest_lie", now, path, times, lambda answer: lying(answer(), kind), kind=kind)

    def on_rest(self, request: RestRequest, answer: _Answer) -> RestResponse:
        """Answer a request; ``answer`` carries it out and returns the true answer."""
        for place, armed in enumerate(self._rest):
            if request.path.startswith(armed.path):
                armed.left -= 1
                armed.record.hit(self._venue.now_s())
                if not armed.left:
                    del self._rest[place]
                return armed.change(answer)
        return answer()

    def heal_rest(self) -> None:
        """End every fault that waits for requests."""
        self._rest.clear()

    def _arm_rest(
        self,
        name: str,
        now: float,
        path: str,
        times: int,
        change: Callable[[_Answer], RestResponse],
        **params: object,
    ) -> Outcome:
        if not path.startswith("/"):
            raise UsageError(f"path: expected one such as {PRIVATE}Balance, got {path!r}")
        if not 1 <= times <= MOST_TIMES:
            raise UsageError(f"times: expected 1 to {MOST_TIMES}, got {times}")
        check_room(len(self._rest))
        self._venue.advance(now)
        record = self._record(name, now, path=path, times=times, **params)
        self._rest.append(_Armed(path=path, left=times, record=record, change=change))
        return record.as_json()


def _instead(response: RestResponse, executed: bool) -> Callable[[_Answer], RestResponse]:
    def change(answer: _Answer) -> RestResponse:
        if executed:
            answer()
        return response

    return change
