"""``kraken-engine replay``: recordings through the code that live data takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from kraken_engine.cli.output import print_json, print_text
from kraken_engine.cli.parameters import Flag
from kraken_engine.errors import ConfigError
from kraken_engine.model import Instrument
from kraken_engine.runtime import Files, real_runtime
from kraken_engine.store.instrument_file import read_instruments
from kraken_engine.store.recording import ReplaySummary, is_legacy, read_frames, replay_frames

__all__ = ["replay"]

_Protocol = Literal["auto", "v1", "v2"]


def replay(
    file: str,
    /,
    *files: str,
    protocol: _Protocol = "auto",
    instruments: str | None = None,
    json: Flag = False,
) -> int:
    """Play recordings of raw WebSocket frames through the decoder, the checks and the books.

    Exit code 1: a frame was rejected, a checksum did not match, or a book update could not be applied.

    Parameters
    ----------
    file
        A recording: one frame a line, or one JSON document.
    files
        More recordings; each starts afresh.
    protocol
        What was recorded; auto looks at the frames.
    instruments
        A file with the precisions of the pairs, for recordings that lost trailing zeros.
    json
        Print one line of JSON over all files.
    """
    disk = real_runtime().files
    known = read_instruments(disk, instruments) if instruments is not None else ()
    summaries = [(path, _replay_one(disk, path, protocol, known)) for path in (file, *files)]
    if json:
        print_json(_merged(summaries))
    else:
        for path, summary in summaries:
            _report(path, summary)
    return 0 if all(_flawless(summary) for _, summary in summaries) else 1


def _flawless(summary: ReplaySummary) -> bool:
    return not summary.rejected_count and not any(book.mismatched or book.malformed for book in summary.books.values())


def _replay_one(disk: Files, path: str, protocol: _Protocol, instruments: tuple[Instrument, ...]) -> ReplaySummary:
    frames = read_frames(disk, path)
    if protocol == "v1" or (protocol == "auto" and is_legacy(frames)):
        raise ConfigError(f"{path}: recordings of WebSocket v1 are not supported in this version, only v2")
    return replay_frames(frames, instruments=instruments)


def _merged(summaries: Sequence[tuple[str, ReplaySummary]]) -> dict[str, Any]:
    """Return one summary over all recordings: counts are added up, and what was rejected names its file."""
    merged: dict[str, Any] = {"files": [path for path, _ in summaries]}
    for path, summary in summaries:
        one = summary.as_json()
        for name in ("rejected", "losses"):
            one[name] = [{"file": path, **found} for found in cast("list[dict[str, Any]]", one[name])]
        _add(merged, one)
    return merged


def _add(total: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add ``more`` to ``total``: numbers and lists are added, objects key by key."""
    for name, value in more.items():
        if isinstance(value, Mapping):
            _add(total.setdefault(name, {}), cast("Mapping[str, Any]", value))
        else:
            total[name] = total[name] + value if name in total else value


def _report(path: str, summary: ReplaySummary) -> None:
    lines = [f"{path}: {summary.frames} frames, {summary.decoded} decoded, {summary.rejected_count} rejected"]
    lines += [f"  line {rejection.line}: {rejection.reason}" for rejection in summary.rejected[:20]]
    if summary.rejected_count > 20:
        lines.append(f"  and {summary.rejected_count - 20} more")
    lines += [f"  {count:>8} {kind}" for kind, count in summary.events.items()]
    for symbol, book in summary.books.items():
        counted: dict[str, Any] = {"verified": book.verified, "mismatched": book.mismatched}
        counted |= {"malformed": book.malformed, "without a snapshot": book.without_snapshot}
        lines.append(f"  {symbol}: " + ", ".join(f"{count} {what}" for what, count in counted.items()))
    print_text("\n".join(lines) + "\n")
