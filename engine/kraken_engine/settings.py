"""The settings of each part, frozen: every limit, deadline and default of the engine, with the unit in the name.

Nothing here reads a file or the environment. A value that cannot work is a
:class:`~kraken_engine.errors.ConfigError` when the settings are made, not a surprise later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from kraken_engine.config_rules import (
    at_least_0,
    at_least_1,
    is_account_name,
    is_key_file,
    not_negative,
    one_of,
    positive,
    priorities,
    rest_url,
    seed,
    share,
    switch,
    text,
)
from kraken_engine.errors import ConfigError

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
]

PUBLIC_V2_URL = "wss://ws.kraken.com/v2"
PRIVATE_V2_URL = "wss://ws-auth.kraken.com/v2"
REST_URL = "https://api.kraken.com"

TIERS = ("starter", "intermediate", "pro")
"""Verification levels of an account: they decide how many REST calls the venue allows (docs "API rate limits")."""

CHANNEL_PRIORITIES: Mapping[str, int] = {
    "instrument": 0,
    "balances": 1,
    "executions": 2,
    "ticker": 3,
    "trade": 3,
    "book": 4,
    "level3": 4,
    "ohlc": 5,
}
"""Instruments first: no price of another channel can be read without its precision."""


@attrs.frozen(kw_only=True)
class WireSettings:
    """Limits and deadlines of one connection."""

    mode: Literal["split", "stock"] = attrs.field(default="split", validator=one_of("split", "stock"))
    """``split``: text frames are cut in batches ahead of trio-websocket; ``stock``: trio-websocket alone."""
    resolve_timeout_s: float = attrs.field(default=5.0, validator=positive)
    dial_timeout_s: float = attrs.field(default=5.0, validator=positive)
    tls_timeout_s: float = attrs.field(default=5.0, validator=positive)
    upgrade_timeout_s: float = attrs.field(default=10.0, validator=positive)
    send_timeout_s: float = attrs.field(default=5.0, validator=positive)
    close_timeout_s: float = attrs.field(default=2.0, validator=positive)
    read_bytes: int = attrs.field(default=65536, validator=at_least_1)
    """Most bytes taken from the socket at once; also how much one batch may cost before others run."""
    max_message_bytes: int = attrs.field(default=8 * 1024 * 1024, validator=at_least_1)
    max_fragments: int = attrs.field(default=64, validator=at_least_1)
    max_handshake_bytes: int = attrs.field(default=1024 * 1024, validator=at_least_1)
    max_pings_per_s: int = attrs.field(default=10, validator=at_least_1)
    """Pings of the peer answered in a second; a flood above it is read and dropped."""
    ca_file: str | None = attrs.field(default=None, validator=attrs.validators.optional(text))
    """Extra trust anchor (PEM), for the simulated venue's throw-away certificate."""
    allow_private_addresses: bool = attrs.field(default=False, validator=switch)
    """Whether a host name may resolve to a loopback or private address (rebinding guard)."""


@attrs.frozen(kw_only=True)
class LivenessSettings:
    """When a connection counts as stale, and as dead (``reliability``: detection figures)."""

    stale_after_s: float = attrs.field(default=2.5, validator=positive)
    """No frame at all for so long: what the line feeds is marked stale, and the peer is pinged."""
    dead_after_s: float = attrs.field(default=4.0, validator=positive)
    """No frame at all for so long: the connection is replaced."""
    late_after_s: float = attrs.field(default=2.5, validator=positive)
    """Updates so far behind the venue, by its own time: books, tickers and candles of the line are marked stale."""
    first_frame_s: float = attrs.field(default=10.0, validator=positive)
    """The venue greets with a status frame; none for so long after the upgrade: replaced."""
    idle_ping_s: float = attrs.field(default=20.0, validator=positive)
    """Ping so often: the venue closes connections that are silent for 60 s, and the answer shows that it hears us."""
    pong_timeout_s: float = attrs.field(default=10.0, validator=positive)
    """A ping unanswered for so long: the connection is replaced, whatever else arrives on it."""
    check_s: float = attrs.field(default=0.5, validator=positive)
    """Longest time between two looks at a line; a look that comes late shows how long this process was blocked."""

    def __attrs_post_init__(self) -> None:
        if not self.stale_after_s < self.dead_after_s:
            raise ConfigError(
                f"dead_after_s: expected more than stale_after_s {self.stale_after_s:g}, got {self.dead_after_s:g}"
            )


