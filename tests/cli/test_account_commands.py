"""``balances``, ``orders``, ``positions`` and ``fills`` show the embedded venue's account, in words and as JSON."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from kraken_engine.cli.app import run


def lines(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[str]:
    assert run(list(arguments)) == code
    return capsys.readouterr().out.splitlines()


def test_balances_are_free_used_and_total_and_the_venue_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = lines(capsys, "balances", "--sim", "--check", "--json")
    shown = json.loads(line)
    assert (shown["account"], shown["checked"], shown["differences"]) == ("main", True, [])
    for row in shown["balances"]:
        assert Decimal(row["free"]) + Decimal(row["used"]) + Decimal(row["earn"]) == Decimal(row["total"])
        assert row["source"] == "websocket_v2"
    assert {row["asset"] for row in shown["balances"] if Decimal(row["used"])} == {"BTC", "USD"}


def test_orders_are_those_that_are_open(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = lines(capsys, "orders", "--sim", "--json")
    shown = json.loads(line)["orders"]
    assert len(shown) == 6
    assert {order["status"] for order in shown} == {"new"}
    assert all(order["external"] for order in shown)
    head, *rows = lines(capsys, "orders", "--sim")
    assert head.split() == ["order", "symbol", "side", "type", "price", "qty", "filled", "status"]
    assert len(rows) == 6


def test_positions_are_those_on_margin_with_every_lot(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = lines(capsys, "positions", "--sim", "--json")
    shown = json.loads(line)
    assert shown["account"] == "main"
    assert [(row["symbol"], row["side"], row["verified"], row["why"]) for row in shown["positions"]] == [
        ("BTC/USD", "buy", True, ""),
        ("ETH/USD", "sell", True, ""),
    ]
    for row in shown["positions"]:
        assert sum(Decimal(lot["qty"]) for lot in row["lots"]) == Decimal(row["qty"]) > 0
        assert sum(Decimal(lot["qty"]) * Decimal(lot["price"]) for lot in row["lots"]) == Decimal(row["cost"])


def test_fills_come_in_order_and_behind_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    *shown, summary = [json.loads(line) for line in lines(capsys, "fills", "--sim", "--json")]
    assert [fill["number"] for fill in shown] == [1, 2, 3]
    assert summary == {"account": "main", "fills": 3, "last": 3}
    *later, _ = [json.loads(line) for line in lines(capsys, "fills", "--sim", "--json", "--since", "2")]
    assert [fill["number"] for fill in later] == [3]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("balances",), "expected one of --config FILE and --sim"),
        (("orders", "other", "--sim"), "--sim has one account, called main; got other"),
        (("fills", "--sim", "--since", "-1"), "Must be >= 0"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], complaint: str
) -> None:
    assert run(list(arguments)) == 2
    assert complaint in capsys.readouterr().err


def test_keys_that_are_not_there_are_all_named_before_anything_is_opened(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "kraken.yaml"
    file.write_text(
        "websocket: {public_endpoint: 'ws://127.0.0.1:9/v2'}\n"  # where nobody listens
        "accounts: {main: {key_file: a.key, emergency_key_file: b.key}}\n"
        "storage: {state_dir: state}\n"
    )
    assert run(["balances", "--config", str(file)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"kraken-engine: {tmp_path}/a.key: expected a key file, cannot be read: No such file or directory"
    assert second == f"kraken-engine: {tmp_path}/b.key: expected a key file, cannot be read: No such file or directory"
    assert not (tmp_path / "state").exists()


def test_an_account_that_is_not_in_the_file_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "kraken.yaml"
    file.write_text("accounts:\n  spot: {}\n")
    assert run(["orders", "--config", str(file)]) == 2
    assert "no account called main; there is spot" in capsys.readouterr().err
