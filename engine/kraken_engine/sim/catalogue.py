"""The fault matrix as data: every kind of fault the simulated world can draw, with its row and its parameters.

Rows are numbered as in the project's fault matrix: 1-20 the network, 21-60 the venue, 61-62 clocks, 63-65 the program
around the engine, 66-67 the disk, 74 the venue again. A kind whose ``command`` is set is a command of the venue's own;
the hooks of the others are bound by whoever builds the world. ``for_s`` says how long a fault lasts; without it, it
happens once.
"""

from __future__ import annotations

from kraken_engine.sim.plan import Burst, Catalogue, Choice, FaultKind, Number

__all__ = ["CATALOGUE"]

_BRIEF = Number(0.2, 5, log=True)
_WHILE = Number(0.5, 30, log=True)
_LONG = Number(5, 300, log=True)

_NETWORK = (
    FaultKind(name="refuse", number=1, parameters={"for_s": _WHILE}),
    FaultKind(name="hang_connect", number=2, parameters={"for_s": _WHILE}),
    FaultKind(name="resolver_fail", number=3, weight=0.3, parameters={"for_s": _LONG}),
    FaultKind(name="resolver_empty", number=3, weight=0.3, parameters={"for_s": _LONG}),
    FaultKind(
        name="resolver_slow", number=3, weight=0.3, parameters={"delay_s": Number(1, 30, log=True), "for_s": _LONG}
    ),
    FaultKind(name="resolver_private", number=4, weight=0.3, parameters={"for_s": _LONG}),
    FaultKind(name="reset_peer", number=5, weight=2, aims_at="link"),
    FaultKind(
        name="limit_data", number=6, aims_at="link", parameters={"limit_bytes": Number(1, 20_000, log=True, whole=True)}
    ),
    FaultKind(name="forget", number=8, aims_at="link"),
    FaultKind(name="blackhole", number=8, aims_at="link", parameters={"for_s": _WHILE}),
    FaultKind(name="blackhole_up", number=9, aims_at="link", parameters={"for_s": _WHILE}),
    FaultKind(name="blackhole_down", number=10, aims_at="link", parameters={"for_s": _WHILE}),
    FaultKind(
        name="latency",
        number=11,
        aims_at="link",
        parameters={"latency_s": Number(0.05, 5, log=True), "jitter_s": Number(0, 1), "for_s": _WHILE},
    ),
    FaultKind(
        name="bandwidth",
        number=12,
        aims_at="link",
        parameters={"bytes_per_s": Number(1000, 50_000, log=True), "for_s": _WHILE},
    ),
    FaultKind(
        name="slicer",
        number=13,
        aims_at="link",
        parameters={"slice_bytes": Number(1, 50, whole=True), "slice_delay_s": Choice((0.0, 0.001)), "for_s": _BRIEF},
    ),
    FaultKind(
        name="slow_close",
        number=13,
        aims_at="link",
        parameters={"slow_close_s": Number(0.5, 20, log=True), "for_s": _LONG},
    ),
    FaultKind(name="flap", number=14, weight=0.3, parameters={"period_s": Number(1, 6), "for_s": _LONG}),
    FaultKind(name="swizzle", number=15, parameters={"spread_s": Number(0.1, 3), "hold_s": _WHILE}),
    FaultKind(name="down", number=17, weight=0.5, parameters={"for_s": _LONG}),
)

