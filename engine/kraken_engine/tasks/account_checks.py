"""Two tasks that ask REST about a live account: what positions it has, and whether its balances are what they seem.

Nobody waits for either. They ask nothing while the account is not live or the breaker of its key is open, and the
regular comparisons are the least urgent calls there are. What an answer means is decided by
:mod:`~kraken_engine.state.positions` and :mod:`~kraken_engine.state.balance_check`; here it is carried out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

import attrs
import trio

from kraken_engine.config import ReconciliationSettings
from kraken_engine.errors import EngineError
from kraken_engine.model import Instrument
from kraken_engine.normalise.account_events import AccountDiffers, AccountStale, BalanceUpdate
from kraken_engine.rest.operations import Group
from kraken_engine.rest.private import PrivateRest
from kraken_engine.runtime import Clock
from kraken_engine.state.account_sync import AccountAction, AccountSync, Tell
from kraken_engine.state.balance_check import BalanceCheck
from kraken_engine.state.balances import Difference
from kraken_engine.state.position_lots import open_lots

__all__ = ["AccountChecks"]

_QUIET_WAITS = 5
"""A question about positions waits for a time without fills on margin, but not more often than that."""
_MOST_SHOWN = 3


@attrs.define(eq=False, kw_only=True)
class AccountChecks:
    """The questions that are asked of one account's REST of our own accord."""

    sync: AccountSync
    rest: PrivateRest
    clock: Clock
    instruments: Mapping[str, Instrument]
    settings: ReconciliationSettings
    act: Callable[[Iterable[AccountAction]], None]
    """Carries out what the state decided."""
    next_live: Callable[[], Awaitable[None]]
    """Returns when the account becomes live the next time."""
    wait_live: Callable[[], Awaitable[None]]
    """Returns when the account is live; at once if it is."""
    balances: BalanceCheck = attrs.field(init=False)
    positions_known: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set once an answer about positions was put together with the fills."""

    def __attrs_post_init__(self) -> None:
        self.balances = BalanceCheck(self.settings.rest_lag_s)

    def told(self, event: object) -> None:
        """Take note of what readers are told."""
        if isinstance(event, BalanceUpdate):
            self.balances.note(event, now=self.clock.now())
        elif isinstance(event, AccountStale):
            self.balances.abandon()

    # -- positions

    async def run_positions(self) -> None:
        """Find out what is open on margin: when the account becomes live, until it is known; then look regularly."""
        positions = self.sync.positions
        while True:
            await self.wait_live()
            if positions.wanted or positions.in_play:
                asked = await self._ask_positions(Group.INITIAL_SNAPSHOT if positions.wanted else Group.CONSISTENCY)
                if asked and positions.wanted and self.sync.may_trade:
                    continue
            with trio.move_on_after(self.settings.check_every_s):
                await self.next_live()

    async def _ask_positions(self, group: Group) -> bool:
        """Ask once; return whether the answer was put together with the fills."""
        positions, lag_s = self.sync.positions, self.settings.rest_lag_s
        for _ in range(_QUIET_WAITS):
            noisy_s = positions.last_fill_s + lag_s - self.clock.now()
            if noisy_s <= 0:
                break
            await trio.sleep(noisy_s)
        if self.rest.breaker_is_open:
            positions.failed("the circuit breaker of the key is open")
            return False
        positions.begin(now=self.clock.now())
        try:
            rows = await self.rest.open_positions(group=group)
            positions.answered(open_lots(rows.values(), self.instruments))
        except EngineError as error:
            positions.failed(f"REST: {error}")
            return False
        await trio.sleep(lag_s)
        settled = positions.settle(now=self.clock.now())
        if settled:
            self.positions_known.set()
        return settled

    # -- balances

    async def run_balances(self) -> None:
        """Compare balances and holds with REST, regularly, until cancelled."""
        while True:
            await trio.sleep(self.settings.check_every_s)
            if await self._ask_balances():
                await self._ask_balances()

    async def _ask_balances(self) -> bool:
        """Compare once; return whether something is suspected and has to be asked about once more."""
        check, sync = self.balances, self.sync
        if not sync.may_trade or self.rest.breaker_is_open:
            return False
        check.begin(sync.balances.all(), orders=len(sync.orders.open()), now=self.clock.now())
        try:
            answer = await self.rest.balance_ex(group=Group.CONSISTENCY)
        except EngineError:  # nothing is wrong with the account because REST says nothing
            check.abandon()
            return False
        check.answered(answer)
        await trio.sleep(self.settings.rest_lag_s)
        finding = check.settle(orders=len(sync.orders.open()))
        if finding is None:
            return False
        now = self.clock.now()
        if finding.unhealed:
            reason = f"REST tells otherwise, after a fresh snapshot as before: {_listed(finding.unhealed)}"
            self.act([Tell(AccountDiffers(at_s=now, channel="account", symbol=sync.account, reason=reason))])
        for channel, what in (("balances", "total"), ("executions", "used")):
            wrong = [difference for difference in finding.wrong if difference.what == what]
            if wrong:
                self.act(sync.lose(channel, f"REST tells otherwise, twice: {_listed(wrong)}", now=now))
        return bool(finding.suspected) and not finding.wrong


def _listed(differences: Iterable[Difference]) -> str:
    texts = [f"{one.asset} {one.what} {one.theirs:f}, here {one.ours:f}" for one in differences]
    more = f" and {len(texts) - _MOST_SHOWN} more" if len(texts) > _MOST_SHOWN else ""
    return "; ".join(texts[:_MOST_SHOWN]) + more
