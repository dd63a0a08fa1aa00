"""One engine for each key on this machine, whatever state directory it uses.

Two engines with one key would refuse each other's nonces and spend each other's limits, and neither could say why. The
lock is a file in a directory of this user, named by the key's fingerprint; the operating system lets go of it when the
process ends, however it ends. An engine of another user, or on another machine, is not seen: give each one its own key.

The directory is the one that the system makes for what runs in a session. A service has no session, and the directory
goes with the last one while an engine may stay: so whoever is in a session holds the key where a service would, too.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Final

from kraken_engine.errors import StoreError, StoreLocked
from kraken_engine.runtime import FileLock, Files, Runtime

__all__ = ["hold_key", "holder_named_in", "locks_directories"]

RUNTIME_VARIABLE: Final = "XDG_RUNTIME_DIR"
"""Where the system says that running programs of this user keep such things."""


def locks_directories(runtime: Runtime) -> tuple[str, ...]:
    """Return where a key has to be locked; a directory that was named on purpose stands for itself alone."""
    user = runtime.files.user()
    base, without_session = runtime.environment.get(RUNTIME_VARIABLE, ""), f"/tmp/kraken-engine-{user}"  # noqa: S108
    if not base.startswith("/"):
        return (without_session,)
    of_session = f"{base.rstrip('/')}/kraken-engine"
    return (of_session, without_session) if of_session == f"/run/user/{user}/kraken-engine" else (of_session,)


@contextmanager
def hold_key(runtime: Runtime, fingerprint: str, about: str) -> Generator[None]:
    """Be the only engine of this user on this machine that uses a key, for as long as the block lasts.

    Args:
        runtime: its files and environment.
        fingerprint: :attr:`~kraken_engine.secret.ApiKey.fingerprint`.
        about: what the one who is refused is told of us: account, state directory.

    Raises:
        StoreLocked: another engine uses it; it is named.
        StoreError: the directory of locks cannot be used, or is not ours alone.
    """
    with ExitStack() as held:
        for directory in locks_directories(runtime):
            held.callback(_lock(runtime.files, directory, fingerprint, about).release)
        yield


def _lock(files: Files, directory: str, fingerprint: str, about: str) -> FileLock:
    path = f"{directory}/key-{fingerprint}.lock"
    try:
        _check(files, directory)
        return files.lock(path, about)
    except BlockingIOError:
        holder = holder_named_in(files, path)
        raise StoreLocked(f"key {fingerprint}: expected to be its only user, but {holder} holds it") from None
    except OSError as error:
        raise StoreError(f"{directory}: cannot lock key {fingerprint}: {error.strerror or error}") from error


def holder_named_in(files: Files, path: str) -> str:
    """Return who holds the lock at ``path``, in the words it was taken with, as far as they can be read."""
    try:
        return files.read_bytes(path).decode(errors="replace").strip() or "somebody who gave no name"
    except OSError:
        return "somebody whose name cannot be read"


def _check(files: Files, directory: str) -> None:
    files.make_directory(directory)
    facts = files.look(directory)
    if facts.kind != "directory" or facts.owner != files.user() or facts.mode & 0o077:
        raise StoreError(
            f"{directory}: expected a directory of user {files.user()} alone, "
            f"got one of user {facts.owner} with mode {facts.mode:04o}"
        )
