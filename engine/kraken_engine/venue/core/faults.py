"""Faults on command: each takes effect at a definite point, is logged, and says what it did.

Methods for those in the same process; :meth:`Faults.apply` for a control port that has a name and JSON parameters. No
fault changes what is true in the venue, only what clients get to see of it (``set_status``, ``change_precision`` and
``announce_maintenance`` aside, which are the truth).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from kraken_engine.errors import UsageError
from kraken_engine.venue.core.book_channel import CHECKED
from kraken_engine.venue.core.delivery import DATA_CHANNELS, BookFault, Delivery, Mute
from kraken_engine.venue.core.fault_accounts import AccountFaults
from kraken_engine.venue.core.fault_log import FaultedVenue, Outcome, check_room, nanoseconds
from kraken_engine.venue.core.fault_params import read_params
from kraken_engine.venue.core.fault_rest import RestFaults
from kraken_engine.venue.core.fault_variants import Variants
from kraken_engine.venue.core.listing import Listing
from kraken_engine.venue.core.market import TradingMode
from kraken_engine.venue.core.ports import Abort, Close, Raw, UpgradeRefusal
from kraken_engine.venue.core.records import FaultRecord

__all__ = ["Faults"]

MOST_MORE_DIGITS = 4


@attrs.define(kw_only=True)
class _Armed:
    """A fault that waits for subscriptions, or for upgrades."""

    kind: str
    symbol: str | None
    left: int
    record: FaultRecord
    error: str = ""
    delay_ns: int = 0
    refusal: UpgradeRefusal | None = None


class Faults(Variants, AccountFaults, RestFaults):
    """Makes things go wrong. Every method returns the log entry it made, JSON-ready.

    ``session_id`` None stands for every session, ``symbol`` None for every symbol. An unknown session or symbol and a
    value out of range is a UsageError, and nothing happens.
    """

    def __init__(self, venue: FaultedVenue, listings: Mapping[str, Listing], delivery: Delivery) -> None:
        super().__init__(venue, listings, delivery)
        self._armed: list[_Armed] = []

    def drop_connection(
        self, *, now: float, session_id: int | None = None, mode: str = "abort", code: int = 1001, reason: str = ""
    ) -> Outcome:
        """End connections: ``abort`` drops TCP, ``close`` sends a close frame with ``code`` first."""
        if mode not in ("abort", "close"):
            raise UsageError(f"mode: expected abort or close, got {mode!r}")
        if not 1000 <= code <= 4999:
            raise UsageError(f"code: expected 1000 to 4999, got {code}")
        sessions = self._sessions(session_id, now)
        record = self._record("drop_connection", now, session_id=session_id, mode=mode, code=code, reason=reason)
        for session in sessions:
            session.end(Abort() if mode == "abort" else Close(code, reason))
            record.hit(now)
        return record.as_json()

    def corrupt_checksum(self, symbol: str, *, now: float, session_id: int | None = None) -> Outcome:
        """Give the next book update of ``symbol`` a wrong checksum."""
        return self._break_book("corrupt_checksum", "corrupt", symbol, session_id, now)

    def drop_update(self, symbol: str, *, now: float, session_id: int | None = None) -> Outcome:
        """Lose the next book update of ``symbol``."""
        return self._break_book("drop_update", "drop", symbol, session_id, now)

    def duplicate_update(self, symbol: str, *, now: float, session_id: int | None = None) -> Outcome:
        """Send the next book update of ``symbol`` twice."""
        return self._break_book("duplicate_update", "duplicate", symbol, session_id, now)

    def reorder_updates(self, symbol: str, *, now: float, session_id: int | None = None) -> Outcome:
        """Send the next book update of ``symbol`` after the one that follows it."""
        return self._break_book("reorder_updates", "reorder", symbol, session_id, now)

    def merge_updates(self, symbol: str, *, now: float, session_id: int | None = None) -> Outcome:
        """Send the next book update of ``symbol`` in one message with the one that follows it."""
        return self._break_book("merge_updates", "merge", symbol, session_id, now)

    def falsify_level(self, symbol: str, *, now: float, session_id: int | None = None) -> Outcome:
        """Tell a wrong quantity of the eleventh bid of ``symbol``, which no checksum covers, at once."""
        self._check_symbol(symbol)
        sessions = self._sessions(session_id, now)
        record = self._record("falsify_level", now, symbol=symbol, session_id=session_id)
        listing = self._listings[symbol]
        payload = listing.book.wrong_level()
        deep = listing.book_subscribers(deeper_than=CHECKED)
        for session in sessions:
            if payload is not None and session.id in deep:
                self._delivery.tell(session, "book", payload, symbol)
                record.hit(now)
        return record.as_json()

    def change_precision(self, symbol: str, *, now: float, price: int = 0, qty: int = 0) -> Outcome:
        """Let ``symbol`` have so many digits more than listed, which ends a change made before when both are 0.

        The instrument channel tells it first, then the books are written so.
        """
        self._check_symbol(symbol)
        for name, digits in (("price", price), ("qty", qty)):
            if not 0 <= digits <= MOST_MORE_DIGITS:
                raise UsageError(f"{name}: expected 0 to {MOST_MORE_DIGITS} more digits, got {digits}")
        self._venue.advance(now)
        record = self._record("change_precision", now, symbol=symbol, price=price, qty=qty)
        record.hit(now, self._venue.change_precision(symbol, price, qty))
        return record.as_json()

    def silence(
        self,
        *,
        now: float,
        seconds: float,
        session_id: int | None = None,
        channel: str | None = None,
        symbol: str | None = None,
        kind: str = "all",
    ) -> Outcome:
        """Lose every frame that matches, for ``seconds``.

        ``kind`` ``all`` includes heartbeats (channel ``heartbeat``), answers (``reply``) and ``status``; ``data`` only
        the market data channels. The connection stays up.
        """
        channels = (*DATA_CHANNELS, "heartbeat", "reply", "status")
        if channel is not None and channel not in channels:
            raise UsageError(f"channel: expected one of {', '.join(channels)}, got {channel!r}")
        if kind not in ("all", "data"):
            raise UsageError(f"kind: expected all or data, got {kind!r}")
        lasts_ns = nanoseconds(seconds)
        self._sessions(session_id, now)
        if symbol is not None:
            self._check_symbol(symbol)
        check_room(len(self._delivery.mutes))
        record = self._record(
            "silence", now, seconds=seconds, session_id=session_id, channel=channel, symbol=symbol, kind=kind
        )
        record.until_s = now + seconds
        mute = Mute(record=record, session_id=session_id, channel=channel, symbol=symbol, data_only=kind == "data")
        self._delivery.mutes.append(mute)
        self._venue.at(self._venue.elapsed_ns(now) + lasts_ns, lambda _: self._delivery.unmute(mute))
        return record.as_json()

    def set_status(self, mode: str, *, now: float) -> Outcome:
        """Change the state of the venue; every session is told."""
        known = [known.value for known in TradingMode]
        if mode not in known:
            raise UsageError(f"mode: expected one of {', '.join(known)}, got {mode!r}")
        self._venue.advance(now)
        record = self._record("set_status", now, mode=mode)
        record.hit(now, self._venue.set_mode(TradingMode(mode)))
        return record.as_json()

    def refuse_upgrade(
        self, *, now: float, status: int, retry_after: int | None = None, location: str | None = None, times: int = 1
    ) -> Outcome:
        """Answer the next ``times`` WebSocket upgrades with the HTTP ``status``, as the venue's edge does.

        ``retry_after`` (seconds) and ``location`` become headers.
        """
        if not 200 <= status <= 599:
            raise UsageError(f"status: expected 200 to 599, got {status}")
        if retry_after is not None and retry_after < 0:
            raise UsageError(f"retry_after: expected 0 or more, got {retry_after}")
        if location is not None and not (location.isascii() and location.isprintable()):
            raise UsageError(f"location: expected printable ASCII, got {location!r}")
        self._check_times(times, None)
        check_room(len(self._armed))
        record = self._record(
            "refuse_upgrade", now, status=status, retry_after=retry_after, location=location, times=times
        )
        headers = {"retry-after": None if retry_after is None else str(retry_after), "location": location}
        refusal = UpgradeRefusal(
            status=status, headers={name: value for name, value in headers.items() if value is not None}
        )
        self._armed.append(_Armed(kind="upgrade", symbol=None, left=times, record=record, refusal=refusal))
        return record.as_json()

    def refuse_subscriptions(
        self, *, now: float, symbol: str | None = None, error: str = "Exceeded msg rate", times: int = 1
    ) -> Outcome:
        """Answer the next ``times`` subscriptions of ``symbol`` with ``error``."""
        self._check_times(times, symbol)
        check_room(len(self._armed))
        record = self._record("refuse_subscriptions", now, symbol=symbol, error=error, times=times)
        self._armed.append(_Armed(kind="refuse", symbol=symbol, left=times, record=record, error=error))
        return record.as_json()

    def ignore_subscriptions(self, *, now: float, times: int = 1, symbol: str | None = None) -> Outcome:
        """Do not answer the next ``times`` subscriptions (one per symbol) at all."""
        self._check_times(times, symbol)
        check_room(len(self._armed))
        record = self._record("ignore_subscriptions", now, times=times, symbol=symbol)
        self._armed.append(_Armed(kind="ignore", symbol=symbol, left=times, record=record))
        return record.as_json()

    def delay_snapshot(self, symbol: str, *, now: float, seconds: float) -> Outcome:
        """Hold back the snapshot of the next book subscription of ``symbol``; its updates wait as well."""
        self._check_symbol(symbol)
        delay_ns = nanoseconds(seconds)
        check_room(len(self._armed))
        record = self._record("delay_snapshot", now, symbol=symbol, seconds=seconds)
        self._armed.append(_Armed(kind="delay", symbol=symbol, left=1, record=record, delay_ns=delay_ns))
        return record.as_json()

    def send_text(self, data: bytes, *, now: float, session_id: int | None = None) -> Outcome:
        """Send a text frame of any content."""
        return self._inject("send_text", data, data, session_id, now)

    def send_raw(self, data: bytes, *, now: float, session_id: int | None = None) -> Outcome:
        """Put bytes on the wire below the framing."""
        return self._inject("send_raw", data, Raw(data), session_id, now)

    def end_all(self, *, now: float) -> None:
        """End every fault that lasts or waits for its moment, and open the venue for trading again."""
        self._venue.advance(now)
        self._armed.clear()
        self._delivery.heal()
        self.heal_accounts()
        self.heal_rest()
        self.call_off_maintenance()
        self.set_status(TradingMode.ONLINE.value, now=now)

    def apply(self, name: str, params: Mapping[str, object], now: float) -> Outcome:
        """Do what a control port asks: ``name`` is a method of this class, ``params`` its JSON arguments.

        Raises:
            UsageError: unknown name, unknown or missing or wrong parameter; the message lists what there is.
        """
        arguments = read_params(name, params)
        command: Callable[..., Outcome] = getattr(self, name)
        return command(now=now, **arguments)

    # What the WebSocket server asks for each upgrade, and the gateway while a subscription is made.

    def upgrade_refusal(self) -> UpgradeRefusal | None:
        """Return how this upgrade is refused."""
        armed = self._take("upgrade", None)
        return None if armed is None else armed.refusal

    def ignores(self, symbol: str | None) -> bool:
        """Return whether this subscription gets no answer at all."""
        return self._take("ignore", symbol) is not None

    def refuses(self, symbol: str | None) -> str | None:
        """Return the words with which this subscription is refused."""
        armed = self._take("refuse", symbol)
        return None if armed is None else armed.error

    def snapshot_delay_ns(self, symbol: str | None) -> int:
        """Return how long the snapshot of this book is held back."""
        armed = self._take("delay", symbol)
        return 0 if armed is None else armed.delay_ns

    def _take(self, kind: str, symbol: str | None) -> _Armed | None:
        for place, armed in enumerate(self._armed):
            if armed.kind == kind and armed.symbol in (None, symbol):
                armed.left -= 1
                armed.record.hit(self._venue.now_s())
                if not armed.left:
                    del self._armed[place]
                return armed
        return None

    def _break_book(self, name: str, kind: str, symbol: str, session_id: int | None, now: float) -> Outcome:
        self._check_symbol(symbol)
        self._sessions(session_id, now)
        check_room(self._delivery.waiting_book_faults())
        record = self._record(name, now, symbol=symbol, session_id=session_id)
        listing = self._listings[symbol]
        targets = dict.fromkeys(listing.book_subscribers() if session_id is None else [session_id])
        self._delivery.arm(symbol, BookFault(kind=kind, record=record, targets=targets or None))
        return record.as_json()

    def _inject(self, name: str, data: bytes, out: bytes | Raw, session_id: int | None, now: float) -> Outcome:
        sessions = self._sessions(session_id, now)
        record = self._record(name, now, session_id=session_id, size=len(data))
        for session in sessions:
            session.send(out)
            record.hit(now)
        return record.as_json()

    def _check_times(self, times: int, symbol: str | None) -> None:
        if times < 1:
            raise UsageError(f"times: expected 1 or more, got {times}")
        if symbol is not None:
            self._check_symbol(symbol)
