"""The layers hold: nobody imports upwards, and nobody but the runtime touches the operating system.

The checker reads source text only. ``test_the_checker_sees_*`` plant each kind of violation in a copy and demand
that it is found, so a green run means something.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "engine" / "kraken_engine"

CONFIG = {"config_rules", "config_yaml", "config_accounts", "config_file", "settings"}
BASE = {"errors", "model", "runtime", "secret", "config"} | CONFIG
STAGES = BASE | {"wire", "codec", "normalise", "state"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "model": set(),
    "doors": set(),
    "runtime": {"doors"},
    "secret": {"errors", "runtime"},
    "config_rules": {"errors"},
    "settings": {"errors", "config_rules"},
    "config_yaml": {"errors"},
    "config_accounts": {"config_rules", "config_yaml"},
    "config_file": {"errors", "runtime", "config_rules", "config_yaml", "config_accounts", "settings"},
    "config": {"errors", "runtime", "config_rules", "config_file", "settings"},
    "wire": BASE | {"wire"},
    "codec": BASE | {"codec"},
    "normalise": BASE | {"codec", "normalise"},
    "control": BASE | {"codec", "normalise", "control"},
    "state": BASE | {"codec", "normalise", "control", "state"},
    "feed": BASE | {"codec", "normalise", "state", "feed"},
    "store": STAGES | {"store"},
    "rest": STAGES | {"control", "store", "rest"},
    "monitor": BASE | {"normalise", "monitor"},
    "venue": {"errors", "runtime", "venue"},
    "trading": STAGES | {"control", "feed", "store", "rest", "monitor", "trading"},
    "tasks": STAGES | {"control", "feed", "store", "rest", "monitor", "trading", "venue", "tasks"},
    "sim": STAGES | {"control", "feed", "store", "rest", "monitor", "trading", "venue", "tasks", "sim"},
    "cli": STAGES
    | {"control", "feed", "store", "rest", "monitor", "trading", "venue", "tasks", "sim", "cli", "__init__"},
    "__init__": STAGES | {"control", "feed", "store", "rest", "monitor", "trading", "venue", "tasks", "sim"},
    "__main__": {"cli"},
}
"""The folders in the order in which data takes them; whoever is not listed may not be imported."""

MAY_USE_TRIO = {"doors", "runtime", "wire", "feed", "rest", "tasks", "trading", "store", "sim", "cli", "venue/shells"}

WORLD_MODULES = {
    "asyncio", "ctypes", "datetime", "io", "multiprocessing", "os", "pathlib", "random", "secrets", "select",
    "selectors", "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "time", "uuid",
}  # fmt: skip
"""Doors to the operating system: only ``runtime.py`` may import them ..."""

HARMLESS: dict[str, set[str]] = {
    "datetime": {"datetime", "timedelta", "timezone", "UTC"},
    "pathlib": {"Path", "PurePath"},
}
"""... except these names, whose dangerous methods are listed below."""

WORLD_CALLS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
    "trio.open_file", "trio.open_tcp_stream", "trio.open_tcp_listeners", "trio.open_ssl_over_tcp_stream",
    "trio.open_unix_socket", "trio.serve_tcp", "trio.run_process", "trio.Path",
}  # fmt: skip
WORLD_TYPES = {"apsw.Connection", "apsw.Connection.as_async"}
"""Types that anyone may name, and only the runtime may make: they open files."""
WORLD_PREFIXES = ("trio.to_thread", "trio.from_thread", "trio.socket", "trio.lowlevel.start_thread_soon")
WORLD_METHODS = {"read_text", "read_bytes", "write_text", "write_bytes", "unlink", "mkdir", "iterdir", "glob"}
WORLD_BUILTINS = {"open", "input", "exec", "eval", "__import__"}

PRIVATE_TO_ONE_FILE = {"sim/deterministic.py": {"random", "signal", "time"}}
"""Files whose whole purpose is a door of its own; each says why in its docstring."""


def violations(package: Path) -> list[str]:
    """Return every breach of the rules below ``package`` as ``file:line: what``."""
    found: list[str] = []
    for file in sorted(package.rglob("*.py")):
        relative = file.relative_to(package)
        where = relative.as_posix()
        layer = relative.parts[0] if len(relative.parts) > 1 else relative.stem
        tree = ast.parse(file.read_text(), where)
        aliases = dict(_aliases(tree))
        for line, what in _breaches(tree, where, layer, aliases):
            found.append(f"{where}:{line}: {what}")
    return found


def _aliases(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield (name.asname or name.name.split(".")[0]), (name.name if name.asname else name.name.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for name in node.names:
                yield name.asname or name.name, f"{node.module}.{name.name}"


def _breaches(tree: ast.AST, where: str, layer: str, aliases: dict[str, str]) -> Iterator[tuple[int, str]]:
    private = PRIVATE_TO_ONE_FILE.get(where, set())
    if layer not in MAY_IMPORT:
        yield 1, f"unknown layer {layer!r}: add it to the map on purpose"
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for module, name in _imported(node):
                top = module.split(".")[0]
                if isinstance(node, ast.ImportFrom) and node.level:
                    yield node.lineno, "relative import: write the whole name"
                elif top == "kraken_engine":
                    parts = (module.split(".") + ([name] if name else []))[1:]
                    target = parts[0] if parts else "__init__"
                    known = target in MAY_IMPORT
                    if (target if known else "__init__") not in MAY_IMPORT[layer]:
                        yield node.lineno, f"{layer} may not import {target}"
                elif top == "trio":
                    if layer not in MAY_USE_TRIO and not where.startswith("venue/shells/"):
                        yield node.lineno, f"{layer} is sans-IO: no Trio here"
                elif layer == "runtime" or top in private:
                    continue
                elif top in WORLD_MODULES and name not in HARMLESS.get(top, set()):
                    yield node.lineno, f"{module}{'.' + name if name else ''} only in runtime.py"
        elif layer != "runtime" and isinstance(node, (ast.Attribute, ast.Name)):
            dotted = _dotted(node, aliases)
            call = dotted in WORLD_CALLS or dotted.removeprefix("datetime.") in WORLD_CALLS
            if call or (dotted.startswith(WORLD_PREFIXES) and dotted.count(".") >= 2 - (dotted == "trio.socket")):
                yield node.lineno, f"{dotted} only in runtime.py"
        if layer != "runtime" and isinstance(node, ast.Call):
            if _dotted(node.func, aliases) in WORLD_TYPES:
                yield node.lineno, f"{_dotted(node.func, aliases)}() only in runtime.py"
            if isinstance(node.func, ast.Name) and node.func.id in WORLD_BUILTINS:
                yield node.lineno, f"{node.func.id}() only in runtime.py"
            elif isinstance(node.func, ast.Attribute) and node.func.attr in WORLD_METHODS:
                owner = _dotted(node.func.value, aliases)
                if not owner.endswith("files"):
                    yield node.lineno, f".{node.func.attr}() only through runtime.files"


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str | None]]:
    if isinstance(node, ast.Import):
        for name in node.names:
            yield name.name, None
    else:
        for name in node.names:
            yield node.module or "", name.name


def _dotted(node: ast.AST, aliases: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, aliases)}.{node.attr}"
    return ""


def test_the_package_keeps_its_layers() -> None:
    assert violations(PACKAGE) == []


def test_every_layer_of_the_map_that_exists_is_a_real_one() -> None:
    there = {p.stem if p.is_file() else p.name for p in PACKAGE.iterdir() if p.suffix == ".py" or p.is_dir()}
    assert there - {"__pycache__", "py"} - set(MAY_IMPORT) == set()


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("state/x.py", "import time\n"),
        ("state/x.py", "from time import monotonic\n"),
        ("codec/x.py", "import random as r\n"),
        ("feed/x.py", "from random import Random\n"),
        ("tasks/x.py", "import os\n"),
        ("tasks/x.py", "import socket\n"),
        ("tasks/x.py", "import threading\n"),
        ("tasks/x.py", "import trio\ntrio.to_thread.run_sync(len, ())\n"),
        ("tasks/x.py", "from trio import to_thread\nto_thread.run_sync(len, ())\n"),
        ("wire/x.py", "import trio\nasync def f(): await trio.open_tcp_stream('h', 1)\n"),
        ("cli/x.py", "from datetime import datetime\nprint(datetime.now())\n"),
        ("cli/x.py", "import datetime\n"),
        ("cli/x.py", "f = open('x')\n"),
        ("cli/x.py", "from pathlib import Path\nPath('x').read_text()\n"),
        ("venue/core/x.py", "import uuid\n"),
        ("store/x.py", "import apsw\napsw.Connection('x')\n"),
        ("store/x.py", "from apsw import Connection\nConnection('x')\n"),
    ],
)
def test_the_checker_sees_a_door_to_the_world(tmp_path: Path, where: str, text: str) -> None:
    assert _planted(tmp_path, where, text)


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("codec/x.py", "from kraken_engine.state import order_book\n"),
        ("codec/x.py", "from kraken_engine import state\n"),
        ("wire/x.py", "import kraken_engine.codec.ws_v2\n"),
        ("state/x.py", "from kraken_engine.feed.publisher import Publisher\n"),
        ("venue/core/x.py", "from kraken_engine.codec.ws_v2 import Decoder\n"),
        ("venue/shells/x.py", "from kraken_engine.state.order_book import OrderBook\n"),
        ("tasks/x.py", "from kraken_engine.cli import app\n"),
        ("state/x.py", "from kraken_engine import open_market\n"),
        ("state/x.py", "from . import order_book\n"),
        ("surprise/x.py", "x = 1\n"),
    ],
)
def test_the_checker_sees_an_import_against_the_order(tmp_path: Path, where: str, text: str) -> None:
    assert _planted(tmp_path, where, text)


@pytest.mark.parametrize("where", ["codec/x.py", "state/x.py", "control/x.py", "venue/core/x.py", "normalise/x.py"])
def test_the_checker_sees_trio_in_a_sans_io_layer(tmp_path: Path, where: str) -> None:
    assert _planted(tmp_path, where, "import trio\n")


def test_the_checker_accepts_what_is_allowed(tmp_path: Path) -> None:
    assert not _planted(tmp_path, "state/x.py", "from kraken_engine.codec.ws_v2 import Level\n")
    assert not _planted(tmp_path, "tasks/y.py", "import trio\nasync def f(): await trio.sleep(1)\n")
    assert not _planted(tmp_path, "cli/z.py", "data = runtime.files.read_bytes('x')\n")


def _planted(tmp_path: Path, where: str, text: str) -> list[str]:
    file = tmp_path / where
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return [v for v in violations(tmp_path) if v.startswith(where)]