@attrs.frozen(kw_only=True)
class BackoffSettings:
    """Pauses between connection attempts: full jitter, reset by health, bounded per process."""

    base_s: float = attrs.field(default=0.25, validator=positive)
    cap_s: float = attrs.field(default=5.0, validator=positive)
    """``reconnect_interval`` of the configuration file."""
    rejected_floor_s: float = attrs.field(default=30.0, validator=positive)
    """Shortest pause after HTTP 403 or 429 on the upgrade."""
    asked_pause_s: float = attrs.field(default=1.0, validator=positive)
    """Longest extra pause after close code 1012 (service restart) or 1013 (try again later), which ask for one."""
    healthy_s: float = attrs.field(default=30.0, validator=positive)
    """A connection that lived so long resets the count of failures."""
    down_after: int = attrs.field(default=10, validator=at_least_1)
    """``max_reconnect_attempts``: after so many failures in a row the line is reported down; attempts go on."""
    min_gap_s: float = attrs.field(default=1.0, validator=not_negative)
    """Attempts of the process are at least so far apart (an immediate first retry aside)."""
    immediate_every_s: float = attrs.field(default=60.0, validator=not_negative)
    """So often an immediate first retry may come closer to another attempt than that, over all lines."""
    max_attempts: int = attrs.field(default=100, validator=at_least_1)
    window_s: float = attrs.field(default=600.0, validator=positive)
    """At most ``max_attempts`` in ``window_s``, over all lines."""


@attrs.frozen(kw_only=True)
class SubscriptionSettings:
    """Pacing and patience of subscriptions."""

    per_second: float = attrs.field(default=20.0, validator=positive)
    """Requests a second at most; the venue refuses the tail of a faster burst (docs "WebSocket rate limits")."""
    symbols_per_request: int = attrs.field(default=25, validator=at_least_1)
    priorities: Mapping[str, int] = attrs.field(
        factory=lambda: dict(CHANNEL_PRIORITIES), hash=False, validator=priorities
    )
    """Order in which channels are asked for on every connection: lowest first."""
    ack_timeout_s: float = attrs.field(default=5.0, validator=positive)
    snapshot_timeout_s: float = attrs.field(default=10.0, validator=positive)
    retries: int = attrs.field(default=5, validator=at_least_0)
    """Retries per (channel, symbol) before it is reported refused; renewed on every new connection."""
    retry_pause_s: float = attrs.field(default=1.0, validator=positive)
    rest_s: float = attrs.field(default=60.0, validator=positive)
    """Time between two attempts once the retries are used up, unless the venue's words were final."""
    grace_s: float = attrs.field(default=5.0, validator=not_negative)
    """How long a symbol nobody listens to any more stays subscribed."""
    resync_window_s: float = attrs.field(default=60.0, validator=positive)
    resyncs_in_window: int = attrs.field(default=3, validator=at_least_1)
    """More resyncs of one book within the window raise an alarm and are spaced by ``resync_pause_s``."""
    resync_pause_s: float = attrs.field(default=5.0, validator=positive)
    deep_resnapshot_s: float = attrs.field(default=300.0, validator=positive)
    """Longest time for which levels that no checksum covers rest on updates alone, before a fresh snapshot."""


