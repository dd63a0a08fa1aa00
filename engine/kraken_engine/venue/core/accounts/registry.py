"""Every account of the venue, found by name or by key, and every call that was made for one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

import attrs

from kraken_engine.errors import UsageError
from kraken_engine.runtime import seeded_rng
from kraken_engine.venue.core.accounts.access import ApiKey
from kraken_engine.venue.core.accounts.account import Account, Watcher
from kraken_engine.venue.core.accounts.counters import LeakyCounter
from kraken_engine.venue.core.accounts.ids import Ids
from kraken_engine.venue.core.accounts.ledger import Ledger
from kraken_engine.venue.core.accounts.settings import AccountSettings
from kraken_engine.venue.core.accounts.tokens import Tokens
from kraken_engine.venue.core.instruments import Asset

__all__ = ["Accounts", "CallSeen"]

CALLS_KEPT = 20_000
MOST_ACCOUNTS = 1_000


@attrs.frozen(kw_only=True)
class CallSeen:
    """One private REST call whose key was known."""

    wall_ns: int
    key: str
    path: str
    nonce: str
    error: str | None
    """What it was refused with."""
    counter: float
    """Where the REST counter of the key stood after it, in calls."""


class Accounts(Mapping[str, Account]):
    """The accounts of the venue, by name."""

    def __init__(self, seed: int, assets: Mapping[str, Asset], watcher: Watcher) -> None:
        self.api_keys: dict[str, ApiKey] = {}
        """By the public half."""
        self.counters: dict[str, LeakyCounter] = {}
        """The REST call counter of each key, by its public half."""
        self.tokens = Tokens(seeded_rng(f"{seed}:tokens"))
        self._seed = seed
        self._assets = assets
        self._watcher = watcher
        self._accounts: dict[str, Account] = {}
        self._calls: dict[str, deque[CallSeen]] = {}

    def __getitem__(self, name: str) -> Account:
        return self._accounts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._accounts)

    def __len__(self) -> int:
        return len(self._accounts)

    def named(self, name: str) -> Account:
        """Return an account. UsageError: there is none of this name."""
        if name not in self._accounts:
            raise UsageError(f"account: expected one of {', '.join(self._accounts) or 'none'}, got {name!r}")
        return self._accounts[name]

    def create(self, settings: AccountSettings, wall_ns: int) -> Account:
        """Open an account, with its first deposits.

        Raises:
            UsageError: its name or one of its keys is taken, or there are too many accounts.
        """
        if settings.name in self._accounts:
            raise UsageError(f"account: expected a name that is free, got {settings.name!r}")
        for key in settings.keys:
            if key.key in self.api_keys:
                raise UsageError(f"account {settings.name}: expected keys of its own, but one is taken")
        if len(self._accounts) >= MOST_ACCOUNTS:
            raise UsageError(f"accounts: expected at most {MOST_ACCOUNTS}, got one more")
        account = Account(
            settings,
            Ledger(self._assets),
            Ids(seeded_rng(f"{self._seed}:account:{settings.name}")),
            self._watcher,
        )
        self._accounts[settings.name] = account
        self._calls[settings.name] = deque(maxlen=CALLS_KEPT)
        for key in settings.keys:
            self.api_keys[key.key] = ApiKey(key, settings.name, set(key.permissions))
            self.counters[key.key] = LeakyCounter(account.tier.rest_most, account.tier.rest_decay)
        for code, amount in settings.funds.items():
            if code in self._assets:
                account.deposit(code, _units(amount, self._assets[code].decimals), wall_ns)
        return account

    def keys_of(self, name: str) -> list[ApiKey]:
        """Return the keys of an account."""
        return [key for key in self.api_keys.values() if key.account == name]

    def calls_of(self, name: str) -> list[CallSeen]:
        """Return the last 20,000 calls for an account, oldest first."""
        return list(self._calls[name])

    def note(self, account: str, call: CallSeen) -> None:
        """Remember a call."""
        self._calls[account].append(call)


def _units(text: str, decimals: int) -> int:
    whole, _, rest = text.partition(".")
    return int(whole + rest[:decimals].ljust(decimals, "0"))
