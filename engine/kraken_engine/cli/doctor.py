"""``kraken-engine doctor``: is everything fit for an engine to run: venue, clock, keys, nonces, disk.

Each check says in one line what was looked at, and where something is wrong what to do about it. Nothing is changed at
the venue; of the disk, the state directory is made if it is not there, and nonces go up, as with every signed call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any

import attrs

from kraken_engine.cli.output import print_json, print_text
from kraken_engine.cli.parameters import Flag
from kraken_engine.config import AccountSettings, Config, WireSettings
from kraken_engine.control.rest_limits import REST_TIERS
from kraken_engine.errors import ConfigError, EngineError, NonceRejected, StoreError, StoreLocked, UsageError
from kraken_engine.model import VenueMode
from kraken_engine.rest.preflight import NEEDED, NEEDED_IN_AN_EMERGENCY, Level, check_key_info
from kraken_engine.rest.private import PrivateRest
from kraken_engine.rest.public import PublicRest
from kraken_engine.rest.sending import NonceMarks
from kraken_engine.runtime import Runtime, real_runtime
from kraken_engine.secret import ApiKey, Secret
from kraken_engine.store.api_keys import load_api_key, load_emergency_key
from kraken_engine.store.database import Store, open_store
from kraken_engine.store.locks import hold_key
from kraken_engine.tasks.rest import open_private_rest, open_public_rest
from kraken_engine.venue.core.accounts.settings import TEST_KEY, TEST_SECRET
from kraken_engine.venue.shells.memory import MemoryNetwork
from kraken_engine.venue.shells.server import VenueSettings, open_venue

__all__ = ["Check", "Doctor", "doctor"]

CLOCK_WARN_S = 2.0
"""The venue tells whole seconds: less is not to be seen."""
CLOCK_FAIL_S = 30.0
"""Deadlines of orders are 2 to 60 seconds."""
DISK_WARN_BYTES = 256 * 1024 * 1024
DISK_FAIL_BYTES = 16 * 1024 * 1024
PATIENCE_S = 30.0


@attrs.frozen(kw_only=True)
class Check:
    """One line of the report."""

    name: str
    level: Level
    text: str
    facts: Mapping[str, Any] = attrs.field(factory=dict[str, Any])


async def doctor(
    *,
    config: str | None = None,
    rest_url: str | None = None,
    ca_file: str | None = None,
    sim: Flag = False,
    json: Flag = False,
) -> int:
    """Check venue, clock, keys, nonces and disk, and say what to do about what is wrong.

    Parameters
    ----------
    config
        The configuration file whose accounts, symbols and state directory are checked; without it, the venue alone.
    rest_url
        Another REST endpoint than that of the configuration, or than the venue's.
    ca_file
        One more certificate authority to trust (PEM).
    sim
        Check against the embedded simulated venue and its test account.
    json
        Print one line of JSON.
    """
    runtime = real_runtime()
    settings = Config() if config is None else Config.load(config, runtime=runtime)
    if sim and rest_url is not None:
        raise UsageError("--sim brings a venue of its own: leave out --rest-url")
    if rest_url is not None:
        settings = attrs.evolve(settings, rest=attrs.evolve(settings.rest, base_url=rest_url))
    if ca_file is not None:
        settings = attrs.evolve(settings, wire=attrs.evolve(settings.wire or WireSettings(), ca_file=ca_file))
    async with AsyncExitStack() as stack:
        found = Doctor(runtime, settings)
        if sim:
            found = await stack.enter_async_context(_simulated(runtime, settings))
        checks = await found.run()
    return _report(checks, as_json=json)


def _report(checks: list[Check], *, as_json: bool) -> int:
    failed = any(check.level is Level.FAIL for check in checks)
    if as_json:
        listed = [
            {"check": check.name, "level": str(check.level), "text": check.text, **check.facts} for check in checks
        ]
        print_json({"ok": not failed, "checks": listed})
    else:
        width = max(len(check.name) for check in checks)
        print_text("".join(f"{check.level!s:4}  {check.name:{width}}  {check.text}\n" for check in checks))
    return 1 if failed else 0


@attrs.define(eq=False)
class Doctor:
    """One examination. Every failure is a line of the report; only bugs get out."""

    runtime: Runtime
    config: Config
    keys: Mapping[str, ApiKey] = attrs.field(factory=dict[str, ApiKey])
    """Keys of accounts that are not to be looked for where the settings say."""
    checks: list[Check] = attrs.field(factory=list[Check], init=False)

    async def run(self) -> list[Check]:
        """Make every check that makes sense, and return the lines in their order.

        Raises:
            ConfigError: the endpoint or the certificate cannot work.
        """
        async with AsyncExitStack() as stack:
            public = await stack.enter_async_context(open_public_rest(self.config, self.runtime))
            reached = await self._venue(public)
            if reached:
                await self._clock(public)
                await self._pairs(public)
            store = await self._disk(stack)
            locked = self.config.state_dir is not None and store is None
            for name, account in self.config.accounts.items():
                await self._account(name, account, public, store, skip="the state directory" if locked else None)
            if not self.config.accounts:
                self._note("accounts", Level.OK, "none configured: market data alone")
        return self.checks

    def _note(self, name: str, level: Level, text: str, **facts: Any) -> None:
        self.checks.append(Check(name=name, level=level, text=text, facts=facts))

    async def _venue(self, public: PublicRest) -> bool:
        url = self.config.rest.base_url
        try:
            status = await public.system_status(timeout_s=PATIENCE_S)
        except EngineError as error:
            self._note("venue", Level.FAIL, f"{url} does not answer: {error}", url=url)
            return False
        level = Level.OK if status.mode is VenueMode.ONLINE else Level.WARN
        more = f", {len(status.maintenance)} announcements" if status.maintenance else ""
        self._note("venue", level, f"{url} says: {status.text}{more}", url=url, status=status.text)
        return True

    async def _clock(self, public: PublicRest) -> None:
        clock = self.runtime.clock
        try:
            await public.time(timeout_s=PATIENCE_S)
        except EngineError as error:
            self._note("clock", Level.FAIL, f"the venue does not say its time: {error}")
            return
        offset_s = public.venue_clock.offset_s(clock.wall_ns(), now=clock.now()) or 0.0
        level = Level.OK if abs(offset_s) < CLOCK_WARN_S else Level.WARN if abs(offset_s) < CLOCK_FAIL_S else Level.FAIL
        side = "ahead of" if offset_s > 0 else "behind"
        text = f"{abs(offset_s):.1f} s {side} the venue's"
        if level is not Level.OK:
            text += ": let this machine follow a time server; deadlines of orders are by its clock"
        self._note("clock", level, text, offset_s=round(offset_s, 1))

    async def _pairs(self, public: PublicRest) -> None:
        try:
            update = await public.asset_pairs(timeout_s=PATIENCE_S)
        except EngineError as error:
            self._note("pairs", Level.FAIL, f"the venue does not list its pairs: {error}")
            return
        states = Counter(instrument.status for instrument in update.instruments)
        listed = ", ".join(f"{count} {status}" for status, count in sorted(states.items()))
        self._note("pairs", Level.OK, listed or "none", pairs=dict(states))
        by_symbol = {instrument.symbol: instrument.status for instrument in update.instruments}
        for symbol in self.config.symbols:
            status = by_symbol.get(symbol)
            if status is None:
                self._note(f"pair {symbol}", Level.FAIL, "the venue has no such pair", symbol=symbol)
            else:
                level = Level.OK if status == "online" else Level.WARN
                self._note(f"pair {symbol}", level, status, symbol=symbol, status=status)

    async def _disk(self, stack: AsyncExitStack) -> Store | None:
        directory = self.config.state_dir
        if directory is None:
            level = Level.WARN if self.config.accounts else Level.OK
            self._note("disk", level, "no state directory (storage.state_dir): nothing is remembered over a restart")
            return None
        try:
            store = await stack.enter_async_context(open_store(self.runtime, directory, settings=self.config.store))
            free = self.runtime.files.free_bytes(directory)
        except (StoreError, OSError) as error:
            self._note("disk", Level.FAIL, f"{directory}: {error}", directory=directory)
            return None
        level = Level.FAIL if free < DISK_FAIL_BYTES else Level.WARN if free < DISK_WARN_BYTES else Level.OK
        mode = self.runtime.files.mode(directory)
        text = f"{directory}: writable, mode {mode:04o}, held by nobody else, {free // 2**20} MiB free"
        self._note("disk", level, text, directory=directory, mode=f"{mode:04o}", free_bytes=free)
        for note in store.opened.notes:
            self._note("disk", Level.WARN, note)
        return store

    async def _account(
        self, name: str, account: AccountSettings, public: PublicRest, store: Store | None, *, skip: str | None
    ) -> None:
        limit = REST_TIERS[account.tier]
        text = f"{account.tier}, as configured: {limit.limit:g} calls, {limit.decay_per_s:g} a second regained"
        self._note(f"{name}: tier", Level.OK, text, account=name, tier=account.tier)
        try:
            keys = {name: self.keys.get(name) or load_api_key(self.runtime, account)}
            emergency = load_emergency_key(self.runtime, account)
        except ConfigError as error:
            for mistake in error.mistakes:
                self._note(f"{name}: key", Level.FAIL, mistake, account=name)
            return
        if emergency is not None:
            keys[f"{name} (emergency key)"] = emergency
        for who, key in keys.items():
            if skip is not None:
                why = f"not asked about: without {skip} its nonces could come before those of another engine"
                self._note(f"{who}: key", Level.WARN, why, account=name)
                continue
            try:
                await self._ask(who, name, account, key, public=public, store=store)
            except StoreLocked as error:
                why = f"not asked about, for its nonces could come before those of an engine that runs: {error}"
                self._note(f"{who}: key", Level.WARN, why, account=name)
            except StoreError as error:
                self._note(f"{who}: nonces", Level.FAIL, str(error), account=name)

    async def _ask(
        self, who: str, name: str, account: AccountSettings, key: ApiKey, *, public: PublicRest, store: Store | None
    ) -> None:
        marks: NonceMarks | None = None if store is None else store.nonces
        with ExitStack() as held:
            if key.key != Secret(TEST_KEY):  # that one is everybody's
                held.enter_context(hold_key(self.runtime, key.fingerprint, f"the doctor, account {name}"))
            async with open_private_rest(
                self.config, self.runtime, public, key=key, name=who, tier=account.tier, marks=marks
            ) as private:
                await self._key(who, name, private, NEEDED if who == name else NEEDED_IN_AN_EMERGENCY)
                await self._nonces(who, name, key, store)

    async def _key(self, who: str, name: str, private: PrivateRest, needed: Mapping[str, str]) -> None:
        try:
            info = await private.api_key_info(timeout_s=PATIENCE_S)
        except NonceRejected as error:
            text = f"{error}; does another program, or another machine, use this key?"
            self._note(f"{who}: nonces", Level.FAIL, text, account=name)
            return
        except EngineError as error:
            self._note(f"{who}: key", Level.FAIL, str(error), account=name, fingerprint=private.fingerprint)
            return
        unix_s = self.runtime.clock.wall_ns() / 1e9
        for finding in check_key_info(info, unix_s=unix_s, needed=needed):
            self._note(f"{who}: key", finding.level, finding.text, account=name, fingerprint=private.fingerprint)

    async def _nonces(self, who: str, name: str, key: ApiKey, store: Store | None) -> None:
        if store is None:
            return
        mark = await store.nonces.mark(key.fingerprint)
        ahead_s = (mark - self.runtime.clock.wall_ns()) / 1e9
        if ahead_s > CLOCK_FAIL_S:
            text = f"they go on {ahead_s:.0f} s ahead of the clock, which has been set back since"
            self._note(f"{who}: nonces", Level.WARN, text, account=name, mark=mark)
        else:
            text = "the venue takes them, and what is reserved is on the disk"
            self._note(f"{who}: nonces", Level.OK, text, account=name, mark=mark)


@asynccontextmanager
async def _simulated(runtime: Runtime, config: Config) -> AsyncGenerator[Doctor]:
    """Bring up the embedded venue, whose test account has a key as it should be."""
    memory = attrs.evolve(runtime, network=MemoryNetwork())
    async with open_venue(memory, VenueSettings()) as venue:
        at_venue = attrs.evolve(
            config,
            rest=attrs.evolve(config.rest, base_url=venue.rest_url),
            accounts={"test": AccountSettings(name="test", tier="intermediate")},
        )
        keys = {"test": ApiKey(key=Secret(TEST_KEY), secret=Secret(TEST_SECRET))}
        yield Doctor(memory, at_venue, keys)
