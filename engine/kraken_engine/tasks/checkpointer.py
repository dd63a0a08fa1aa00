"""Checkpoints of a running engine: what it knows, put aside now and then and at the end, and shown after a restart.

What is shown comes as old as it is, and stale until the venue has confirmed it (I-33). A checkpoint that cannot be
written costs the warm start and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec
import trio

from kraken_engine.control.error_actions import RestoreFromCheckpoint, Where
from kraken_engine.errors import DecodeError, StoreCorrupt, StoreError, UsageError, shown
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Candle, MarketEvent, TickerUpdate, Trade
from kraken_engine.state.checkpoint import AccountState, EngineState, Restored, decode_state, encode_state
from kraken_engine.state.history_values import record_changes
from kraken_engine.store.checkpoint import Checkpoints, Loaded
from kraken_engine.tasks.market import Market
from kraken_engine.trading.account import Account
from kraken_engine.wire.endpoints import parse_endpoint

__all__ = ["restore_checkpoint", "run_checkpointer", "save_checkpoint"]


async def restore_checkpoint(checkpoints: Checkpoints, market: Market, tell: Callable[[str], None]) -> Restored | None:
    """Show what the last checkpoint holds, none of it live, and return it; None: a cold start.

    ``tell`` is told of whatever could not be used.
    """
    try:
        loaded = await checkpoints.load()
    except StoreError as error:
        market.desk.decide(error, Where(line="checkpoints"))
        tell(f"{error}: a cold start")
        return None
    for note in loaded.notes:
        tell(note)
    if loaded.notes and not _may_go_back(market, StoreCorrupt("; ".join(loaded.notes))):
        return None
    if loaded.payload is None:
        return None
    decoded = _of_this_venue(loaded, market, tell)
    if decoded is None:
        return None
    generation, state = decoded
    clock = market.runtime.clock
    restored = Restored(state=state, now=clock.now(), wall_ns=clock.wall_ns(), generation=generation)
    newest = dict(restored.events())  # of a series of candles the last one
    for key, event in newest.items():
        market.publisher.restore(key, event, restored.stale(key))
    market.history.restore(restored.changes())
    return restored


def _of_this_venue(loaded: Loaded, market: Market, tell: Callable[[str], None]) -> tuple[int, EngineState] | None:
    """Return the newest generation that makes sense and is of this venue, and what it says; None: none is."""
    generations = [(loaded.generation, loaded.payload or b""), *(() if loaded.before is None else (loaded.before,))]
    for generation, payload in generations:
        instead = "a cold start" if generation == generations[-1][0] else "the one before it is used"
        try:
            state = decode_state(payload)
        except DecodeError as error:
            what = f"checkpoint {generation}: {error}"
            tell(f"{what}: {instead}")
            if not _may_go_back(market, StoreCorrupt(what)):
                return None
            continue
        if state.venue in ("", _venue(market)):
            return generation, state
        tell(f"checkpoint {generation}: expected one of {_venue(market)}, got one of {shown(state.venue)}: {instead}")
    return None


def _venue(market: Market) -> str:
    """Return what tells this venue from others."""
    embedded = market.config.venue
    if embedded is not None:
        return f"the embedded venue (seed {embedded.seed})"
    return parse_endpoint(market.config.public_url).authority


def _may_go_back(market: Market, error: StoreCorrupt) -> bool:
    """Return whether what is to be done about ``error`` is to use an earlier generation."""
    return isinstance(market.desk.decide(error, Where(line="checkpoints")), RestoreFromCheckpoint)


async def save_checkpoint(checkpoints: Checkpoints, market: Market, accounts: Mapping[str, Account]) -> None:
    """Put aside what is known now.

    Raises:
        StoreError: it may not be on the disk; the one before it is.
        UsageError: it is too long to be kept.
    """
    # Taken at one moment; none of it changes while it is written out, and that is done elsewhere.
    state, changes = _state(market, accounts), tuple(market.history)

    def encoded() -> bytes:
        return encode_state(msgspec.structs.replace(state, history=record_changes(changes)))

    limit_s = market.config.store.open_timeout_s
    with trio.move_on_after(limit_s):
        await checkpoints.save_made(encoded)
        return
    raise StoreError(f"checkpoint: expected the disk to take it within {limit_s:g} s; it may be written all the same")


async def run_checkpointer(
    checkpoints: Checkpoints,
    market: Market,
    accounts: Mapping[str, Account],
    tell: Callable[[str], None],
) -> None:
    """Write a checkpoint every ``checkpoint_every_s`` until cancelled; ``tell`` is told of one that failed."""
    while True:
        await trio.sleep(market.config.store.checkpoint_every_s)
        try:
            await save_checkpoint(checkpoints, market, accounts)
        except (StoreError, UsageError) as error:
            market.desk.decide(error, Where(line="checkpoints"))
            tell(str(error))


def _state(market: Market, accounts: Mapping[str, Account]) -> EngineState:
    clock, values = market.runtime.clock, market.publisher.values().values()
    return EngineState(
        saved_wall_ns=clock.wall_ns(),
        saved_s=clock.now(),
        venue=_venue(market),
        instruments=tuple(market.instruments.values()),
        tickers=tuple(value for value in values if isinstance(value, TickerUpdate)),
        books=tuple(value for value in values if isinstance(value, BookUpdate)),
        candles=tuple(_candles(market, values)),
        trades=tuple(value for value in values if isinstance(value, Trade)),
        accounts={name: _account(account) for name, account in accounts.items()},
    )


def _candles(market: Market, values: Iterable[MarketEvent]) -> Iterator[Candle]:
    """Return the candles of every series, the closed ones first, as far as they are older than the forming one."""
    for forming in values:
        if isinstance(forming, Candle):
            closed = market.pool.closed_candles(("ohlc", forming.symbol, forming.interval_min))
            yield from (candle for candle in closed if candle.interval_begin < forming.interval_begin)
            yield forming


def _account(account: Account) -> AccountState:
    return AccountState(
        orders=tuple(account.open_orders(allow_stale=True).values()),
        balances=tuple(account.holdings(allow_stale=True).values()),
        positions=tuple(
            reading.position for reading in account.positions(allow_stale=True).values() if reading.position is not None
        ),
    )
