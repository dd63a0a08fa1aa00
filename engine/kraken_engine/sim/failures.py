"""How a simulated run fails, and how one failure is found among the exceptions of a whole nursery tree.

Knows nothing of the engine: a judge raises :class:`Violation`, the runner raises the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from kraken_engine.errors import EngineError

__all__ = ["HorizonReached", "SimulationError", "SimulationStuck", "UnraisableFailure", "Violation", "unwrapped"]


class SimulationError(EngineError):
    """Base of everything that ends a simulated run early."""


class Violation(SimulationError):
    """An invariant did not hold. ``invariant`` is its short id, by which runs that fail alike are told apart."""

    def __init__(self, invariant: str, what: str) -> None:
        self.invariant = invariant
        self.what = what
        super().__init__(f"{invariant}: {what}")


class HorizonReached(SimulationError):
    """The program had not ended after ``horizon_s`` virtual seconds; ``stacks`` shows where its tasks waited."""

    def __init__(self, horizon_s: float, stacks: Sequence[str]) -> None:
        self.horizon_s = horizon_s
        self.stacks = tuple(stacks)
        super().__init__("\n".join([f"still running after {horizon_s:g} virtual seconds", *stacks]))


class SimulationStuck(SimulationError):
    """Virtual time stood still, or a task would not be cancelled; ``stacks`` shows where every task was."""

    def __init__(self, why: str, stacks: Sequence[str]) -> None:
        self.why = why
        self.stacks = tuple(stacks)
        super().__init__("\n".join([why, *stacks]))


class UnraisableFailure(SimulationError):
    """Exceptions nobody could catch (in finalisers, in coroutines never awaited); ``messages`` lists them."""

    def __init__(self, messages: Sequence[str]) -> None:
        self.messages = tuple(messages)
        super().__init__("exceptions that nobody could catch: " + "; ".join(self.messages))


def unwrapped(error: BaseException) -> BaseException:
    """Return the exception that says most about why a tree of tasks ended.

    The first :class:`SimulationError` inside ``error``, at whatever depth of exception groups; without one, the only
    exception inside, if there is only one; else ``error`` itself.
    """
    leaves = list(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, SimulationError):
            if len(leaves) > 1:
                leaf.add_note(
                    f"first of {len(leaves)} exceptions: {', '.join(type(other).__name__ for other in leaves)}"
                )
            return leaf
    return leaves[0] if len(leaves) == 1 else error


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error
