"""The table leaves out whole columns where there is no room, and never a digit of a price."""

from __future__ import annotations

import pytest
from rich.console import Console

from kraken_engine.cli.board import table_that_fits

ROW = ("BTC/USD", "websocket_v2", "65008.8", "65009.1", "0.3", "0.05s", "1204", "2", "[green]verified")
LONG = ("BTC/USD", "websocket_v2", "12345.678901234", "12345.678901235", "0.3", "0.05s", "1204", "2", "[green]verified")


def drawn(row: tuple[str, ...], width: int) -> list[list[str]]:
    """Return the headings and the row, as words on a terminal of this width."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(table_that_fits([row], width))
    lines = [line.split() for line in capture.get().splitlines()]
    return [line for line in lines if line and "─" not in line[0]]


@pytest.mark.parametrize("row", [ROW, LONG])
@pytest.mark.parametrize("width", range(10, 130))
def test_what_is_shown_is_shown_whole(width: int, row: tuple[str, ...]) -> None:
    headings, cells = drawn(row, width)
    assert headings[0] == "symbol"
    assert len(headings) == len(cells)
    assert set(cells) <= {*row, "verified"}


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (120, "symbol source bid ask spread age books gaps state"),
        (60, "symbol bid ask spread age gaps state"),
        (40, "symbol bid ask state"),
        (27, "symbol bid ask"),
    ],
)
def test_a_narrow_terminal_drops_columns_by_what_they_are_worth(width: int, shown: str) -> None:
    assert drawn(ROW, width)[0] == shown.split()