@attrs.frozen(kw_only=True)
class ReconciliationSettings:
    """How patiently an account is brought in step with the venue after its line was away."""

    snapshot_timeout_s: float = attrs.field(default=10.0, validator=positive)
    """A snapshot that is not there so long after it was asked for, or confirmed, is asked for anew."""
    retry_pause_s: float = attrs.field(default=1.0, validator=positive)
    """Before REST is asked again, after an answer that did not come, or did not add up."""
    tries: int = attrs.field(default=5, validator=at_least_1)
    """Answers that did not add up to one snapshot, before a fresh snapshot is asked for."""
    most_waiting: int = attrs.field(default=10_000, validator=at_least_1)
    """Execution reports that may wait for REST; more, and a fresh snapshot has to do without them."""
    check_every_s: float = attrs.field(default=60.0, validator=positive)
    """So often a live account is compared with REST: what it has, what its orders hold, and its positions."""
    rest_lag_s: float = attrs.field(default=3.0, validator=positive)
    """How far REST may be behind the private line, and the line behind REST, for a difference to mean nothing yet.

    More than ``liveness.stale_after_s``: a line that is further behind than that is not live.
    """


@attrs.frozen(kw_only=True)
class PoolSettings:
    """How many lines there are, and how many of them bring the same."""

    max_connections: int = attrs.field(default=3, validator=at_least_1)
    """Connections at a time, the private one included: one less of them, but at least one, bring market data."""
    redundancy: int = attrs.field(default=2, validator=at_least_1)
    """Lines on which each stream is subscribed; no more than there are."""
    watch_s: float = attrs.field(default=0.25, validator=positive)
    """Time between two comparisons of the lines."""
    mute_after_s: float = attrs.field(default=1.5, validator=positive)
    """A subscription that brings nothing for so long, while another line does, is mute and has to be healed."""
    heal_patience_s: float = attrs.field(default=5.0, validator=positive)
    """How long a mute subscription has to come back before something stronger is tried."""
    rotation_timeout_s: float = attrs.field(default=20.0, validator=positive)
    """How long the replacement of a line has to bring all that the line brings; else the line stays."""

    @property
    def market_lines(self) -> int:
        """Lines of market data."""
        return max(1, self.max_connections - 1)


@attrs.frozen(kw_only=True)
class FeedSettings:
    """Bounds between the engine and its consumers."""

    inbox_batches: int = attrs.field(default=256, validator=at_least_1)
    """Batches a channel task may lag behind the reader before that channel is resynced."""
    batch_messages: int = attrs.field(default=256, validator=at_least_1)
    """Messages handled before other tasks get a turn."""
    handover_timeout_s: float = attrs.field(default=2.0, validator=positive)
    """How long a private line may be kept from reading by a channel that does not keep up, before it is replaced."""


@attrs.frozen(kw_only=True)
class RestSettings:
    """The REST API: where it is and how far to lean on it."""

    base_url: str = attrs.field(default=REST_URL, validator=rest_url)
    """Without the ``/0/public/...`` of the calls."""
    timeout_s: float = attrs.field(default=15.0, validator=positive)
    """Total deadline of one call."""
    max_retries: int = attrs.field(default=3, validator=at_least_0)
    rate_limit_buffer: float = attrs.field(default=0.8, validator=share)
    """Share of the venue's rate limit that is used at most."""
    max_body_bytes: int = attrs.field(default=8 * 1024 * 1024, validator=at_least_1)
    """Longest body taken, unpacked."""
    max_inflation: int = attrs.field(default=100, validator=at_least_1)
    """How many times longer than it came a packed body may become."""
    keepalive_s: float = attrs.field(default=20.0, validator=positive)
    """A connection unused for so long is not used again: the venue may be about to close it."""
    max_connections: int = attrs.field(default=4, validator=at_least_1)
    """Connections for public calls; signed ones have one per key."""
    queue_calls: int = attrs.field(default=256, validator=at_least_1)
    """Calls that may wait, for each key and for the public API; the least urgent is sent away for a more urgent one."""
    patience_s: float = attrs.field(default=60.0, validator=positive)
    """How long a caller waits who does not say otherwise: queueing, retries and all."""
    abort_reads_after_s: float = attrs.field(default=0.5, validator=not_negative)
    """A cancel that finds a signed question of that age in flight, without an answer, does not wait for it."""
    allow_add_order: bool = attrs.field(default=False, validator=switch)
    """Whether orders may be entered over REST, while the private line is down."""