_VENUE = (
    FaultKind(
        name="venue_abort",
        number=7,
        place="venue",
        aims_at="session",
        command="drop_connection",
        parameters={"mode": Choice(("abort",))},
    ),
    FaultKind(
        name="venue_close",
        number=32,
        place="venue",
        aims_at="session",
        command="drop_connection",
        parameters={"mode": Choice(("close",)), "code": Choice((1000, 1001, 1012, 1013))},
    ),
    FaultKind(
        name="maintenance",
        number=32,
        place="venue",
        aims_at="session",
        command="announce_maintenance",
        parameters={"seconds": Number(2, 30, log=True), "notice": Choice(("imminent_5m", "final_warning_30s"))},
    ),
    FaultKind(
        name="maintenance_of_all",
        number=32,
        weight=0.3,
        place="venue",
        command="announce_maintenance",
        parameters={"seconds": Number(5, 60, log=True), "notice": Choice(("approaching_30m", "imminent_5m"))},
    ),
    FaultKind(
        name="bad_frame",
        number=28,
        place="venue",
        aims_at="session",
        command="send_raw",
        # reserved bit; reserved opcode; masked by a server; control frame above 125 bytes; continuation of nothing
        parameters={"hex": Choice(("c10141", "830141", "81810000000041", "897e0080", "800141"))},
    ),
    FaultKind(
        name="huge_frame",
        number=30,
        place="venue",
        aims_at="session",
        command="send_raw",
        parameters={"hex": Choice(("817f0000000001000000", "817f7fffffffffffffff"))},
    ),
    FaultKind(
        name="ping_flood",
        number=31,
        place="venue",
        aims_at="session",
        command="send_raw",
        parameters={"hex": Choice(("8900" * 200, "8901ff" * 200))},
    ),
    FaultKind(
        name="bad_json",
        number=34,
        place="venue",
        aims_at="session",
        command="send_text",
        parameters={
            "text": Choice(
                ("", "{", "[]", "null", '{"channel":"book"}', "CloudFlare WebSocket proxy restarting", "[" * 5000)
            )
        },
        burst=Burst(share=0.1, count=Number(2, 4, whole=True), every_s=Number(0.1, 4)),
    ),
    FaultKind(
        name="unknown_message",
        number=36,
        place="venue",
        aims_at="session",
        command="send_text",
        parameters={"text": Choice(('{"channel":"novelty","data":[]}', '{"channel":"heartbeat","novelty":1}'))},
    ),
    FaultKind(
        name="refuse_upgrade",
        number=21,
        weight=0.3,
        place="venue",
        command="refuse_upgrade",
        parameters={
            "status": Choice((403, 429, 503)),
            "retry_after": Number(0, 60, whole=True),
            "times": Number(1, 3, whole=True),
        },
    ),
    FaultKind(
        name="redirect_upgrade",
        number=22,
        weight=0.3,
        place="venue",
        command="refuse_upgrade",
        parameters={"status": Choice((301, 302, 307, 308)), "location": Choice(("wss://elsewhere.test/v2",))},
    ),
    FaultKind(name="drop_update", number=38, weight=2, place="venue", aims_at="symbol", command="drop_update"),
    FaultKind(name="duplicate_update", number=39, place="venue", aims_at="symbol", command="duplicate_update"),
    FaultKind(name="reorder_updates", number=40, place="venue", aims_at="symbol", command="reorder_updates"),
    FaultKind(
        name="corrupt_checksum",
        number=41,
        weight=2,
        place="venue",
        aims_at="symbol",
        command="corrupt_checksum",
        burst=Burst(share=0.05, count=Number(6, 12, whole=True), every_s=Number(0.5, 4)),
    ),
    FaultKind(name="falsify_level", number=42, place="venue", aims_at="symbol", command="falsify_level"),
    FaultKind(
        name="change_precision",
        number=47,
        weight=0.3,
        place="venue",
        aims_at="symbol",
        command="change_precision",
        parameters={"price": Number(0, 2, whole=True), "qty": Number(0, 2, whole=True)},
    ),
    FaultKind(name="merge_updates", number=74, place="venue", aims_at="symbol", command="merge_updates"),
    FaultKind(
        name="batch_differently",
        number=74,
        place="venue",
        aims_at="session",
        command="batch_differently",
        parameters={"seconds": _WHILE, "size": Choice((2, 3, 5)), "linger": Choice((0.1, 0.8))},
    ),
    FaultKind(
        name="word_differently",
        number=74,
        place="venue",
        aims_at="session",
        command="word_differently",
        parameters={"seconds": _WHILE, "style": Choice(("spaced", "reordered", "extended"))},
    ),
    FaultKind(
        name="refuse_subscriptions",
        number=44,
        place="venue",
        command="refuse_subscriptions",
        parameters={"error": Choice(("Exceeded msg rate", "Already subscribed")), "times": Number(1, 5, whole=True)},
    ),
    FaultKind(
        name="ignore_subscriptions",
        number=44,
        place="venue",
        command="ignore_subscriptions",
        parameters={"times": Number(1, 5, whole=True)},
    ),
    FaultKind(
        name="silence",
        number=45,
        place="venue",
        aims_at="session",
        command="silence",
        parameters={"kind": Choice(("all", "data")), "seconds": _WHILE},
    ),
    FaultKind(
        name="silence_symbol",
        number=45,
        place="venue",
        aims_at="symbol",
        command="silence",
        parameters={"seconds": _WHILE},
    ),
    FaultKind(
        name="silence_subscription",
        number=45,
        weight=2,
        place="venue",
        aims_at="subscription",
        command="silence",
        parameters={"seconds": _LONG, "channel": Choice(("book", "ticker", "trade"))},
    ),
    FaultKind(
        name="delay_snapshot",
        number=46,
        place="venue",
        aims_at="symbol",
        command="delay_snapshot",
        parameters={"seconds": _WHILE},
    ),
    FaultKind(
        name="status",
        number=48,
        weight=0.5,
        place="venue",
        command="set_status",
        parameters={"mode": Choice(("cancel_only", "post_only", "limit_only", "maintenance")), "for_s": _LONG},
    ),
)

_MACHINE = (
    FaultKind(
        name="clock_step",
        number=61,
        place="clock",
        parameters={"by_s": Choice((-3600.0, -1.0, 1.0, 3600.0))},
    ),
    FaultKind(name="clock_drift", number=61, place="clock", parameters={"rate": Number(-0.01, 0.01), "for_s": _LONG}),
    FaultKind(name="suspend", number=62, weight=0.2, place="clock", parameters={"by_s": Number(5, 1200, log=True)}),
    FaultKind(name="slow_consumer", number=64, place="host", parameters={"for_s": _LONG}),
    FaultKind(
        name="disk_error",
        number=66,
        place="disk",
        parameters={"fault": Choice(("io_error", "full", "read_only")), "for_s": _LONG},
    ),
    FaultKind(name="bit_flip", number=67, weight=0.3, place="disk", parameters={"bit": Number(0, 100_000, whole=True)}),
)

CATALOGUE = Catalogue((*_NETWORK, *_VENUE, *_MACHINE))
"""Every kind of fault, by name; bind hooks to those your world can bring about (:meth:`Catalogue.bound`)."""
