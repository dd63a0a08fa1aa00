from __future__ import annotations

import pytest

from bench import redundancy


def test_both_redundancies_are_measured_on_the_same_load(capsys: pytest.CaptureFixture[str]) -> None:
    figures = redundancy.main(["--quick"])

    assert {lines: len(rounds) for lines, rounds in figures.items()} == {1: 1, 2: 1}
    for (measured,) in figures.values():
        assert measured.messages > 0
        assert measured.shown > 0
        assert measured.cpu_s > 0
    assert "gate 1.7, goal 1.25" in capsys.readouterr().out
