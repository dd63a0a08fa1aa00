"""The command line as a whole: which commands there are, and what becomes of an error.

Whatever goes wrong is one line on the error output (one for each mistake of a configuration) and an exit code (2: an
argument or a file is wrong; 1: the world or a check is; 130 and 143: SIGINT and SIGTERM); a traceback means a bug of
ours.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
from collections.abc import Sequence
from typing import cast

from cyclopts import App, CycloptsError
from rich.console import Console

from kraken_engine.cli.balances import balances
from kraken_engine.cli.demo import demo
from kraken_engine.cli.doctor import doctor
from kraken_engine.cli.errors import errors
from kraken_engine.cli.fills import fills
from kraken_engine.cli.orders import orders
from kraken_engine.cli.output import OutputFailed
from kraken_engine.cli.positions import positions
from kraken_engine.cli.replay import replay
from kraken_engine.cli.sim import sim
from kraken_engine.cli.switches import switches
from kraken_engine.cli.venue import venue
from kraken_engine.cli.watch import watch
from kraken_engine.errors import ConfigError, EngineError, EngineFailed, UsageError, shown
from kraken_engine.monitor.log import LEVELS, log_to_standard_error

__all__ = ["app", "run"]

BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130


def _version() -> str:
    return importlib.metadata.version("kraken-engine")


class _Console(Console):
    """Prints the help."""

    def on_broken_pipe(self) -> None:
        """Let the reader's leaving be what it is elsewhere; rich would end the process with 1."""
        raise BrokenPipeError


app = App(
    name="kraken-engine",
    console=_Console(),
    help="""A Trio engine for Kraken, and the simulated venue to try it on.

    Before any command, --log LEVEL (debug, info, warning, error) writes log lines to standard error.
    """,
    version=_version,
    backend="trio",
    result_action="return_value",
    print_error=False,
    exit_on_error=False,
    suppress_keyboard_interrupt=False,
)
for _command in (demo, venue, watch, balances, orders, positions, fills, switches, replay, sim, doctor, errors):
    app.command(_command)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]  # started with it closed (``>&-``)
        return _complain("standard output: closed", BAD_INPUT)
    try:
        arguments, level = _log_level(arguments)
        with contextlib.nullcontext() if level is None else log_to_standard_error(level):
            result = app(arguments)
        sys.stdout.flush()
    except CycloptsError as error:
        return _complain(str(error), BAD_INPUT)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OutputFailed as error:
        return _abandon_output(error)
    except OSError as error:  # the help of a command; the commands themselves let no other one out
        return _abandon_output(OutputFailed(error))
    except EngineFailed as error:
        failure = _output_failure(error)
        if failure is None:
            raise
        return _abandon_output(failure)
    except ConfigError as error:
        return _complain("\n".join(error.mistakes), BAD_INPUT, each_line=True)
    except UsageError as error:
        return _complain(str(error), BAD_INPUT)
    except EngineError as error:
        return _complain(str(error), FAILED)
    return result if isinstance(result, int) else 0


def _log_level(arguments: Sequence[str]) -> tuple[Sequence[str], str | None]:
    """Take ``--log LEVEL`` off the front of a command line.

    Raises:
        UsageError: no such level.
    """
    first = arguments[0] if arguments else ""
    if first == "--log":
        level, rest = arguments[1] if len(arguments) > 1 else "nothing", arguments[2:]
    elif first.startswith("--log="):
        level, rest = first.removeprefix("--log="), arguments[1:]
    else:
        return arguments, None
    if level not in LEVELS:
        raise UsageError(f"--log: expected {', '.join(LEVELS)}, got {shown(level)}")
    return rest, level


def _output_failure(failed: EngineFailed) -> OutputFailed | None:
    """Return what is wrong with the output if that is what ended a background task, such as the live table."""
    cause = failed.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cast("BaseExceptionGroup[BaseException]", cause).exceptions[0]
    return cause if isinstance(cause, OutputFailed) else None


def _abandon_output(error: OutputFailed) -> int:
    # What is buffered for it cannot be written, and Python must not try again when it exits.
    with contextlib.suppress(OSError):
        sys.stdout.close()
    # Whoever read our output and has left knows that: nothing to say, and nobody to say it to.
    return 0 if error.reader_left else _complain(str(error), FAILED)


def _complain(what: str, code: int, *, each_line: bool = False) -> int:
    parts = [part.strip() for part in what.splitlines() if part.strip()]
    lines = parts if each_line else ["; ".join(parts)]
    if sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison]  # started with it closed (``2>&-``)
        with contextlib.suppress(OSError):
            sys.stderr.write("".join(f"kraken-engine: {line}\n" for line in lines))
    return code
