"""Judges whether a loss on a private line is noticed with the message that follows it (I-14).

Most losses heal by themselves, since balances are absolute and sums have to add up; so this is not looked for in what
becomes of an account, but where frames are lost: the venue's faults say when. By the time the next one has come, the
account has to be called stale.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import trio

from kraken_engine.sim.judges.accounts import AccountJudge
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.world import World
from kraken_engine.venue.core.accounts.channels import Listener
from kraken_engine.venue.core.records import FaultRecord

__all__ = ["LOSSES", "GapJudge"]

LOSSES = frozenset({"private_frame_lost", "private_frames_swapped"})
"""Kinds of faults after which a number is missing."""
NOTICED_S = 8.0
"""The longest that the frame which follows may be on its way, and some."""


@attrs.define
class _Loss:
    account: str
    listener: Listener
    at_s: float
    sequence: int
    """Of the venue's last frame when it was lost, or a little later."""
    followed_s: float | None = None


@attrs.define(kw_only=True, eq=False)
class GapJudge:
    """The private lines of one world."""

    world: World
    verdict: Verdict
    _records: list[tuple[FaultRecord, int]] = attrs.field(factory=list[tuple[FaultRecord, int]], init=False)
    """Commands to lose frames, and how often each was seen to."""
    _losses: list[_Loss] = attrs.field(factory=list[_Loss], init=False)

    def commanded(self) -> None:
        """The venue was told just now to lose a frame some time."""
        self._records.append((self.world.exchange.faults.newest(), 0))

    def look(self, judges: Mapping[str, AccountJudge]) -> None:
        """Look at what was lost, and whether it was noticed."""
        for place, (record, seen) in enumerate(self._records):
            if record.hits > seen and record.last_hit_s is not None:
                self._records[place] = record, record.hits
                self._lost(str(record.params["account"]), str(record.params["channel"]), record.last_hit_s)
        self._losses = [loss for loss in self._losses if not self._is_over(loss, judges.get(loss.account))]

    def _lost(self, account: str, channel: str, at_s: float) -> None:
        for listener in self.world.exchange.listeners_to(account):
            if listener.subscription.channel == channel:
                for loss in self._losses:
                    if loss.listener is listener:  # what followed it may be what is lost now
                        loss.sequence, loss.followed_s = listener.sequence, None
                self._losses.append(_Loss(account, listener, at_s, listener.sequence))

    def _is_over(self, loss: _Loss, judge: AccountJudge | None) -> bool:
        """Return whether a loss was noticed, or makes no difference any more."""
        if judge is None or not judge.live or judge.stale_s >= loss.at_s:
            return True
        if not any(listener is loss.listener for listener in self.world.exchange.listeners_to(loss.account)):
            return True
        now = trio.current_time()
        if loss.followed_s is None and loss.listener.sequence > loss.sequence:
            loss.followed_s = now
        if loss.followed_s is not None and now - loss.followed_s > NOTICED_S:
            channel, lost_s = loss.listener.subscription.channel, now - loss.at_s
            what = f"a message of {channel} lost {lost_s:.1f} s ago, and followed by others, is not noticed"
            self.verdict.fail("I-14", f"account {loss.account}: {what}")
        return False
