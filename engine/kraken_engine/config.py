"""Everything an engine needs to know before it starts, in one frozen value.

The settings of its parts are classes of :mod:`~kraken_engine.settings`, and can be imported from here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import attrs

from kraken_engine.config_file import checked_settings, parse_document, read_document
from kraken_engine.config_rules import instance, is_a, is_confidential, path, positive, texts, url
from kraken_engine.errors import ConfigError, UsageError, shown
from kraken_engine.runtime import Runtime, real_runtime
from kraken_engine.settings import (
    CHANNEL_PRIORITIES,
    PRIVATE_V2_URL,
    PUBLIC_V2_URL,
    REST_URL,
    TIERS,
    AccountSettings,
    BackoffSettings,
    BreakerSettings,
    ClockSettings,
    FailoverSettings,
    FeedSettings,
    LivenessSettings,
    NonceSettings,
    PerformanceSettings,
    PoolSettings,
    ReconciliationSettings,
    RestSettings,
    RetrySettings,
    SimulatedVenue,
    StoreSettings,
    SubscriptionSettings,
    TokenSettings,
    WireSettings,
)

__all__ = [
    "CHANNEL_PRIORITIES",
    "PRIVATE_V2_URL",
    "PUBLIC_V2_URL",
    "REST_URL",
    "TIERS",
    "AccountSettings",
    "BackoffSettings",
    "BreakerSettings",
    "ClockSettings",
    "Config",
    "FailoverSettings",
    "FeedSettings",
    "LivenessSettings",
    "NonceSettings",
    "PerformanceSettings",
    "PoolSettings",
    "ReconciliationSettings",
    "RestSettings",
    "RetrySettings",
    "SimulatedVenue",
    "StoreSettings",
    "SubscriptionSettings",
    "TokenSettings",
    "WireSettings",
    "must_be_config",
]


def must_be_config(value: Any) -> None:
    """Refuse what somebody opened something with instead of a :class:`Config`: the path of a file, say.

    Raises:
        UsageError: it is something else.
    """
    if not is_a(Config, value):
        raise UsageError(f"config: expected a Config, such as Config.load('kraken.yaml'), got {shown(value)}")


def _own_copy(value: Any) -> Any:
    return dict(value) if is_a(Mapping, value) else value


def _accounts(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    right = is_a(Mapping, value) and all(
        isinstance(account, AccountSettings) and name == account.name for name, account in value.items()
    )
    if not right:
        raise ConfigError(f"{attribute.name}: expected AccountSettings under their own names, got something else")


@attrs.frozen(kw_only=True)
class Config:
    """Everything an engine needs to know before it starts."""

    public_url: str = attrs.field(default=PUBLIC_V2_URL, validator=url("ws", "wss"))
    """WebSocket V2 endpoint of market data."""
    private_url: str = attrs.field(default=PRIVATE_V2_URL, validator=url("ws", "wss"))
    """WebSocket V2 endpoint of balances, executions and orders.

    With accounts, this one and ``rest.base_url`` have to use TLS or to be on this machine: keys and tokens go there.
    """
    channels: tuple[str, ...] = attrs.field(default=(), validator=texts)
    """Channels the configuration file names, in its order."""
    symbols: tuple[str, ...] = attrs.field(default=(), validator=texts)
    """Symbols the configuration file names, in its order."""
    venue: SimulatedVenue | None = attrs.field(
        default=None, validator=attrs.validators.optional(instance(SimulatedVenue))
    )
    """Set: talk to an embedded simulated venue in memory instead of ``public_url``."""
    wire: WireSettings = attrs.field(factory=WireSettings, validator=instance(WireSettings))
    liveness: LivenessSettings = attrs.field(factory=LivenessSettings, validator=instance(LivenessSettings))
    backoff: BackoffSettings = attrs.field(factory=BackoffSettings, validator=instance(BackoffSettings))
    subscriptions: SubscriptionSettings = attrs.field(
        factory=SubscriptionSettings, validator=instance(SubscriptionSettings)
    )
    pool: PoolSettings = attrs.field(factory=PoolSettings, validator=instance(PoolSettings))
    reconciliation: ReconciliationSettings = attrs.field(
        factory=ReconciliationSettings, validator=instance(ReconciliationSettings)
    )
    feed: FeedSettings = attrs.field(factory=FeedSettings, validator=instance(FeedSettings))
    rest: RestSettings = attrs.field(factory=RestSettings, validator=instance(RestSettings))
    breaker: BreakerSettings = attrs.field(factory=BreakerSettings, validator=instance(BreakerSettings))
    clock: ClockSettings = attrs.field(factory=ClockSettings, validator=instance(ClockSettings))
    nonce: NonceSettings = attrs.field(factory=NonceSettings, validator=instance(NonceSettings))
    retry: RetrySettings = attrs.field(factory=RetrySettings, validator=instance(RetrySettings))
    token: TokenSettings = attrs.field(factory=TokenSettings, validator=instance(TokenSettings))
    failover: FailoverSettings = attrs.field(factory=FailoverSettings, validator=instance(FailoverSettings))
    performance: PerformanceSettings = attrs.field(factory=PerformanceSettings, validator=instance(PerformanceSettings))
    accounts: Mapping[str, AccountSettings] = attrs.field(
        factory=dict[str, AccountSettings], hash=False, converter=_own_copy, validator=_accounts
    )
    """Accounts by name."""
    state_dir: str | None = attrs.field(default=None, validator=attrs.validators.optional(path))
    """Where what must survive a restart is kept, by one engine at a time; None: nothing is kept."""
    store: StoreSettings = attrs.field(factory=StoreSettings, validator=instance(StoreSettings))
    startup_timeout_s: float = attrs.field(default=15.0, validator=positive)
    """How long ``open_market`` waits for the first connection and the list of instruments."""

    def __attrs_post_init__(self) -> None:
        if not self.accounts or self.venue is not None:
            return
        mistakes = [
            f"{name}: expected {scheme}:// or an address of this machine, since accounts have keys, got {shown(where)}"
            for name, scheme, where in (
                ("private_url", "wss", self.private_url),
                ("rest.base_url", "https", self.rest.base_url),
            )
            if not is_confidential(where)
        ]
        if mistakes:
            raise ConfigError(mistakes)

    @classmethod
    def simulated(cls, *, symbols: int = 5, rate: float = 50.0, seed: int = 1) -> Config:
        """Return settings for an engine on the embedded venue: no keys, no network."""
        return cls(venue=SimulatedVenue(symbols=symbols, rate=rate, seed=seed))

    @classmethod
    def load(cls, path: str | PurePath, *, runtime: Runtime | None = None) -> Config:
        """Return the settings of the YAML file at ``path``, overridden by ``KRAKEN_ENGINE_<SECTION>__<KEY>`` variables.

        Raises:
            ConfigError: all mistakes at once, each ``file:line: what, expected, got``.
        """
        name = str(path)
        document = read_document(real_runtime() if runtime is None else runtime, name)
        return cls(**checked_settings(document, name))

    @classmethod
    def parse(cls, data: bytes, *, name: str, environment: Mapping[str, str] | None = None) -> Config:
        """Return the settings in the bytes of a YAML file called ``name``, overridden by ``environment``.

        Raises:
            ConfigError: as :meth:`load` does; lines are named by ``name``.
        """
        document = parse_document(data, name=name, environment=environment or {})
        del data, environment  # a traceback with locals would show a key that stands there by mistake
        return cls(**checked_settings(document, name))
