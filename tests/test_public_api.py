"""What the package says it offers is what it offers."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

import kraken_engine

PROMISED = {
    "Book", "Bounded", "Candles", "Config", "Conflate", "DropOldest", "Ticker", "Trades",
    "BookUpdate", "Candle", "Gap", "Live", "Stale", "TickerUpdate", "Trade", "TradeGap",
    "open_engine", "open_market",
}  # fmt: skip
"""Names that documentation and applications rely on."""


PACKAGE = Path(kraken_engine.__file__).parent


def modules() -> list[ModuleType]:
    found = pkgutil.walk_packages(kraken_engine.__path__, "kraken_engine.")
    names = sorted(module.name for module in found if not module.name.endswith("__main__"))
    return [kraken_engine, *(importlib.import_module(name) for name in names)]


MODULES = modules()


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_every_module_says_what_it_is_for(module: ModuleType) -> None:
    assert module.__doc__
    assert len(module.__doc__.strip()) > 20


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_every_name_a_module_offers_exists_once(module: ModuleType) -> None:
    offered = getattr(module, "__all__", [])
    assert len(offered) == len(set(offered))
    assert [name for name in offered if not hasattr(module, name)] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_whatever_a_module_offers_is_documented(module: ModuleType) -> None:
    for name in getattr(module, "__all__", []):
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{module.__name__}.{name} has no docstring"


def test_modules_take_from_each_other_only_what_is_offered() -> None:
    taken = [
        (file.relative_to(PACKAGE), node.module, name.name)
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kraken_engine.")
        for name in node.names
    ]
    assert len(taken) > 100
    not_offered = [
        f"{file}: {name} of {source}"
        for file, source, name in taken
        if not inspect.ismodule(getattr(importlib.import_module(source or ""), name))
        and name not in getattr(importlib.import_module(source or ""), "__all__", [])
    ]
    assert not_offered == []


def test_the_package_offers_what_was_promised() -> None:
    assert set(kraken_engine.__all__) >= PROMISED


def test_the_package_offers_no_module_by_accident() -> None:
    assert [name for name in kraken_engine.__all__ if inspect.ismodule(getattr(kraken_engine, name))] == []
    assert list(kraken_engine.__all__) == sorted(kraken_engine.__all__)
