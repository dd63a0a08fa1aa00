"""The command line as a whole: which commands there are, and what becomes of an error.

Whatever goes wrong is one line on the error output and an exit code (2: an argument or a file is wrong; 1: the world
or a check is; 130: the keyboard); a traceback means a bug of ours.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from kraken_engine.cli.demo import demo
from kraken_engine.cli.replay import replay
from kraken_engine.cli.sim import sim
from kraken_engine.cli.venue import venue
from kraken_engine.cli.watch import watch
from kraken_engine.errors import ConfigError, EngineError, EngineFailed, UsageError

__all__ = ["app", "run"]

BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130


def _version() -> str:
    return importlib.metadata.version("kraken-engine")


app = App(
    name="kraken-engine",
    help="A Trio engine for Kraken market data, and the simulated venue to try it on.",
    version=_version,
    backend="trio",
    result_action="return_value",
    print_error=False,
    exit_on_error=False,
    suppress_keyboard_interrupt=False,
)
for _command in (demo, venue, watch, replay, sim):
    app.command(_command)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        result = app(arguments)
        sys.stdout.flush()
    except CycloptsError as error:
        return _complain(str(error), BAD_INPUT)
    except BrokenPipeError:
        # Whoever read our output has left (``| head``): nothing to say, and nobody to say it to.
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.close()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except EngineFailed:
        raise
    except (ConfigError, UsageError) as error:
        return _complain(str(error), BAD_INPUT)
    except EngineError as error:
        return _complain(str(error), FAILED)
    return result if isinstance(result, int) else 0


def _complain(what: str, code: int) -> int:
    line = "; ".join(part.strip() for part in what.splitlines() if part.strip())
    sys.stderr.write(f"kraken-engine: {line}\n")
    return code
