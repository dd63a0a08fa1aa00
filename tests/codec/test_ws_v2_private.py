"""The channels of an account decode with every digit, and what is none of them is refused with the path."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.codec.ws_v2_frames import Ack, HeartbeatMessage, StatusMessage, UnknownMessage
from kraken_engine.codec.ws_v2_private import (
    BalancesMessage,
    ExecutionsMessage,
    FeeData,
    PrivateDecoder,
    decode_balance_rows,
)
from kraken_engine.errors import DecodeError

TRADE = (
    b'{"channel":"executions","type":"update","data":[{"order_id":"OK4GJX-KSTLS-7DZZO5","exec_id":"TGBB7L-HT5LX-J3BZ4A",'
    b'"exec_type":"trade","trade_id":62887576,"last_qty":0.00500000,"last_price":26599.9,"liquidity_ind":"t",'
    b'"cost":132.9995,"order_status":"partially_filled","cum_qty":0.00500000,"fees":[{"asset":"USD","qty":0.3458}]}],'
    b'"sequence":10}'
)


def decode(frame: bytes) -> object:
    return PrivateDecoder(sample_every=1).decode(frame)


def test_numbers_keep_the_digits_they_were_sent_with() -> None:
    message = decode(TRADE)
    assert isinstance(message, ExecutionsMessage)
    (report,) = message.data
    assert (report.last_qty, report.last_price, report.cum_qty) == (b"0.00500000", b"26599.9", b"0.00500000")
    assert report.fees == [FeeData("USD", b"0.3458")]
    assert (message.type, message.sequence) == ("update", 10)


def test_a_field_that_is_not_there_is_none() -> None:
    message = decode(TRADE)
    assert isinstance(message, ExecutionsMessage)
    assert (message.data[0].symbol, message.data[0].limit_price, message.data[0].triggers) == (None, None, None)


def test_triggers_and_conditional_orders_are_read() -> None:
    message = decode(
        b'{"channel":"executions","type":"update","sequence":2,"data":[{"order_id":"O1","exec_type":"status",'
        b'"triggers":{"reference":"last","price":50.5,"price_type":"static","status":"triggered"},'
        b'"contingent":{"order_type":"limit","limit_price":60.0,"limit_price_type":"static"}}]}'
    )
    assert isinstance(message, ExecutionsMessage)
    (report,) = message.data
    assert report.triggers is not None
    assert (report.triggers.price, report.triggers.status) == (b"50.5", "triggered")
    assert report.contingent is not None
    assert report.contingent.limit_price == b"60.0"


def test_balances_are_read_as_snapshot_and_as_transactions() -> None:
    snapshot = decode(
        b'{"channel":"balances","type":"snapshot","sequence":1,"data":[{"asset":"MATIC","asset_class":"currency",'
        b'"balance":500,"wallets":[{"type":"spot","id":"main","balance":300},{"type":"earn","id":"flex","balance":200}]}]}'
    )
    assert isinstance(snapshot, BalancesMessage)
    assert [(w.type, w.balance) for w in snapshot.data[0].wallets] == [("spot", 300), ("earn", 200)]
    update = decode(
        b'{"channel":"balances","type":"update","sequence":2,"data":[{"ledger_id":"L1","ref_id":"T1","type":"trade",'
        b'"asset":"USD","wallet_type":"spot","wallet_id":"main","amount":-19.9743,"fee":0.0499,"balance":118.0677}]}'
    )
    assert isinstance(update, BalancesMessage)
    assert (update.data[0].amount, update.data[0].fee, update.data[0].balance) == (b"-19.9743", b"0.0499", b"118.0677")


def test_a_refusal_of_a_private_channel_is_a_reply_though_it_names_the_channel() -> None:
    reply = decode(
        b'{"channel":"executions","error":"ESession:Invalid session","method":"subscribe","status":"error",'
        b'"success":false,"time_in":"2026-09-25T17:58:09.493462Z","time_out":"2026-09-25T17:58:09.493897Z"}'
    )
    assert isinstance(reply, Ack)
    assert (reply.channel, reply.success, reply.error) == ("executions", False, "ESession:Invalid session")


def test_a_confirmation_says_when_it_was_asked_and_how_much_may_be_traded() -> None:
    reply = decode(
        b'{"method":"subscribe","result":{"channel":"executions","maxratecount":125,"snap_orders":true},"success":true,'
        b'"time_in":"2026-01-20T14:03:46.011991Z","time_out":"2026-01-20T14:03:46.018146Z"}'
    )
    assert isinstance(reply, Ack)
    assert (reply.max_rate_count, reply.time_in) == (125, "2026-01-20T14:03:46.011991Z")


def test_what_all_lines_have_in_common_is_known_here_too() -> None:
    assert isinstance(decode(b'{"channel":"heartbeat"}'), HeartbeatMessage)
    assert isinstance(decode(b'{"channel":"status","type":"update","data":[{"system":"online"}]}'), StatusMessage)
    assert decode(b'{"channel":"ticker","type":"update","data":[]}') == UnknownMessage(channel="ticker")


@pytest.mark.parametrize(
    ("frame", "path"),
    [
        (b'{"channel":"executions","type":"update","data":[]}', "$.sequence"),
        (b'{"channel":"executions","type":"update","data":[{"order_id":"O1"}],"sequence":2}', "$.data[0].exec_type"),
        (b'{"channel":"executions","type":"delta","data":[],"sequence":2}', "$.type"),
        (b'{"channel":"executions","type":"update","data":[],"sequence":-1}', "$.sequence"),
        (b'{"channel":"balances","type":"update","data":[{"asset":"USD"}],"sequence":2}', "$.data[0].balance"),
        (b'{"channel":"balances","type":"update","data":[{"asset":1,"balance":2}],"sequence":2}', "$.data[0].asset"),
        (b'{"channel":"balances","type":"update","data":[],"sequence":2,"sequence":3}', "$"),
    ],
)
def test_a_fault_is_named_with_its_path(frame: bytes, path: str) -> None:
    with pytest.raises(DecodeError) as refusal:
        decode(frame)
    assert refusal.value.path == path


def test_an_unknown_field_is_tolerated_and_counted() -> None:
    decoder = PrivateDecoder(sample_every=1)
    decoder.decode(b'{"channel":"executions","type":"update","data":[{"exec_type":"new","news":1}],"sequence":2}')
    assert decoder.unknown_fields == {"executions.data.news": 1}


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_nothing_but_a_decode_error_comes_of_junk(junk: bytes) -> None:
    for frame in (junk, TRADE[:40] + junk, TRADE.replace(b"26599.9", junk)):
        try:
            decode(frame)
        except DecodeError:
            continue


class TestRows:
    def test_rows_take_numbers_in_quotes_or_without(self) -> None:
        rows = decode_balance_rows(
            b'[{"asset": "MANA", "balance": "163.94", "hold_trade": "0"}, {"asset": "USD", "balance": 5.10}]'
        )
        assert [(row.asset, row.balance, row.hold_trade) for row in rows] == [
            ("MANA", b"163.94", b"0"),
            ("USD", b"5.10", 0),
        ]

    @pytest.mark.parametrize("document", [b"{}", b'[{"asset":"A"}]', b'[{"balance":"1"}]', b"[1]", b"", b"[" * 100_000])
    def test_what_is_no_list_of_rows_is_refused(self, document: bytes) -> None:
        with pytest.raises(DecodeError):
            decode_balance_rows(document)


def test_the_encoder_of_the_tests_writes_what_json_reads() -> None:
    from decimal import Decimal

    from tests.model_account import written

    assert json.loads(written({"a": Decimal("0.10"), "b": "x"})) == {"a": 0.1, "b": "x"}
    assert b"0.10" in written({"a": Decimal("0.10")})
