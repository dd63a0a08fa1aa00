"""The drills themselves, short: they run, judge and find nothing wrong."""

from __future__ import annotations

import pytest
from tests.drills import redundancy, symbols


def test_losing_either_line_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert redundancy.main(["--kills", "3", "--rate", "400", "--symbols", "2", "--seed", "7"]) == 0
    assert "3 kills" in capsys.readouterr().out


def test_without_a_second_line_the_same_drill_finds_what_was_lost(capsys: pytest.CaptureFixture[str]) -> None:
    assert redundancy.main(["--kills", "1", "--rate", "400", "--symbols", "1", "--redundancy", "1"]) == 1
    assert "closed with" in capsys.readouterr().out


def test_many_books_on_two_lines_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert symbols.main(["--symbols", "30", "--seconds", "4", "--rate", "300"]) == 0
    told = capsys.readouterr().out
    assert "order on reconnect kept" in told
