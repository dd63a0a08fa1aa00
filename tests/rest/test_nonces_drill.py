"""The drill of the nonces in short: killed twice and started again, no client uses a nonce that does not rise."""

from __future__ import annotations

import pytest
from tests.drills.nonces import main


def test_the_venue_refuses_no_nonce_of_a_client_that_is_killed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kills", "2", "--tasks", "8"]) == 0
    assert "0 did not rise, 0 refused" in capsys.readouterr().out
