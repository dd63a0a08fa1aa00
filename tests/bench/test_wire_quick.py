from __future__ import annotations

import pytest

from bench import wire


def test_every_contender_receives_every_message_plain_and_over_tls(capsys: pytest.CaptureFixture[str]) -> None:
    figures = wire.main(["--quick"])

    counts = {kind: {name: [m.messages for m in rounds] for name, rounds in by.items()} for kind, by in figures.items()}
    expected = {"split": [2000], "stock": [200], "alone": [200]}
    assert counts == {"plain": expected, "TLS": expected}
    assert "split mode" in capsys.readouterr().out
