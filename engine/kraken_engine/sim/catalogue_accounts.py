"""The fault matrix as data, continued: what the simulated world can do to REST calls, keys and private lines.

Rows are those of the same matrix as in ``catalogue``. These kinds are kept apart: a world of market data alone has
nothing that they could hit. A kind that aims at an account counts round the venue's accounts.
"""

from __future__ import annotations

from kraken_engine.sim.plan import Catalogue, Choice, FaultKind, Number

__all__ = ["ACCOUNT_CATALOGUE"]

_WHILE = Number(0.5, 30, log=True)
_LONG = Number(5, 300, log=True)
_FEW = Number(1, 3, whole=True)
_ANYWHERE = Choice(("/0/", "/0/private/", "/0/private/GetWebSocketsToken", "/0/private/BalanceEx"))
_PERHAPS = Choice((True, False))

_REST = (
    FaultKind(
        name="rest_redirect",
        number=22,
        weight=0.3,
        place="rest",
        command="rest_status",
        parameters={
            "status": Choice((301, 302, 307, 308)),
            "location": Choice(("https://elsewhere.test/0/public/Time",)),
            "path": _ANYWHERE,
        },
    ),
    FaultKind(
        name="rest_page",
        number=23,
        place="rest",
        command="rest_status",
        parameters={"status": Choice((500, 502, 520)), "path": _ANYWHERE, "times": _FEW, "executed": _PERHAPS},
    ),
    FaultKind(
        name="rest_banned",
        number=21,
        weight=0.3,
        place="rest",
        command="rest_status",
        parameters={"status": Choice((403, 429)), "path": _ANYWHERE, "retry_after": Number(0, 60, whole=True)},
    ),
    FaultKind(
        name="rest_slow",
        number=24,
        place="rest",
        command="rest_slow",
        parameters={"seconds": Number(1, 60, log=True), "part": Choice(("headers", "body")), "path": _ANYWHERE},
    ),
    FaultKind(
        name="rest_hang",
        number=24,
        place="rest",
        command="rest_break",
        parameters={"kind": Choice(("never_ends", "no_answer", "endless")), "path": _ANYWHERE},
    ),
    FaultKind(
        name="rest_broken",
        number=25,
        place="rest",
        command="rest_break",
        parameters={
            "kind": Choice(("truncated", "short_length", "chunk_garbage", "bad_status_line", "reset")),
            "path": _ANYWHERE,
        },
    ),
    FaultKind(
        name="rest_bomb",
        number=26,
        weight=0.2,
        place="rest",
        command="rest_break",
        parameters={"kind": Choice(("gzip_bomb",)), "path": _ANYWHERE},
    ),
    FaultKind(
        name="rest_error",
        number=27,
        place="rest",
        command="rest_error",
        parameters={
            "error": Choice(("EService:Busy", "EService:Unavailable", "EGeneral:Internal error", "EGeneral:Novelty")),
            "path": _ANYWHERE,
            "times": _FEW,
            "executed": _PERHAPS,
        },
    ),
    FaultKind(
        name="rest_lie",
        number=36,
        place="rest",
        command="rest_lie",
        parameters={
            "kind": Choice(
                (
                    *("wrong_types", "missing_fields", "huge_digits", "exponent", "not_a_number", "deep"),
                    *("no_envelope", "error_is_text", "half", "html", "empty", "not_utf8"),
                )
            ),
            "path": _ANYWHERE,
        },
    ),
    FaultKind(name="nonce_refused", number=58, place="rest", command="refuse_nonce", parameters={"times": _FEW}),
    FaultKind(
        name="rest_limit",
        number=59,
        place="rest",
        command="rest_error",
        parameters={"error": Choice(("EAPI:Rate limit exceeded",)), "path": _ANYWHERE},
    ),
    FaultKind(
        name="throttled",
        number=59,
        place="rest",
        command="throttle",
        parameters={"seconds": Number(1, 120, log=True), "path": _ANYWHERE},
    ),
)

_ACCOUNTS = (
    FaultKind(
        name="private_cut",
        number=5,
        weight=2,
        place="account",
        aims_at="account",
        command="cut_private_line",
        parameters={"mode": Choice(("abort", "close"))},
    ),
    FaultKind(
        name="private_snapshot_late",
        number=46,
        place="account",
        aims_at="account",
        command="delay_private_snapshot",
        parameters={"seconds": _WHILE, "channel": Choice(("executions", "balances"))},
    ),
    FaultKind(
        name="private_frame_lost",
        number=52,
        weight=2,
        place="account",
        aims_at="account",
        command="drop_private_frame",
        parameters={"channel": Choice(("executions", "balances"))},
    ),
    FaultKind(
        name="private_frame_withheld",
        number=52,
        place="account",
        aims_at="account",
        command="withhold_private_frame",
        parameters={"channel": Choice(("balances",))},
    ),
    FaultKind(
        name="private_frame_doubled",
        number=52,
        place="account",
        aims_at="account",
        command="duplicate_private_frame",
        parameters={"channel": Choice(("executions", "balances"))},
    ),
    FaultKind(
        name="private_frames_swapped",
        number=52,
        place="account",
        aims_at="account",
        command="reorder_private_frames",
        parameters={"channel": Choice(("executions", "balances"))},
    ),
    FaultKind(name="fill", number=53, weight=2, place="account", aims_at="account"),
    FaultKind(name="unsolicited_cancel", number=54, place="account", aims_at="account"),
    FaultKind(name="external_order", number=54, place="account", aims_at="account"),
    FaultKind(
        name="token_revoked",
        number=55,
        place="account",
        aims_at="account",
        command="revoke_tokens",
        parameters={"mode": Choice(("keep", "close"))},
    ),
    FaultKind(
        name="session_refused",
        number=55,
        place="account",
        aims_at="account",
        command="refuse_private_subscriptions",
        parameters={"error": Choice(("ESession:Invalid session",)), "times": _FEW},
    ),
    FaultKind(
        name="permission_lost",
        number=56,
        weight=0.3,
        place="account",
        aims_at="account",
        command="drop_permission",
        parameters={"permission": Choice(("query-funds", "query-open-trades", "access-websockets")), "for_s": _LONG},
    ),
    FaultKind(
        name="key_deleted",
        number=56,
        weight=0.3,
        place="account",
        aims_at="account",
        command="delete_key",
        parameters={"for_s": _LONG},
    ),
    FaultKind(
        name="nonce_taken",
        number=58,
        place="account",
        aims_at="account",
        command="take_nonce",
        parameters={"ahead": Number(0.001, 5, log=True)},
    ),
    FaultKind(
        name="locked_out",
        number=59,
        weight=0.3,
        place="account",
        aims_at="account",
        command="lock_out",
        parameters={"seconds": Number(5, 900, log=True)},
    ),
)

ACCOUNT_CATALOGUE = Catalogue((*_REST, *_ACCOUNTS))
"""Every kind of fault of REST calls and accounts, by name."""
