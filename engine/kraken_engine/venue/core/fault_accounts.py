"""Faults of the private side: keys, nonces, tokens, and what listeners to an account are told.

Frames are lost, doubled or swapped on their way, and numbered before: a client can see that something is amiss. One
that is withheld is not numbered, and only who asks finds out. What is true of keys and tokens changes for as long as a
fault lasts; ``end_all`` gives keys back what they had.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kraken_engine.errors import UsageError
from kraken_engine.venue.core.accounts.access import ApiKey
from kraken_engine.venue.core.accounts.channels import Listener
from kraken_engine.venue.core.accounts.settings import PERMISSIONS
from kraken_engine.venue.core.delivery import Delivery
from kraken_engine.venue.core.fault_log import FaultedVenue, FaultLog, Outcome, check_room, nanoseconds
from kraken_engine.venue.core.listing import Listing
from kraken_engine.venue.core.ports import Abort, Close
from kraken_engine.venue.core.records import FaultRecord

__all__ = ["AccountFaults"]

CHANNELS = ("executions", "balances")

MOST_TIMES = 1_000_000


@attrs.define(kw_only=True)
class _Armed:
    """A fault that waits for frames, or for subscriptions."""

    kind: str
    account: str | None
    channel: str | None
    left: int
    record: FaultRecord
    error: str = ""
    delay_ns: int = 0

    def matches(self, kind: str, account: str, channel: str) -> bool:
        return self.kind == kind and self.account in (None, account) and self.channel in (None, channel)


class AccountFaults(FaultLog):
    """The commands of this kind; they read as those of ``Faults``. ``account`` None stands for every account."""

    def __init__(self, venue: FaultedVenue, listings: Mapping[str, Listing], delivery: Delivery) -> None:
        super().__init__(venue, listings, delivery)
        self._private: list[_Armed] = []
        self._held: dict[Listener, bytes] = {}

    def drop_private_frame(
        self, *, now: float, channel: str = "executions", account: str | None = None, times: int = 1
    ) -> Outcome:
        """Lose the next ``times`` updates of a private channel."""
        return self._arm_private(
            "drop", now=now, name="drop_private_frame", account=account, channel=channel, times=times
        )

    def withhold_private_frame(
        self, *, now: float, channel: str = "balances", account: str | None = None, times: int = 1
    ) -> Outcome:
        """Never make the next ``times`` updates of a private channel: no number is missing, and no listener can see."""
        return self._arm_private(
            "withhold", now=now, name="withhold_private_frame", account=account, channel=channel, times=times
        )

    def duplicate_private_frame(
        self, *, now: float, channel: str = "executions", account: str | None = None, times: int = 1
    ) -> Outcome:
        """Send the next ``times`` updates of a private channel twice."""
        return self._arm_private(
            "duplicate", now=now, name="duplicate_private_frame", account=account, channel=channel, times=times
        )

    def reorder_private_frames(
        self, *, now: float, channel: str = "executions", account: str | None = None, times: int = 1
    ) -> Outcome:
        """Send each of the next ``times`` updates of a private channel after the one that follows it."""
        return self._arm_private(
            "reorder", now=now, name="reorder_private_frames", account=account, channel=channel, times=times
        )

    def delay_private_snapshot(
        self, *, now: float, seconds: float, channel: str = "executions", account: str | None = None
    ) -> Outcome:
        """Hold back the snapshot of the next subscription of a private channel; its updates wait as well."""
        delay_ns = nanoseconds(seconds)
        self._check_private(account, channel, 1)
        record = self._record("delay_private_snapshot", now, seconds=seconds, channel=channel, account=account)
        self._private.append(
            _Armed(kind="delay", account=account, channel=channel, left=1, record=record, delay_ns=delay_ns)
        )
        return record.as_json()

    def refuse_private_subscriptions(
        self, *, now: float, error: str = "ESession:Invalid session", account: str | None = None, times: int = 1
    ) -> Outcome:
        """Answer the next ``times`` private subscriptions with ``error``, though their token is good."""
        self._check_private(account, None, times)
        record = self._record("refuse_private_subscriptions", now, error=error, account=account, times=times)
        self._private.append(
            _Armed(kind="refuse", account=account, channel=None, left=times, record=record, error=error)
        )
        return record.as_json()

    def revoke_tokens(self, *, now: float, account: str | None = None, mode: str = "keep") -> Outcome:
        """Make every token worthless; sessions that hold one go on (``keep``), or are closed with 1008 (``close``)."""
        if mode not in ("keep", "close"):
            raise UsageError(f"mode: expected keep or close, got {mode!r}")
        self._venue.advance(now)
        names = self._accounts_named(account)
        record = self._record("revoke_tokens", now, account=account, mode=mode)
        for name in names:
            held = self._venue.accounts.tokens.revoke(name)
            record.hit(now)
            for session_id in held if mode == "close" else ():
                if session_id in self._venue.sessions:
                    self._venue.sessions[session_id].end(Close(1008, "session revoked"))
        return record.as_json()

    def cut_private_line(self, *, now: float, account: str | None = None, mode: str = "abort") -> Outcome:
        """End the connections that listen to an account: ``abort`` drops TCP, ``close`` says 1001 first."""
        if mode not in ("abort", "close"):
            raise UsageError(f"mode: expected abort or close, got {mode!r}")
        self._venue.advance(now)
        names = self._accounts_named(account)
        record = self._record("cut_private_line", now, account=account, mode=mode)
        for session_id in dict.fromkeys(one.session.id for name in names for one in self._venue.listeners_to(name)):
            self._venue.sessions[session_id].end(Abort() if mode == "abort" else Close(1001))
            record.hit(now)
        return record.as_json()

    def delete_key(self, *, now: float, account: str | None = None) -> Outcome:
        """Delete every key of an account, and its tokens with them."""
        record, keys = self._about_keys("delete_key", now, account)
        for key in keys:
            key.deleted = True
            self._venue.accounts.tokens.revoke(key.account)
            record.hit(now)
        return record.as_json()

    def drop_permission(self, permission: str, *, now: float, account: str | None = None) -> Outcome:
        """Take a permission away from every key of an account."""
        if permission not in PERMISSIONS:
            raise UsageError(f"permission: expected one of {', '.join(PERMISSIONS)}, got {permission!r}")
        record, keys = self._about_keys("drop_permission", now, account, permission=permission)
        for key in keys:
            key.permissions.discard(permission)
            record.hit(now)
        return record.as_json()

    def lock_out(self, *, now: float, seconds: float = 900.0, account: str | None = None) -> Outcome:
        """Lock every key of an account out for ``seconds``."""
        lasts_ns = nanoseconds(seconds)
        record, keys = self._about_keys("lock_out", now, account, seconds=seconds)
        record.until_s = now + seconds
        for key in keys:
            key.lock_out(self._venue.wall_ns() + lasts_ns)
            record.hit(now)
        return record.as_json()

    def take_nonce(self, *, now: float, ahead: float = 1.0, account: str | None = None) -> Outcome:
        """Use the keys of an account as another process would: with a nonce of ``ahead`` seconds from now, in ns."""
        ahead_ns = nanoseconds(ahead)
        record, keys = self._about_keys("take_nonce", now, account, ahead=ahead)
        for key in keys:
            key.last_nonce = max(key.last_nonce, self._venue.wall_ns()) + ahead_ns
            record.hit(now)
        return record.as_json()

    def heal_accounts(self) -> None:
        """End what waits, and give keys back what they had; tokens and nonces that are gone stay gone."""
        self._private.clear()
        self._held.clear()
        self.restore_keys()
        for key in self._venue.accounts.api_keys.values():
            key.locked_until_ns = -1

    def restore_keys(self, account: str | None = None) -> None:
        """Give the keys of an account back what they may, and themselves."""
        for name in self._accounts_named(account):
            for key in self._venue.accounts.keys_of(name):
                key.deleted = False
                key.permissions = set(key.settings.permissions)

    # What the private gateway asks while a subscription is made, and the channels for each frame.

    def private_delay_ns(self, account: str, channel: str) -> int:
        """Return how long the snapshot of this subscription is held back."""
        armed = self._take_private("delay", account, channel)
        return 0 if armed is None else armed.delay_ns

    def refuses_private(self, account: str, channel: str) -> str | None:
        """Return the words with which this subscription is refused."""
        armed = self._take_private("refuse", account, channel)
        return None if armed is None else armed.error

    def withholds(self, listener: Listener) -> bool:
        """Return whether this update is never made for a listener."""
        if not self._private:
            return False
        return self._take_private("withhold", listener.account.name, listener.subscription.channel) is not None

    def way(self, listener: Listener, payload: bytes) -> list[bytes]:
        """Return what a listener gets instead of an update."""
        held = self._held.pop(listener, None)
        if held is not None:
            return [payload, held]
        if not self._private:
            return [payload]
        account, channel = listener.account.name, listener.subscription.channel
        if self._take_private("drop", account, channel) is not None:
            return []
        if self._take_private("duplicate", account, channel) is not None:
            return [payload, payload]
        if self._take_private("reorder", account, channel) is not None:
            self._held[listener] = payload
            return []
        return [payload]

    def forget_listener(self, listener: Listener) -> None:
        """Hold back nothing any more for a listener that is gone."""
        self._held.pop(listener, None)

    def _arm_private(
        self, kind: str, *, now: float, name: str, account: str | None, channel: str, times: int
    ) -> Outcome:
        self._check_private(account, channel, times)
        record = self._record(name, now, channel=channel, account=account, times=times)
        self._private.append(_Armed(kind=kind, account=account, channel=channel, left=times, record=record))
        return record.as_json()

    def _take_private(self, kind: str, account: str, channel: str) -> _Armed | None:
        for place, armed in enumerate(self._private):
            if armed.matches(kind, account, channel):
                armed.left -= 1
                armed.record.hit(self._venue.now_s())
                if not armed.left:
                    del self._private[place]
                return armed
        return None

    def _about_keys(
        self, name: str, now: float, account: str | None, **params: object
    ) -> tuple[FaultRecord, list[ApiKey]]:
        self._venue.advance(now)
        names = self._accounts_named(account)
        keys = [key for name in names for key in self._venue.accounts.keys_of(name)]
        return self._record(name, now, account=account, **params), keys

    def _accounts_named(self, account: str | None) -> list[str]:
        accounts = self._venue.accounts
        return list(accounts) if account is None else [accounts.named(account).name]

    def _check_private(self, account: str | None, channel: str | None, times: int) -> None:
        self._accounts_named(account)
        if channel is not None and channel not in CHANNELS:
            raise UsageError(f"channel: expected one of {', '.join(CHANNELS)}, got {channel!r}")
        if not 1 <= times <= MOST_TIMES:
            raise UsageError(f"times: expected 1 to {MOST_TIMES}, got {times}")
        check_room(len(self._private))
