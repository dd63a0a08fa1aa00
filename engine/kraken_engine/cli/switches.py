"""``kraken-engine switches``: which stream came from where, since when and why, as it is on record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import attrs
from cyclopts import Parameter
from cyclopts.validators import Number

from kraken_engine.cli.output import json_line, print_json, print_text, print_while_others_run
from kraken_engine.cli.parameters import Flag
from kraken_engine.config import Config
from kraken_engine.errors import UsageError
from kraken_engine.runtime import real_runtime
from kraken_engine.store.database import open_store
from kraken_engine.tasks.switch_log import RecordedSwitch, read_switches

__all__ = ["switches"]

Last = Annotated[int, Parameter(validator=Number(gte=1))]


async def switches(*, config: str, last: Last = 100, json: Flag = False) -> int:
    """Show the changes of the source that are on record, oldest first. No engine may use the state directory meanwhile.

    Parameters
    ----------
    config
        The configuration file, which names the state directory.
    last
        Only the latest so many.
    json
        Print one line of JSON per change, and a summary as the last line.
    """
    settings, runtime = Config.load(config), real_runtime()
    directory = settings.state_dir
    if directory is None:
        raise UsageError(f"{config}: expected a state directory (storage.state_dir), there is none")
    try:
        runtime.files.look(directory)  # looking should not make one
    except OSError as error:
        raise UsageError(f"{directory}: expected a state directory: {error.strerror or error}") from None
    async with open_store(runtime, directory, settings=settings.store) as store:
        found = await read_switches(store, last=last)
    for switch in found:
        await print_while_others_run(json_line(attrs.asdict(switch)) if json else _line(switch))
    if json:
        print_json({"state_dir": directory, "switches": len(found)})
    else:
        print_text(f"{len(found)} changes of the source on record in {directory}\n")
    return 0


def _line(switch: RecordedSwitch) -> str:
    at = datetime.fromtimestamp(switch.wall_ns // 10**9, UTC)
    what = f"{switch.channel} {switch.symbol} by {switch.source}: {switch.reason}"
    return f"{switch.number}  {at:%Y-%m-%d %H:%M:%S}  {what}\n"
