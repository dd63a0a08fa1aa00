"""A nursery that is somebody else's scope: the body's errors leave as themselves, ours as one ``EngineFailed``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import cast

import trio

from kraken_engine.errors import EngineError, EngineFailed

__all__ = ["open_background"]


@asynccontextmanager
async def open_background(what: str) -> AsyncGenerator[trio.Nursery]:
    """Open a nursery for background tasks that end with the block.

    Raises:
        BaseException: whatever the body raised, unwrapped.
        EngineFailed: a background task failed; the body was cancelled, the cause is the group.
    """
    body_error: BaseException | None = None
    leaving: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:
                body_error = error
                raise
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        leaving = _verdict(what, group, body_error)
    # Raised outside the handler: the group must not become the context of an error that is in it.
    if leaving is not None:
        raise leaving


def _verdict(what: str, group: BaseExceptionGroup[BaseException], body_error: BaseException | None) -> BaseException:
    if _is_cancellation(group):  # from a scope outside: Trio takes it from here, and one of them is enough
        return next(_leaves(group)) if body_error is None else body_error
    rest = group.split(trio.Cancelled)[1] or group
    # By what is in it: Trio takes groups apart and makes them anew, the body's as well.
    own = () if body_error is None else tuple(_leaves(body_error))
    background = rest.split(lambda error: any(error is one for one in own))[1]
    if body_error is not None and not _is_cancellation(body_error):
        if background is not None:
            body_error.add_note(f"{what} failed in the background as well: {background!r}")
        return body_error
    if background is None:
        return rest
    abrupt = background.split(Exception)[1]
    if abrupt is not None:  # KeyboardInterrupt, SystemExit: whichever task Trio gave it to, it is not ours.
        return abrupt.exceptions[0] if len(abrupt.exceptions) == 1 else abrupt
    only = background.exceptions[0] if len(background.exceptions) == 1 else None
    if isinstance(only, EngineError) and not isinstance(only, EngineFailed):
        failed: BaseException = EngineFailed(f"{what}: {only}")
    else:
        failed = EngineFailed(f"{what} failed in the background: {_summary(background)}")
    failed.__cause__ = background
    return failed


def _is_cancellation(error: BaseException) -> bool:
    """Whether this is nothing but a cancellation: of a body with a nursery of its own it comes as a group."""
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Return what is not a group in a group of groups, in order."""
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _summary(group: BaseExceptionGroup[BaseException]) -> str:
    names = [f"{type(error).__name__}: {error}" for error in _leaves(group)]
    return "; ".join(names[:5]) + (f"; and {len(names) - 5} more" if len(names) > 5 else "")