def _key_file(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not is_key_file(value):
        expected = "the path of a key file, written out without ~"
        raise ConfigError(f"{attribute.name}: expected {expected}, got something else, not shown")


def _account_name(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not is_account_name(value):
        raise ConfigError(f"{attribute.name}: expected a name such as main or spot_2, got something else, not shown")


@attrs.frozen(kw_only=True)
class AccountSettings:
    """One account at the venue, and where its keys are to be found; never the keys themselves.

    Without a file, a key is taken from the environment: ``KRAKEN_ENGINE_ACCOUNTS__<NAME>__KEY``, ``…__SECRET`` and,
    where the key demands a password, ``…__OTP``; an emergency key from ``…__EMERGENCY_KEY`` and so on.
    """

    name: str = attrs.field(default="main", validator=_account_name)
    """Small letters, digits and single underscores."""
    key_file: str | None = attrs.field(default=None, validator=_key_file)
    """A file of lines ``key = …``, ``secret = …``, ``otp = …``: ours, mode 0600 or stricter, not a link."""
    emergency_key_file: str | None = attrs.field(default=None, validator=_key_file)
    """The same, for a second key of the account: its nonces are its own, so that an urgent cancel waits for nobody."""
    tier: str = attrs.field(default="starter", validator=one_of(*TIERS))


@attrs.frozen(kw_only=True)
class BreakerSettings:
    """When REST calls are stopped, and for how long: the same rules for the public API and for each key."""

    failure_threshold: int = attrs.field(default=3, validator=at_least_1)
    """So many calls failed in a row: the breaker opens."""
    rate_limit_threshold: int = attrs.field(default=1, validator=at_least_1)
    """So many calls were answered with a rate limit, and none with success meanwhile: it opens."""
    timeout_s: float = attrs.field(default=300.0, validator=positive)
    """How long it stays open; then probes decide."""
    half_open_requests: int = attrs.field(default=1, validator=at_least_1)
    """Probes at once after the timeout, and successes that close the breaker."""
    probe_timeout_s: float = attrs.field(default=10.0, validator=positive)
    """A probe that takes longer has failed."""
    probe_pause_s: float = attrs.field(default=15.0, validator=positive)
    """The recovery group may probe an open breaker so long after a failure of the transport ..."""
    throttled_probe_pause_s: float = attrs.field(default=60.0, validator=positive)
    """... and so long after a rate-limit answer, twice as long after each further one ..."""
    longest_probe_pause_s: float = attrs.field(default=300.0, validator=positive)
    """... but not longer."""
    longest_hold_s: float = attrs.field(default=900.0, validator=positive)
    """A time the venue names (``Throttled``, a lockout) is believed up to so far ahead."""


@attrs.frozen(kw_only=True)
class ClockSettings:
    """When the wall clock of this machine is worth a word; timers do not go by it."""

    check_every_s: float = attrs.field(default=10.0, validator=positive)
    """How often it is looked at."""
    step_s: float = attrs.field(default=1.0, validator=positive)
    """Against the monotonic clock it moved by more than this between two looks: it was set, or the machine slept."""
    offset_s: float = attrs.field(default=2.0, validator=positive)
    """It differs from the venue's by at least so much, what is not known of that left out."""


@attrs.frozen(kw_only=True)
class NonceSettings:
    """How the nonces of a key rise."""

    block_ns: int = attrs.field(default=1_000_000_000, validator=at_least_1)
    """So many are reserved on disk at once: at most one write a second, and a restart skips at most so many."""
    max_retries: int = attrs.field(default=2, validator=at_least_0)
    """Retries after a refused nonce, until one is accepted again."""
    hold_s: float = attrs.field(default=900.0, validator=not_negative)
    """After those, no call but an urgent one for so long: the venue locks out who goes on."""
    max_step_s: float = attrs.field(default=3600.0, validator=positive)
    """A wall clock that jumps further ahead than this is not followed."""


@attrs.frozen(kw_only=True)
class FailoverSettings:
    """When the REST backup takes over from the WebSocket lines, and when it is relieved."""

    enabled: bool = attrs.field(default=True, validator=switch)
    """Whether there is a backup at all; without it a lost stream is stale until its line is back.

    There is none either where ``public_url`` is not Kraken's and ``rest.base_url`` is: prices of one venue must never
    stand in for those of another.
    """
    deadline_s: float = attrs.field(default=5.0, validator=positive)
    """From the last good frame of a stream to the question that brings its data from REST, at most."""
    lead_s: float = attrs.field(default=2.5, validator=not_negative)
    """So long before the deadline the backup is asked: connecting, and the pace of calls, have to fit in."""
    hold_s: float = attrs.field(default=30.0, validator=positive)
    """Health without a break that the primary has to show before it is trusted again."""
    longest_hold_s: float = attrs.field(default=600.0, validator=positive)
    """Each return that did not last doubles the hold, up to this."""
    most_returns: int = attrs.field(default=4, validator=at_least_1)
    """Most returns of a stream to the primary within ``window_s``; going to the backup is never limited."""
    window_s: float = attrs.field(default=600.0, validator=positive)
    """A return counts against the limit for so long; one that lasts longer starts again at ``hold_s``."""
    backup_lost_s: float = attrs.field(default=12.0, validator=positive)
    """No answer about a stream for so long: the backup has lost it too, and it is stale."""
    calls_per_s: float = attrs.field(default=0.8, validator=positive)
    """Calls a second for tickers and books (kraken-api "REST rate limits": about one a second is safe)."""
    pair_calls_per_s: float = attrs.field(default=2.0, validator=positive)
    """Calls a second for trades and candles, which the venue limits by pair."""
    burst: int = attrs.field(default=4, validator=at_least_1)
    """Calls of either kind that may follow one another at once after a time without any."""
    fastest_s: float = attrs.field(default=1.0, validator=positive)
    """Shortest time between two questions about the same stream."""
    slowest_s: float = attrs.field(default=5.0, validator=positive)
    """Longest one: what cannot be asked so often within ``calls_per_s`` is not covered, and says so."""
    account_every_s: float = attrs.field(default=10.0, validator=positive)
    """Balances and open orders of an account whose line is lost are asked for so often: two counted calls.

    The lowest tier lets one counted call through every three seconds, and closing the gap needs its share of them.
    """
    probe_every_s: float = attrs.field(default=5.0, validator=positive)
    """Streams that say nothing are compared with REST so often: a subscription may have been forgotten."""
    probe_patience_s: float = attrs.field(default=2.5, validator=positive)
    """So long after an answer that contradicts it, a stream may still bring the update that explains it."""
    verify_every_s: float = attrs.field(default=30.0, validator=not_negative)
    """So often one ticker or book, each in its turn, is compared with REST in the background; 0: never."""
    history_entries: int = attrs.field(default=1000, validator=at_least_1)
    """Changes of the source that are remembered."""

    def __attrs_post_init__(self) -> None:
        for name, shorter, longer in (
            ("deadline_s", "lead_s", "deadline_s"),
            ("longest_hold_s", "hold_s", "longest_hold_s"),
            ("slowest_s", "fastest_s", "slowest_s"),
            ("backup_lost_s", "slowest_s", "backup_lost_s"),
        ):
            least, got = getattr(self, shorter), getattr(self, longer)
            if got < least:
                raise ConfigError(f"{name}: expected {shorter} {least:g} or more, got {got:g}")


@attrs.frozen(kw_only=True)
class StoreSettings:
    """How long to wait for the disk, and how much to keep on it."""

    timeout_s: float = attrs.field(default=5.0, validator=positive)
    """A transaction that takes longer has failed for its caller; it may be written all the same."""
    open_timeout_s: float = attrs.field(default=30.0, validator=positive)
    """Opening reads and checks everything that is kept."""
    close_timeout_s: float = attrs.field(default=5.0, validator=positive)
    max_waiting: int = attrs.field(default=1_000, validator=at_least_1)
    """Transactions that may wait for the disk at once; more fail at once."""
    checkpoint_every_s: float = attrs.field(default=30.0, validator=positive)
    """How old what is known after a restart may be: a checkpoint is written so often, and at the end."""
    log_transactions: int = attrs.field(default=200, validator=at_least_1)
    """So many transactions are collected in SQLite's log before they move to the database."""
    history_entries: int = attrs.field(default=10_000, validator=at_least_1)
    """Entries kept of each history (source switches, key events); the oldest go first."""
    fills_kept: int = attrs.field(default=100_000, validator=at_least_1)
    """Acknowledged fills kept of each account; those that are not acknowledged are always kept.

    Without a state directory, so many in all: whoever has not got that far is told (``SlowConsumer``).
    """


@attrs.frozen(kw_only=True)
class RetrySettings:
    """How often and how soon REST calls are tried again, over all of them; ``RestSettings.max_retries`` is for one."""

    free_retries: int = attrs.field(default=10, validator=at_least_0)
    """In any ``window_s`` there are at most so many retries ..."""
    retry_share: float = attrs.field(default=0.2, validator=not_negative)
    """... and this share of the first attempts."""
    window_s: float = attrs.field(default=60.0, validator=positive)
    base_s: float = attrs.field(default=0.5, validator=positive)
    """Longest pause before the first retry; it doubles with each further one ..."""
    cap_s: float = attrs.field(default=8.0, validator=positive)
    """... up to this."""
    throttled_floor_s: float = attrs.field(default=5.0, validator=positive)
    """Shortest pause after an answer that asks for distance."""


@attrs.frozen(kw_only=True)
class TokenSettings:
    """When the token of private connections is renewed."""

    refresh_before_s: float = attrs.field(default=300.0, validator=positive)
    """So long before it expires ..."""
    jitter_s: float = attrs.field(default=30.0, validator=not_negative)
    """... and up to so much earlier, so that a timer of the same length does not expire together with it."""
    check_s: float = attrs.field(default=60.0, validator=positive)
    """Longest time between two looks at it."""
    fetch_timeout_s: float = attrs.field(default=30.0, validator=positive)
    """A fetch nobody reports on for so long has failed."""
    retry_pause_s: float = attrs.field(default=5.0, validator=positive)
    """Longest pause after a failed fetch; it doubles with each further one ..."""
    longest_retry_pause_s: float = attrs.field(default=60.0, validator=positive)
    """... up to this."""
    rejections: int = attrs.field(default=3, validator=at_least_1)
    """So many tokens rejected in a row: the account counts as not authenticated ..."""
    auth_failed_s: float = attrs.field(default=900.0, validator=positive)
    """... for so long."""


@attrs.frozen(kw_only=True)
class PerformanceSettings:
    """What is traded between speed, size and age of data."""

    enable_compression: bool = attrs.field(default=False, validator=switch)
    """Whether the application stores and sends books in their short form; the engine itself does neither.

    See :func:`kraken_engine.feed.compression.compress`.
    """
    batch_size: int = attrs.field(default=100, validator=at_least_1)
    """Most events of one batch where a consumer asks for batches."""
    cache_ttl_s: float = attrs.field(default=300.0, validator=not_negative)
    """How long an answer of the REST API may be served again."""


@attrs.frozen(kw_only=True)
class SimulatedVenue:
    """The embedded venue: same bytes as the real one, in memory, from a seed."""

    symbols: int = attrs.field(default=5, validator=at_least_1)
    rate: float = attrs.field(default=50.0, validator=positive)
    """Messages a second over all symbols."""
    seed: int = attrs.field(default=1, validator=seed)
