"""Precisions come from whatever document of the venue is at hand."""

from __future__ import annotations

import pytest
from tests import strategies_frames as frames

from kraken_engine.errors import ConfigError
from kraken_engine.store.instrument_file import read_instruments


class OneFile:
    """Files of a process that has one, or none."""

    def __init__(self, content: bytes | None) -> None:
        self.content = content

    def read_bytes(self, path: str) -> bytes:
        if self.content is None:
            raise PermissionError(13, "Permission denied", path)
        return self.content

    def write_private(self, path: str, data: bytes) -> None:
        raise PermissionError(path)

    def make_directory(self, path: str) -> None:
        raise PermissionError(path)

    def mode(self, path: str) -> int:
        return 0


REST = (
    b'{"error":[],"result":{"XXBTZUSD":{"wsname":"XBT/USD","pair_decimals":1,"lot_decimals":8,"fees":[[0,0.4]]},'
    b'"XDGUSD":{"wsname":"XDG/USD","pair_decimals":7,"lot_decimals":8}}}'
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"A/B":{"price_decimals":1,"qty_decimals":2}}', [("A/B", 1, 2)]),
        (REST, [("BTC/USD", 1, 8), ("DOGE/USD", 7, 8)]),
        (frames.INSTRUMENT, [("EUR/USD", 5, 8)]),
        (frames.INSTRUMENT + b"\n" + frames.HEARTBEAT + b"\n", [("EUR/USD", 5, 8)]),
    ],
    ids=["table", "AssetPairs", "frame", "recording"],
)
def test_each_kind_of_document_is_understood(content: bytes, expected: list[tuple[str, int, int]]) -> None:
    found = read_instruments(OneFile(content), "pairs.json")
    assert [(each.symbol, each.price_decimals, each.qty_decimals) for each in found] == expected


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"{}",
        b"[]",
        b"not json",
        b"\xff",
        frames.HEARTBEAT,
        frames.INSTRUMENT.replace(b'"base":"EUR",', b""),
        b'{"channel":"instrument","type":"update","data":{"assets":[],"pairs":[]}}',
        b'{"error":["EGeneral:Internal error"],"result":{}}',
        b'{"result":{"X":{"wsname":"XBT/USD","pair_decimals":"1","lot_decimals":8}}}',
        b'{"A/B":{"price_decimals":1}}',
        b'{"A/B":{"price_decimals":31,"qty_decimals":2}}',
        b'{"AB":{"price_decimals":1,"qty_decimals":2}}',
        b'{"x":' + b"[" * 100_000,
    ],
    ids=lambda content: repr(content)[:40],
)
def test_anything_else_is_refused_with_the_files_name(content: bytes | None) -> None:
    with pytest.raises(ConfigError, match=r"^pairs\.json: expected") as caught:
        read_instruments(OneFile(content), "pairs.json")
    assert len(str(caught.value)) < 300
