"""``switches`` shows what earlier engines put on record, and makes nothing by looking."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from kraken_engine.cli.app import run
from kraken_engine.feed.publisher import Publisher
from kraken_engine.model import Source
from kraken_engine.normalise.events import SourceChanged
from kraken_engine.runtime import real_runtime
from kraken_engine.store.database import open_store
from kraken_engine.tasks.switch_log import run_switch_log


def recorded(directory: Path, *reasons: str) -> None:
    async def main() -> None:
        async with open_store(real_runtime(), str(directory)) as store, trio.open_nursery() as nursery:
            publisher = Publisher()
            await nursery.start(run_switch_log, publisher, store)
            for reason in reasons:
                changed = SourceChanged(at_s=1.0, channel="book", symbol="A/B", source=Source.REST, reason=reason)
                publisher.publish(("book", "A/B"), changed)
            nursery.cancel_scope.cancel()

    trio.run(main)


def written(tmp_path: Path, state: Path | None) -> str:
    file = tmp_path / "kraken.yaml"
    file.write_text(f"storage:\n  state_dir: {state}\n" if state else "performance:\n  cache_ttl: 1\n")
    return str(file)


def test_what_is_on_record_is_shown_oldest_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, tmp_path / "state")
    recorded(tmp_path / "state", "one", "two", "three")
    assert run(["switches", "--config", file, "--last", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["2", "3"]
    assert lines[0].endswith("book A/B by rest: two")
    assert lines[2] == f"2 changes of the source on record in {tmp_path / 'state'}"
    assert run(["switches", "--config", file, "--json"]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [document.get("reason") for document in documents] == ["one", "two", "three", None]
    assert documents[-1]["switches"] == 3


def test_looking_makes_no_state_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["switches", "--config", written(tmp_path, tmp_path / "nowhere")]) == 2
    assert "expected a state directory: No such file or directory" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()
    assert run(["switches", "--config", written(tmp_path, None)]) == 2
    assert "expected a state directory (storage.state_dir), there is none" in capsys.readouterr().err
