"""Whether the balances kept from the stream are those REST tells of, without accusing anybody of what is on its way.

An answer of ``BalanceEx`` speaks of some moment between the question, less how far REST may be behind, and the answer,
plus how long an update may be on its way (both ``rest_lag_s``). So it is compared with everything that was shown in
that window: a value that was shown at any time in it is explained. What is not explained is suspected, and asked about
once more; what the next answer does not explain either is wrong, and only a fresh snapshot helps.

A difference that a fresh snapshot leaves as it was is no loss of ours: it is told, and left alone until it changes.
Else what the venue counts differently would cost a snapshot with every check.

Knows nothing of tasks, REST, and what makes a balance change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from kraken_engine.model import minus, plus
from kraken_engine.normalise.account_events import BalanceUpdate
from kraken_engine.normalise.rest_account import AssetBalance
from kraken_engine.state.balances import Difference, hold_tolerance

__all__ = ["BalanceCheck", "Finding"]

_ZERO = Decimal(0)


@attrs.frozen(kw_only=True)
class Finding:
    """What came of one answer."""

    suspected: tuple[Difference, ...] = ()
    """Not explained by this answer: ask once more."""
    wrong: tuple[Difference, ...] = ()
    """Not explained by two answers in a row: a fresh snapshot is needed."""
    unhealed: tuple[Difference, ...] = ()
    """As it was before the fresh snapshot: the venue counts differently, or is wrong itself."""


@attrs.frozen
class _Shown:
    total: Decimal
    used: Decimal


@attrs.define
class _Window:
    shown: dict[str, list[_Shown]]
    orders: int
    """Most open orders there were: the venue rounds what each of them holds."""
    answer: Mapping[str, AssetBalance] | None = None


@attrs.define
class BalanceCheck:
    """Compares the balances of one account with answers of ``BalanceEx``."""

    lag_s: float = 3.0
    compared: int = attrs.field(default=0, init=False)
    """Answers that were compared."""
    found: int = attrs.field(default=0, init=False)
    """Differences that two answers in a row confirmed."""
    _last: dict[str, _Shown] = attrs.field(factory=dict[str, _Shown], init=False)
    _recent: deque[tuple[float, str, _Shown]] = attrs.field(factory=deque["tuple[float, str, _Shown]"], init=False)
    """What was shown until when."""
    _window: _Window | None = attrs.field(default=None, init=False)
    _suspects: frozenset[tuple[str, str]] = attrs.field(default=frozenset(), init=False)
    _accused: dict[tuple[str, str], Decimal] = attrs.field(factory=dict[tuple[str, str], Decimal], init=False)
    """By how much that was off for which a fresh snapshot was asked for."""
    _told: frozenset[tuple[str, str]] = attrs.field(default=frozenset(), init=False)
    """What is known to differ for good."""

    def note(self, update: BalanceUpdate, *, now: float) -> None:
        """Take note of what is shown from ``now`` on."""
        shown = _Shown(update.total, update.used)
        before = self._last.get(update.asset, _Shown(_ZERO, _ZERO))
        self._last[update.asset] = shown
        if self._window is not None:
            self._window.shown.setdefault(update.asset, [before]).append(shown)
        self._recent.append((now, update.asset, before))
        while self._recent[0][0] < now - self.lag_s and self._window is None:
            self._recent.popleft()

    def begin(self, balances: Mapping[str, BalanceUpdate], *, orders: int, now: float) -> None:
        """Note that REST is about to be asked, while ``balances`` are shown and so many orders are open."""
        shown = {asset: [_Shown(update.total, update.used)] for asset, update in balances.items()}
        for until, asset, before in self._recent:
            if until >= now - self.lag_s:
                shown.setdefault(asset, [_Shown(_ZERO, _ZERO)]).append(before)
        self._window = _Window(shown, orders)

    def answered(self, answer: Mapping[str, AssetBalance]) -> None:
        """Take the answer; what it means is decided by :meth:`settle`, ``lag_s`` later."""
        if self._window is not None:
            self._window.answer = answer

    def abandon(self) -> None:
        """Forget the question: the account is not in step, and nothing it shows counts."""
        self._window = None
        self._suspects = frozenset()

    def settle(self, *, orders: int) -> Finding | None:
        """Compare; None: there is nothing to compare."""
        window, self._window = self._window, None
        if window is None or window.answer is None:
            return None
        self.compared += 1
        differing = {
            (difference.asset, difference.what): difference
            for difference in _unexplained(window, window.answer, orders=max(orders, window.orders))
        }
        for place in [place for place in self._accused if place not in differing]:
            del self._accused[place]
        self._told = self._told & differing.keys()
        unhealed = {
            place
            for place, difference in differing.items()
            if self._accused.get(place) == minus(difference.theirs, difference.ours)
        }
        news, self._told = unhealed - self._told, self._told | unhealed
        open_questions = [difference for place, difference in differing.items() if place not in unhealed]
        wrong = tuple(d for d in open_questions if (d.asset, d.what) in self._suspects)
        suspected = tuple(d for d in open_questions if d not in wrong)
        self._suspects = frozenset((d.asset, d.what) for d in suspected)
        self.found += len(wrong)
        self._accused |= {(d.asset, d.what): minus(d.theirs, d.ours) for d in wrong}
        return Finding(
            suspected=suspected, wrong=wrong, unhealed=tuple(differing[place] for place in differing if place in news)
        )


def _unexplained(window: _Window, answer: Mapping[str, AssetBalance], *, orders: int) -> Iterable[Difference]:
    for asset in sorted({*window.shown, *(name.partition(".")[0] for name in answer)}):
        shown = window.shown.get(asset, [_Shown(_ZERO, _ZERO)])
        theirs = answer.get(asset)
        total = _ZERO if theirs is None else theirs.total
        # REST lists wallets that cannot be traded from beside the asset (``ATOM.S``); the stream adds them up.
        whole = total
        for name, wallet in answer.items():
            if name != asset and name.partition(".")[0] == asset:
                whole = plus(whole, wallet.total)
        if not any(one.total in (total, whole) for one in shown):
            yield Difference(asset=asset, what="total", ours=shown[-1].total, theirs=whole)
        used = _ZERO if theirs is None else theirs.held
        room = hold_tolerance(used, orders)
        if not any(abs(minus(one.used, used)) <= room for one in shown):
            yield Difference(asset=asset, what="used", ours=shown[-1].used, theirs=used)
