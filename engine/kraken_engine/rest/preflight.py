"""Whether a key is fit for use, from what the venue says of it: before anything depends on it.

A key that may withdraw is worth stealing; one that lacks a permission fails at the worst moment. Both are said in plain
words, with what to do. Sans-IO. Source: docs "API Keys", "Get API Key Info".
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs

from kraken_engine.codec.rest_private import KeyInfo
from kraken_engine.codec.tally import label

__all__ = ["FORBIDDEN", "NEEDED", "NEEDED_IN_AN_EMERGENCY", "Finding", "Level", "check_key_info"]


class Level(enum.Enum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"

    def __str__(self) -> str:
        return self.value


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    text: str
    """In plain words; where something is wrong, with what to do."""


NEEDED: Mapping[str, str] = {
    "query-funds": "balances",
    "query-open-trades": "open orders and positions",
    "query-closed-trades": "closed orders and executions",
    "modify-trades": "placing and amending orders",
    "close-trades": "cancelling orders",
    "access-websockets": "the token of the private WebSocket",
}
"""What an account of the engine needs, and what for."""

NEEDED_IN_AN_EMERGENCY: Mapping[str, str] = {"close-trades": "cancelling orders"}
"""What an emergency key needs: it only cancels."""

FORBIDDEN: Mapping[str, str] = {"withdraw-funds": "move money out of the account"}
"""What no key of the engine may have, and what whoever steals it could do."""

_SOON_S = 7 * 86_400


def check_key_info(info: KeyInfo, *, unix_s: float, needed: Mapping[str, str] = NEEDED) -> list[Finding]:
    """Return what is to be said of a key at ``unix_s`` (Unix seconds), the worst first.

    The names of permissions are the venue's; more than those ``needed`` are allowed, and are not named.
    """
    found: list[Finding] = []
    has = set(info.permissions)
    for name, what_for in FORBIDDEN.items():
        if name in has:
            found.append(_fail(f"the key may {what_for} ({name}): make one that may not, and delete this one"))
    found += [
        _fail(f"the key lacks {name}, needed for {what_for}: add it in the key's settings at the venue")
        for name, what_for in needed.items()
        if name not in has
    ]
    if info.valid_until:
        left_s = float(info.valid_until) - unix_s
        if left_s <= 0:
            found.append(_fail("the key has expired: make a new one"))
        elif left_s < _SOON_S:
            found.append(_warn(f"the key expires in {left_s / 86_400:.1f} days"))
    if info.nonce_window:
        found.append(
            _warn(f"the key has a nonce window of {info.nonce_window}: set it to 0, or a request may be repeated")
        )
    if not info.ip_allowlist:
        found.append(_warn("the key works from every address: let the venue accept it from yours only"))
    if not any(finding.level is Level.FAIL for finding in found):
        listed = ", ".join(label(name) for name in sorted(has & set(needed)))
        found.append(Finding(level=Level.OK, text=f"the key has what it needs ({listed}) and cannot withdraw"))
    return found


def _fail(text: str) -> Finding:
    return Finding(level=Level.FAIL, text=text)


def _warn(text: str) -> Finding:
    return Finding(level=Level.WARN, text=text)
