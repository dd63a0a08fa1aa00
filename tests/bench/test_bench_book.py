from __future__ import annotations

import pytest

from bench import book


@pytest.mark.parametrize("depth", ["10", "25"])
def test_every_contender_agrees_with_every_checksum(depth: str, capsys: pytest.CaptureFixture[str]) -> None:
    figures = book.main(["--quick", "--depth", depth])

    assert set(figures) == {contender.__name__ for contender in book.CONTENDERS}
    assert "every checksum agreed" in capsys.readouterr().out
