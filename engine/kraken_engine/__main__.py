"""``python -m kraken_engine`` and the ``kraken-engine`` script: the command line."""

from __future__ import annotations

import sys

__all__ = ["main"]

_EXTRA = {"cyclopts", "rich", "trustme"}
"""What the extra ``cli`` installs."""


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    try:
        from kraken_engine.cli.app import run  # noqa: PLC0415  # only here can a missing extra become one clear line
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write(
            f"kraken-engine: {missing.name} is not installed; commands need: pip install 'kraken-engine[cli]'\n"
        )
        sys.exit(2)
    except KeyboardInterrupt:  # while importing; later it is a matter of the command
        sys.exit(130)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
