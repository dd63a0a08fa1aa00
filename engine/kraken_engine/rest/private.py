"""The private operations of one account, typed: symbols, assets and amounts are ours, in both directions.

Questions, a token, cancels; and, where the settings allow it, an order. Nothing here moves funds. Cancels go over the
emergency key, if the account has one: its nonces and its queue are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TypeVar, final

from kraken_engine.codec import rest_private as codec
from kraken_engine.codec.rest import Envelope
from kraken_engine.codec.rest_private import (
    CancelCount,
    DeadMansSwitch,
    DepositAddress,
    DepositMethod,
    KeyInfo,
    NewOrder,
    SessionToken,
    WithdrawInfo,
    WithdrawMethod,
)
from kraken_engine.errors import UsageError, shown
from kraken_engine.model import Side, money
from kraken_engine.normalise import rest_account as normalise
from kraken_engine.normalise.rest_account import AssetBalance, RestFill, RestOrder, RestPosition
from kraken_engine.rest.calls import Attempt, RestStatistics, check_names
from kraken_engine.rest.operations import Group, operation
from kraken_engine.rest.public import PublicRest
from kraken_engine.rest.queue import RestQueue
from kraken_engine.rest.sending import Reply

__all__ = ["ORDERS_PER_QUERY", "ROWS_PER_PAGE", "PrivateRest"]

ROWS_PER_PAGE = 50
"""Rows of one page of ``ClosedOrders`` and ``TradesHistory``."""
ORDERS_PER_QUERY = 50

_T = TypeVar("_T")


@final
class PrivateRest:
    """What the key of one account may ask and do.

    Every method raises what :meth:`~kraken_engine.rest.queue.RestQueue.call` raises. ``group`` says what the call is
    for, and with that how urgent it is; ``timeout_s`` is how long the caller waits in all.
    """

    def __init__(
        self,
        queue: RestQueue,
        public: PublicRest,
        *,
        emergency: RestQueue | None = None,
        allow_add_order: bool = False,
        fingerprint: str = "",
    ) -> None:
        self.fingerprint = fingerprint
        """Names the key, and tells nothing of it."""
        self._queue = queue
        self._public = public
        self._emergency = emergency or queue
        self._allow_add_order = allow_add_order

    def statistics(self) -> RestStatistics:
        """Return the counters of the calls of the key (not of the emergency key)."""
        return self._queue.statistics()

    def observe(self, observer: Callable[[Attempt], None]) -> Callable[[], None]:
        """Call ``observer`` for every attempt of the key that is over, until the returned function is called."""
        return self._queue.observe(observer)

    @property
    def breaker_is_open(self) -> bool:
        """Whether nothing ordinary passes now."""
        return self._queue.is_open

    async def balance(self, *, group: Group = Group.RECOVERY, timeout_s: float | None = None) -> dict[str, Decimal]:
        """Return totals by asset code."""
        left = self._queue.patience(timeout_s)
        names = await self._public.symbols(assets=True, timeout_s=left())

        def finish(reply: Reply) -> dict[str, Decimal]:
            return normalise.asset_totals(codec.decode_balance(reply.envelope), names)

        return await self._queue.call(operation(group, "Balance"), {}, finish, timeout_s=left())

    async def balance_ex(
        self, *, group: Group = Group.RECOVERY, timeout_s: float | None = None
    ) -> dict[str, AssetBalance]:
        """Return totals, holds and what is available, by asset code."""
        left = self._queue.patience(timeout_s)
        names = await self._public.symbols(assets=True, timeout_s=left())

        def finish(reply: Reply) -> dict[str, AssetBalance]:
            rows = codec.decode_balance_ex(reply.envelope)
            return normalise.asset_balances(rows, names, received_s=reply.received_s)

        return await self._queue.call(operation(group, "BalanceEx"), {}, finish, timeout_s=left())

    async def open_orders(
        self,
        *,
        cl_ord_id: str | None = None,
        userref: int | None = None,
        trades: bool = False,
        group: Group = Group.RECOVERY,
        timeout_s: float | None = None,
    ) -> dict[str, RestOrder]:
        """Return the open orders by id; ``trades``: with the ids of their executions."""
        left = self._queue.patience(timeout_s)
        names = await self._public.symbols(timeout_s=left())

        def finish(reply: Reply) -> dict[str, RestOrder]:
            rows = codec.decode_open_orders(reply.envelope)
            return normalise.rest_orders(rows, names, received_s=reply.received_s)

        fields = _given(trades="true" if trades else None, userref=_whole(userref), cl_ord_id=cl_ord_id)
        return await self._queue.call(operation(group, "OpenOrders"), fields, finish, timeout_s=left())

    async def closed_orders(
        self,
        *,
        start: int | str | None = None,
        end: int | str | None = None,
        offset: int = 0,
        cl_ord_id: str | None = None,
        userref: int | None = None,
        trades: bool = False,
        timeout_s: float | None = None,
    ) -> tuple[dict[str, RestOrder], int]:
        """Return one page of at most 50 closed orders, newest first, and how many match in all.

        ``start`` (exclusive) and ``end`` (inclusive) are Unix seconds or order ids.
        """
        left = self._queue.patience(timeout_s)
        names = await self._public.symbols(timeout_s=left())

        def finish(reply: Reply) -> tuple[dict[str, RestOrder], int]:
            page = codec.decode_closed_orders(reply.envelope)
            return normalise.rest_orders(page.closed, names, received_s=reply.received_s), page.count

        fields = _given(
            trades="true" if trades else None,
            userref=_whole(userref),
            cl_ord_id=cl_ord_id,
            start=_whole(start),
            end=_whole(end),
            ofs=_whole(offset or None),
        )
        what = operation(Group.RECOVERY, "ClosedOrders")
        return await self._queue.call(what, fields, finish, timeout_s=left())

    async def query_orders(
        self, order_ids: Sequence[str], *, trades: bool = False, timeout_s: float | None = None
    ) -> dict[str, RestOrder]:
        """Return at most 50 orders by the venue's ids."""
        check_names("order_ids", order_ids)
        left = self._queue.patience(timeout_s)
        if not 1 <= len(order_ids) <= ORDERS_PER_QUERY:
            raise UsageError(f"order_ids: expected 1 to {ORDERS_PER_QUERY} of them, got {len(order_ids)}")
        names = await self._public.symbols(timeout_s=left())

        def finish(reply: Reply) -> dict[str, RestOrder]:
            return normalise.rest_orders(codec.decode_orders(reply.envelope), names, received_s=reply.received_s)

        fields = _given(txid=",".join(order_ids), trades="true" if trades else None)
        what = operation(Group.RECOVERY, "QueryOrders")
        return await self._queue.call(what, fields, finish, timeout_s=left())

    async def trades_history(
        self,
        *,
        start: int | str | None = None,
        end: int | str | None = None,
        offset: int = 0,
        timeout_s: float | None = None,
    ) -> tuple[dict[str, RestFill], int]:
        """Return one page of at most 50 executions, newest first, and how many match in all.

        ``start`` (exclusive) and ``end`` (inclusive) are Unix seconds or ids of executions. Costs four ordinary calls.
        """
        left = self._queue.patience(timeout_s)
        names = await self._public.symbols(timeout_s=left())

        def finish(reply: Reply) -> tuple[dict[str, RestFill], int]:
            page = codec.decode_trades_history(reply.envelope)
            return normalise.rest_fills(page.trades, names, received_s=reply.received_s), page.count

        fields = _given(start=_whole(start), end=_whole(end), ofs=_whole(offset or None))
        what = operation(Group.RECOVERY, "TradesHistory")
        return await self._queue.call(what, fields, finish, timeout_s=left())

    async def open_positions(
        self, *, group: Group = Group.RECOVERY, timeout_s: float | None = None
    ) -> dict[str, RestPosition]:
        """Return the open margin positions by id, with what they are worth."""
        left = self._queue.patience(timeout_s)
        names = await self._public.symbols(timeout_s=left())

        def finish(reply: Reply) -> dict[str, RestPosition]:
            return normalise.rest_positions(codec.decode_positions(reply.envelope), names, received_s=reply.received_s)

        what = operation(group, "OpenPositions")
        return await self._queue.call(what, {"docalcs": "true"}, finish, timeout_s=left())

    async def websockets_token(self, *, timeout_s: float | None = None) -> SessionToken:
        """Return a token for a private WebSocket. While the breaker is open, waits to be its first probe."""
        return await self._ask(Group.RECOVERY, "GetWebSocketsToken", {}, codec.decode_token, timeout_s)

    async def api_key_info(self, *, timeout_s: float | None = None) -> KeyInfo:
        """Return what the venue knows of the key: its permissions, its last nonce, its limits."""
        return await self._ask(Group.VALIDATION, "GetApiKeyInfo", {}, codec.decode_key_info, timeout_s)

    async def withdraw_info(
        self, asset: str, key: str, amount: Decimal | str | int, *, timeout_s: float | None = None
    ) -> WithdrawInfo:
        """Return what paying out ``amount`` to the saved address called ``key`` would cost. Moves nothing."""
        left = self._queue.patience(timeout_s)
        names = await self._public.symbols(assets=True, timeout_s=left())
        fields = {"asset": names.asset_id(asset), "key": key, "amount": _amount(amount, "amount")}
        return await self._ask(Group.ADMINISTRATIVE, "WithdrawInfo", fields, codec.decode_withdraw_info, left())

    async def withdraw_methods(
        self, asset: str | None = None, *, timeout_s: float | None = None
    ) -> list[WithdrawMethod]:
        """Return the ways to pay out, of one asset or of all."""
        left = self._queue.patience(timeout_s)
        names = await self._public.symbols(assets=True, timeout_s=left())
        fields = _given(asset=None if asset is None else names.asset_id(asset))
        return await self._ask(Group.ADMINISTRATIVE, "WithdrawMethods", fields, codec.decode_withdraw_methods, left())

    async def deposit_methods(self, asset: str, *, timeout_s: float | None = None) -> list[DepositMethod]:
        """Return the ways to pay in ``asset``."""
        left = self._queue.patience(timeout_s)
        names = await self._public.symbols(assets=True, timeout_s=left())
        fields = {"asset": names.asset_id(asset)}
        return await self._ask(Group.ADMINISTRATIVE, "DepositMethods", fields, codec.decode_deposit_methods, left())

    async def deposit_addresses(
        self, asset: str, method: str, *, timeout_s: float | None = None
    ) -> list[DepositAddress]:
        """Return the addresses to pay in ``asset`` to; makes no new one."""
        left = self._queue.patience(timeout_s)
        names = await self._public.symbols(assets=True, timeout_s=left())
        fields = {"asset": names.asset_id(asset), "method": method}
        return await self._ask(Group.ADMINISTRATIVE, "DepositAddresses", fields, codec.decode_deposit_addresses, left())

    async def cancel_order(
        self,
        order_id: str | None = None,
        *,
        cl_ord_id: str | None = None,
        group: Group = Group.EMERGENCY,
        timeout_s: float | None = None,
    ) -> CancelCount:
        """Cancel one order, by the venue's id or by ours."""
        if (order_id is None) == (cl_ord_id is None):
            raise UsageError("cancel_order: expected one of order_id and cl_ord_id")
        fields = _given(txid=order_id, cl_ord_id=cl_ord_id)
        return await self._ask(group, "CancelOrder", fields, codec.decode_cancel, timeout_s)

    async def cancel_all(self, *, group: Group = Group.EMERGENCY, timeout_s: float | None = None) -> CancelCount:
        """Cancel every open order of the account."""
        return await self._ask(group, "CancelAll", {}, codec.decode_cancel, timeout_s)

    async def cancel_all_orders_after(
        self, after_s: int, *, group: Group = Group.EMERGENCY, timeout_s: float | None = None
    ) -> DeadMansSwitch:
        """Let the venue cancel everything in ``after_s`` seconds unless called again; 0 disarms. Account-wide."""
        if not isinstance(after_s, int) or isinstance(after_s, bool) or not 0 <= after_s < 86_400:
            raise UsageError(f"after_s: expected a whole number from 0 to 86399, got {shown(after_s)}")
        fields = {"timeout": str(after_s)}
        return await self._ask(group, "CancelAllOrdersAfter", fields, codec.decode_cancel_all_after, timeout_s)

    async def add_order(
        self,
        symbol: str,
        side: Side | str,
        order_type: str,
        qty: Decimal | str | int,
        *,
        price: Decimal | str | int | None = None,
        cl_ord_id: str | None = None,
        deadline: str | None = None,
        time_in_force: str | None = None,
        post_only: bool = False,
        validate: bool = False,
        timeout_s: float | None = None,
    ) -> NewOrder:
        """Enter an order: only where ``rest.allow_add_order`` is set, and under the rules of intents.

        An error with ``maybe_executed`` leaves it open whether the order lives: ask, never resend. ``deadline`` is RFC
        3339, 2 to 60 s ahead: the engine does not match the order after it.
        """
        left = self._queue.patience(timeout_s)
        what = operation(Group.EMERGENCY, "AddOrder", allow_add_order=self._allow_add_order)
        names = await self._public.symbols_with(symbol, timeout_s=left())
        fields = _given(
            pair=names.key(symbol),
            type=_side(side).value,
            ordertype=order_type,
            volume=_amount(qty, "qty"),
            price=None if price is None else _amount(price, "price"),
            cl_ord_id=cl_ord_id,
            deadline=deadline,
            timeinforce=time_in_force,
            oflags="post" if post_only else None,
            validate="true" if validate else None,
        )

        def finish(reply: Reply) -> NewOrder:
            return codec.decode_add_order(reply.envelope)

        return await self._queue.call(what, fields, finish, timeout_s=left())

    async def _ask(
        self,
        group: Group,
        name: str,
        fields: Mapping[str, str],
        decode: Callable[[Envelope], _T],
        timeout_s: float | None,  # noqa: ASYNC109 - handed on
    ) -> _T:
        def finish(reply: Reply) -> _T:
            return decode(reply.envelope)

        queue = self._emergency if group in _OVER_THE_EMERGENCY_KEY else self._queue
        return await queue.call(operation(group, name), fields, finish, timeout_s=timeout_s)


_OVER_THE_EMERGENCY_KEY = (Group.EMERGENCY, Group.FAREWELL)


def _given(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}


def _side(value: Side | str) -> Side:
    try:
        return Side(value)
    except ValueError:
        raise UsageError(
            f"side: expected one of {', '.join(known.value for known in Side)}, got {shown(value)}"
        ) from None


def _whole(value: int | str | None) -> str | None:
    return None if value is None else str(value)


def _amount(value: Decimal | str | int, name: str) -> str:
    return format(money(value, name=name), "f")
