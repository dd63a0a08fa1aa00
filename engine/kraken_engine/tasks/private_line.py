"""The kind of line that belongs to one account: its executions and its balances, with a token taken at every connect.

What the messages mean is decided by :mod:`~kraken_engine.state.account_sync`; here its actions are carried out. Nothing
is skipped: a reader without room waits, and gives the connection up rather than lose a report. A refused session costs
the token and the connection; a key that may not listen is not tried again for a long time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from kraken_engine.codec.requests import encode_request
from kraken_engine.codec.ws_v2_frames import Ack, Pong, StatusMessage
from kraken_engine.codec.ws_v2_private import BalancesMessage, ExecutionsMessage, PrivateDecoder
from kraken_engine.control.error_actions import Command, RefreshTokenAndReconnect, Resnapshot
from kraken_engine.errors import AuthRejected, CircuitOpen, ConnectFailed, DecodeError, EngineError, LineError
from kraken_engine.normalise.instruments import venue_status
from kraken_engine.secret import Secret
from kraken_engine.state.account_sync import CHANNELS, AccountAction, AccountSync, Ask, Resubscribe, Tell
from kraken_engine.state.channel_view import ChannelView, Outcome, SimpleChannel
from kraken_engine.state.junk import Junk, Lost
from kraken_engine.state.subscription_requests import Refusal
from kraken_engine.state.subscriptions import Request, SubscriptionKey
from kraken_engine.tasks.line import Batch, Line, Port, Reader

__all__ = ["PrivateLine", "Tokens"]

_CHANNEL_OF: dict[type, str] = {ExecutionsMessage: "executions", BalancesMessage: "balances"}
_PARAMS: Mapping[str, Mapping[str, bool]] = {
    "executions": {"snap_orders": True, "snap_trades": True},
    "balances": {"snapshot": True},
}


class Tokens(Protocol):
    """Where a private line gets what it connects with."""

    async def get(self) -> Secret:
        """Return a token that is fresh enough to connect with.

        Raises:
            EngineError: there is none to be had now.
        """
        ...

    def rejected(self, token: Secret, why: str) -> None:
        """A session was refused with this token."""
        ...

    def accepted(self, token: Secret) -> None:
        """A session works with this token."""
        ...


@attrs.define(eq=False, kw_only=True)
class PrivateLine(Line):
    """The line of one account."""

    account: str
    sync: AccountSync
    tokens: Tokens
    publish_event: Callable[[Tell], None]
    """Told of everything readers are to know, in order."""
    ask: Callable[[Ask], None]
    """Takes a question to REST; its answer comes back through :meth:`settle_actions`."""
    wait_for_room: Callable[[], Awaitable[None]]
    """Returns when there is room for what a new connection may bring."""
    has_room: Callable[[], bool] = lambda: True
    """Whether there is room for what this connection may still bring."""
    auth_pause_s: float = 900.0
    """After the venue refused the key itself, no attempt for so long: it would end in a lockout."""
    _token: Secret | None = attrs.field(default=None, init=False, repr=False)
    _due: float | None = attrs.field(default=None, init=False)
    """When the state wanted a tick, the last time somebody looked."""

    def __attrs_post_init__(self) -> None:
        Line.__attrs_post_init__(self)
        self.prepare = self._take_token
        for channel in CHANNELS:
            self.want((channel, self.account), SubscriptionKey(channel=channel))

    # -- what makes it a private one

    def make_views(self) -> Iterable[ChannelView]:
        """Return the two views of an account: they lead to the one state behind both."""
        views = [_View(sync=self.sync, leads=channel == CHANNELS[0]) for channel in CHANNELS]
        for view, channel in zip(views, CHANNELS, strict=True):
            view.channel = channel
        return views

    def open_reader(self, port: Port) -> Reader:
        """Return what reads the frames of a new connection."""
        return _PrivateReader(self, port)

    def encode(self, request: Request) -> bytes:
        """Return a request with the token of this connection."""
        params = {**request.params, **(_PARAMS[request.channel] if request.method == "subscribe" else {})}
        return encode_request(request.method, {**params, "token": self._token}, request.req_id)

    async def _take_token(self) -> None:
        """Get the token for the next connection.

        Raises:
            ConnectFailed: there is none to be had; the account says why.
        """
        await self.wait_for_room()
        try:
            self._token = await self.tokens.get()
        except EngineError as error:
            floor_s = 0.0
            if isinstance(error, AuthRejected):
                floor_s = self.auth_pause_s
            elif isinstance(error, CircuitOpen):
                floor_s = min(error.retry_in_s, self.auth_pause_s)
            self.settle_actions(self.sync.refused(f"no token to connect with: {error}", now=self.now()))
            raise ConnectFailed("token", self.name, str(error), retry_floor_s=floor_s) from None

    # -- the life of a connection

    def connected(self, port: Port) -> None:
        """A connection is up: both channels are asked for."""
        Line.connected(self, port)
        self.settle_actions(self.sync.connected(now=self.now()))

    def heard_last(self) -> float:
        """Return when the last frame was read, on whatever connection (monotonic)."""
        return self.last_frame_s

    def suspect(self, why: str) -> None:
        """The connection is silent: the account may not be relied on."""
        self.settle_actions(self.sync.suspect(self.modes.blame(f"{self.name}: {why}"), now=self.now()))

    def disconnected(self, why: str) -> None:
        """The connection is gone, and with it everything that was current through it."""
        Line.disconnected(self, why)
        self.settle_actions(self.sync.disconnected(self.modes.blame(why), now=self.now()))

    # -- what the reader and the channel tasks report

    def apply(self, channel: str, batch: Batch, port: Port) -> None:  # noqa: ARG002 - actions know the port
        """Apply the messages of one channel, confirmations among them, in the order in which they came."""
        now = batch.received_s
        for message in batch.messages:
            match message:
                case Lost(why=why):
                    self.settle_actions(self.sync.lose(channel, why, now=now))
                case Ack():
                    self.sync.confirmed(channel, venue_time=message.time_in, now=now)
                case _:
                    self.settle_actions(self.sync.receive(message, received_s=now))
                    if message.type == "snapshot":
                        self.arrived(channel, message)
                        self._accepted()
        self.handled(len(batch.messages), now)

    def overran(self, channel: str, port: Port) -> None:  # noqa: ARG002 - actions know the port
        """Messages of a channel were dropped: its state is not to be relied on."""
        self.settle_actions(self.sync.lose(channel, "this channel's inbox overran", now=self.now()))

    def tick(self, channel: str, port: Port) -> None:  # noqa: ARG002 - one state behind both channels
        """Do what is due by now."""
        self.settle_actions(self.sync.tick(now=self.now()))

    def answered(self, ack: Ack, port: Port, *, now: float) -> None:
        """Take one reply; a refusal that asking again cannot change ends the connection."""
        Line.answered(self, ack, port, now=now)
        error = ack.error or "refused without a reason"
        if not ack.success and ack.method == "subscribe" and Refusal.of(error) is Refusal.FINAL:
            port.end(self._refused(error, floor_s=self.auth_pause_s, now=now))

    def obey(self, command: Command, port: Port, *, error: str) -> None:
        """Do what the table of errors commands: a token that is worthless is replaced, and the connection with it."""
        if not isinstance(command, RefreshTokenAndReconnect):
            Line.obey(self, command, port, error=error)
            return
        if self._token is not None:
            self.tokens.rejected(self._token, error)
        port.end(self._refused(error, floor_s=0.0, now=self.now()))

    @property
    def account_name(self) -> str:
        """Whose line it is."""
        return self.account

    def _refused(self, error: str, *, floor_s: float, now: float) -> LineError:
        self.settle_actions(self.sync.refused(f"the venue refuses the session: {error}", now=now))
        return ConnectFailed("session", self.name, error, retry_floor_s=floor_s)

    def _accepted(self) -> None:
        if self._token is not None:
            self.tokens.accepted(self._token)

    def symbols_of(self, channel: str, message: Any) -> Iterable[str | None]:  # noqa: ARG002 - both are alike
        """Return what a snapshot is about: the subscription as a whole."""
        return (None,)

    # -- actions

    def settle_actions(self, actions: Iterable[AccountAction]) -> None:
        """Carry out what the state of the account decided, and let readers run."""
        for action in actions:
            match action:
                case Tell():
                    self.publish_event(action)
                case Resubscribe(channel=channel):
                    if self._port is not None:
                        self._port.again((channel, self.account))
                case Ask():
                    self.ask(action)
        if self._port is not None and not self.has_room():
            # What is not heard now is fetched later; what is heard and not written would fill the memory.
            self._port.end(LineError(f"{self.name}: too many fills wait for the disk"))
        due, self._due = self._due, self.sync.next_due
        if self._port is not None and self._due != due:
            self._port.nudge(CHANNELS[0], now=self.now())  # its task has to know of the new deadline
        self.outlet.flush()


@attrs.define
class _View(SimpleChannel[None]):
    """One of the two channels, as a session sees it: the state is behind both, and all a view knows is when it is due.

    Messages, losses and ticks reach the state through the line, in the order of the wire.
    """

    sync: AccountSync = attrs.field(kw_only=True)
    leads: bool = attrs.field(kw_only=True)
    """Whether this one of the two asks for ticks."""

    @property
    def next_due(self) -> float | None:
        """When the state wants a tick."""
        return self.sync.next_due if self.leads else None

    def receive(self, message: Any, *, received_s: float) -> list[Outcome]:  # noqa: ARG002 - see the class
        """Return nothing: see the class."""
        return []

    def lose(
        self, why: str, *, now: float, symbol: str | None = None, line_down: bool = False  # noqa: ARG002 - see the class
    ) -> list[Outcome]:  # fmt: skip
        """Return nothing: see the class."""
        return []

    def _begin(self, subscription: SubscriptionKey) -> None:
        del subscription


class _PrivateReader:
    """Reads one connection of a private line."""

    def __init__(self, line: PrivateLine, port: Port) -> None:
        self._line = line
        self._port = port
        self._decoder = PrivateDecoder()
        self._junk = Junk(CHANNELS)

    def receive(self, frames: Sequence[bytes], received_s: float) -> Mapping[str, Batch]:
        """Decode, answer to bookkeeping, and sort the rest by channel."""
        found: dict[str, list[Any]] = {}
        for frame in frames:
            try:
                message = self._decoder.decode(frame)
            except DecodeError as error:
                self._undecodable(frame, error, received_s, found)
                continue
            channel = _CHANNEL_OF.get(type(message))
            if channel is not None:
                found.setdefault(channel, []).append(message)
            elif isinstance(message, Ack):
                self._line.answered(message, self._port, now=received_s)
                if message.success and message.method == "subscribe" and message.channel in CHANNELS:
                    found.setdefault(message.channel, []).append(message)
            elif isinstance(message, StatusMessage):
                # The market's own lines tell of the venue's state; here only a status that makes no sense counts.
                venue_status(message, at_s=received_s, reject=self._line.status_rejected)
            elif isinstance(message, Pong):
                self._port.pong()
        return {channel: Batch(messages, received_s) for channel, messages in found.items()}

    def spoke_again(self, *, now: float) -> None:
        """The silence that cost the account its trust is over."""
        self._line.settle_actions(self._line.sync.spoke_again(now=now))

    def look(self, *, now: float) -> None:
        """Nothing of an account is due by the look of its connection."""

    def _undecodable(self, frame: bytes, error: DecodeError, received_s: float, found: dict[str, list[Any]]) -> None:
        if isinstance(self._line.reject(error), Resnapshot):
            for channel, lost in self._junk.cost(frame, error):
                found.setdefault(channel, []).append(lost)
        why = self._junk.verdict(error, now=received_s)
        if why is not None:
            self._port.end(LineError(f"{self._line.name}: {why}"))
