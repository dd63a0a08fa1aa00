"""``open_engine``: everything an application of one venue needs, as one scope: a market, and the accounts on it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import MappingProxyType
from typing import final

import attrs
import trio

from kraken_engine.config import AccountSettings, Config, must_be_config
from kraken_engine.errors import ConfigError, StoreError, UsageError
from kraken_engine.feed.feed import Feed
from kraken_engine.feed.publisher import Publisher
from kraken_engine.feed.topics import Health
from kraken_engine.model import Instrument
from kraken_engine.monitor.log import log_event, logger
from kraken_engine.normalise.events import StoreNotice
from kraken_engine.runtime import Clock, Runtime, real_runtime
from kraken_engine.state.checkpoint import Restored
from kraken_engine.state.history import History
from kraken_engine.store.api_keys import load_api_key, load_emergency_key
from kraken_engine.store.checkpoint import Checkpoints
from kraken_engine.store.database import Store, open_store
from kraken_engine.tasks.account import open_account
from kraken_engine.tasks.checkpointer import restore_checkpoint, run_checkpointer, save_checkpoint
from kraken_engine.tasks.market import Market, open_market
from kraken_engine.tasks.rest import open_public_rest
from kraken_engine.tasks.scope import open_background
from kraken_engine.tasks.switch_log import RecordedSwitch, read_switches, run_switch_log
from kraken_engine.trading.account import Account

__all__ = ["Engine", "open_engine"]

MOST_SAID = 100
"""Words about the state directory that are kept for whoever opened the engine."""


@final
class Engine:
    """An open engine; made by :func:`open_engine`."""

    def __init__(
        self,
        market: Market,
        accounts: Mapping[str, Account],
        store: Store | None = None,
        restored: Restored | None = None,
        opening: Sequence[str] = (),
    ) -> None:
        self.market = market
        """The market data part, with its statistics and key figures."""
        self.store = store
        """What survives a restart; None without a state directory."""
        self.restored = restored
        """What an earlier engine knew when it was last saved, none of it current; None after a cold start."""
        self.opening = tuple(opening)
        """What was said of the state directory before anybody could listen: what could not be used, and at last
        whether this is a warm start, with which checkpoint, or a cold one. Empty without a state directory."""
        self.accounts = MappingProxyType(dict(accounts))
        """The accounts of the configuration by name; each says for itself whether it is in step with the venue."""

    @property
    def history(self) -> History:
        """What changed, and when, restarts included; see :attr:`Market.history <kraken_engine.Market.history>`."""
        return self.market.history

    async def switches(self, *, last: int = 100) -> tuple[RecordedSwitch, ...]:
        """Return the last changes of the source on record, oldest first, those of earlier engines included.

        Those of this engine alone, with its clock: ``market.failover.switches()``.

        Raises:
            UsageError: there is no state directory, or ``last`` is below 1.
            StoreCorrupt: one is not as it was written.
            StoreError: they could not be read.
        """
        if self.store is None:
            raise UsageError("switches: expected a state directory (storage.state_dir), there is none")
        return await read_switches(self.store, last=last)

    @property
    def feed(self) -> Feed:
        """Streams and current values."""
        return self.market.feed

    @property
    def health(self) -> Health:
        """The topic of every notice."""
        return self.market.health

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """Every tradable pair by symbol, kept up to date."""
        return self.market.instruments


@asynccontextmanager
async def open_engine(config: Config, *, runtime: Runtime | None = None) -> AsyncGenerator[Engine]:
    """Open an engine for as long as the block lasts: a market, and each of ``config.accounts`` on it.

    A simulated configuration without accounts has the venue's test account, called ``main``. Accounts become live by
    themselves; one that cannot (a dead key, say) says why and touches no other. Arguments and errors are those of
    :func:`open_market`, :func:`~kraken_engine.tasks.account.open_account` and, with a state directory,
    :func:`~kraken_engine.store.database.open_store`.
    """
    must_be_config(config)
    runtime = runtime or real_runtime()
    if config.venue is None:
        _look_for_keys(config, runtime)
    async with AsyncExitStack() as stack:
        disk = _DiskNews(runtime.clock)
        store: Store | None = None
        if config.state_dir is not None:
            store = await stack.enter_async_context(
                open_store(runtime, config.state_dir, settings=config.store, on_trouble=disk.trouble)
            )
        # The embedded venue bans nobody: attempts at it do not count for the real one.
        connect_log = None if store is None or config.venue is not None else store.connects
        market = await stack.enter_async_context(open_market(config, runtime=runtime, connect_log=connect_log))
        disk.publisher = market.publisher
        disk.found(() if store is None else store.opened.notes)
        if store is not None:
            switch_log = await stack.enter_async_context(open_background("the record of switches"))
            await switch_log.start(run_switch_log, market.publisher, store)
        settings = dict(config.accounts)
        if config.venue is not None and not settings:
            settings["main"] = AccountSettings(tier="intermediate")
        accounts: dict[str, Account] = {}
        if settings:
            # The venue limits public calls by address: whoever asks goes through the market's, if it has one.
            public = market.rest or await stack.enter_async_context(
                open_public_rest(
                    market.config, market.runtime, notify=market.publisher.announce_at_once, desk=market.desk
                )
            )
            for name, account in settings.items():
                accounts[name] = await stack.enter_async_context(
                    open_account(account, market, store=store, public=public)
                )
        if store is None:
            yield Engine(market, accounts)
            return
        checkpoints = Checkpoints(runtime, store.directory)
        restored: Restored | None = None
        with trio.move_on_after(config.store.open_timeout_s) as reading:
            restored = await restore_checkpoint(checkpoints, market, disk.note)
        if reading.cancelled_caught:
            disk.note(
                f"{store.directory}: no checkpoint was read within {config.store.open_timeout_s:g} s: a cold start"
            )
        disk.note(f"{store.directory}: {_beginning(restored)}")
        async with open_background("the checkpointer") as nursery:
            nursery.start_soon(run_checkpointer, checkpoints, market, accounts, disk.note)
            yield Engine(market, accounts, store, restored, tuple(disk.said))
        # Left in peace: what is known now is what the next engine begins with.
        with trio.move_on_after(config.store.close_timeout_s) as saving:
            try:
                await save_checkpoint(checkpoints, market, accounts)
            except (StoreError, UsageError) as error:
                disk.note(str(error))
        if saving.cancelled_caught:
            disk.note(
                f"{store.directory}: the last checkpoint was not written within {config.store.close_timeout_s:g} s"
            )


def _look_for_keys(config: Config, runtime: Runtime) -> None:
    """Find what is wrong with the keys of all accounts before anything is opened.

    Raises:
        ConfigError: all mistakes at once.
    """
    mistakes: dict[str, None] = {}
    for account in config.accounts.values():
        for load in (load_api_key, load_emergency_key):
            try:
                load(runtime, account)
            except ConfigError as error:
                mistakes.update(dict.fromkeys(error.mistakes))
    if mistakes:
        raise ConfigError(list(mistakes))


def _beginning(restored: Restored | None) -> str:
    """Say what an engine with a state directory begins with."""
    if restored is None:
        return "a cold start: there is no checkpoint to begin with"
    return f"a warm start with checkpoint {restored.generation}, {restored.age_s:.0f} s old; none of it is current"


@attrs.define(eq=False)
class _DiskNews:
    """Tells readers of the health topic, and the log, how the state directory is doing."""

    clock: Clock
    publisher: Publisher | None = None
    """None before there is a market; then the log alone is told."""
    said: deque[str] = attrs.field(factory=lambda: deque[str](maxlen=MOST_SAID), init=False)
    """The last of it, oldest first."""

    def found(self, notes: Sequence[str]) -> None:
        """Tell what opening the store found."""
        for what in notes:
            self.note(what)

    def note(self, what: str) -> None:
        """Tell something that keeps nothing from going on."""
        self._tell(what, failing=False)

    def trouble(self, what: str | None) -> None:
        """Tell that writes began to fail, and with what, or that they succeed again."""
        self._tell("writes succeed again" if what is None else what, failing=what is not None)

    def _tell(self, what: str, *, failing: bool) -> None:
        self.said.append(what)
        notice = StoreNotice(at_s=self.clock.now(), what=what, failing=failing)
        if self.publisher is None:
            log_event(logger("store"), notice)
        else:  # which is heard by the log, too
            self.publisher.announce_at_once(notice)
