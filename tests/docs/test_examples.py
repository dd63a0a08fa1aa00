"""What the documentation shows is true: every Python block runs, every command line is one the program accepts.

Each Python block is a whole program. It runs in this process, on the embedded venue, for as long as it takes to see a
few events.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from cyclopts import CycloptsError

from kraken_engine.cli.app import app
from kraken_engine.config import Config

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts),
]
FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PLACEHOLDERS = {
    "SYMBOL": "BTC/USD",
    "FILE": "file.jsonl",
    "SECONDS": "5",
    "URL": "ws://127.0.0.1:1/v2",
    "DIRECTORY": "certs",
}


@attrs.frozen
class Block:
    where: str
    language: str
    text: str


def every_block() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text()
        for found in FENCE.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield Block(f"{page.relative_to(ROOT)}:{line}", found["language"], found["text"])


def blocks(language: str) -> list[Block]:
    return [block for block in every_block() if block.language == language]


def command_lines() -> list[tuple[str, str]]:
    return [
        (block.where, line.removeprefix("$ "))
        for block in blocks("console")
        for line in block.text.splitlines()
        if "kraken-engine " in line
    ]


@pytest.mark.parametrize("block", blocks("python"), ids=lambda b: b.where)
def test_every_python_example_runs(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    program = compile(block.text, block.where, "exec", dont_inherit=True)
    exec(program, {"__name__": "__main__"})  # the documentation of this very tree
    if "print(" in block.text:
        assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("block", blocks("json"), ids=lambda b: b.where)
def test_every_json_example_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda b: b.where)
def test_every_configuration_shown_is_accepted(block: Block) -> None:
    assert Config.parse(block.text.encode(), name=block.where) != Config()


@pytest.mark.parametrize(("where", "line"), command_lines(), ids=lambda value: value if "md:" in value else "")
def test_every_command_line_shown_is_accepted(where: str, line: str) -> None:
    assert "[" not in line.split("kraken-engine", 1)[1] or where.startswith("docs/reference/")
    arguments = _concrete(line.split("kraken-engine ", 1)[1])
    app.parse_args(arguments, exit_on_error=False, print_error=False)


def test_a_command_line_that_is_not_one_is_refused() -> None:
    with pytest.raises(CycloptsError):
        app.parse_args(["demo", "--no-such-option"], exit_on_error=False, print_error=False)


def test_there_are_examples_to_run() -> None:
    assert len(blocks("python")) >= 8
    assert len(command_lines()) >= 10


def test_no_example_escapes_by_its_name_or_its_indentation() -> None:
    assert {block.language for block in every_block()} == {"python", "console", "json", "yaml", "text"}
    assert [page.name for page in PAGES if re.search(r"^[ \t]+```", page.read_text(), re.MULTILINE)] == []


def test_the_readme_has_exactly_two_commands_and_the_check_runs_the_second() -> None:
    readme = (ROOT / "README.md").read_text()
    section = readme.split("## Two commands", 1)[1].split("\n## ", 1)[0]
    demo, tests = [line.removeprefix("$ ") for line in section.splitlines() if line.startswith("$ ")]
    assert demo.endswith("nox -s demo")
    assert tests.endswith("nox -s tests")
    assert tests in (ROOT / ".ci" / "run").read_text()


def test_every_link_between_the_pages_leads_somewhere() -> None:
    links = [(page, target) for page in PAGES for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())]
    assert len(links) > 10
    assert [
        f"{page.relative_to(ROOT)}: {target}" for page, target in links if not (page.parent / target).exists()
    ] == []


def test_every_page_is_reached_from_the_readme_and_from_the_index_of_its_folder() -> None:
    readme = (ROOT / "README.md").read_text()
    pages = [page for folder in ("how-to", "explanation") for page in sorted((ROOT / "docs" / folder).glob("*.md"))]
    pages = [page for page in pages if page.name != "index.md"]
    assert len(pages) > 20
    assert [page.name for page in pages if f"](docs/{page.parent.name}/{page.name})" not in readme] == []
    listed = {
        page.parent: (page.parent / "index.md").read_text().partition("{toctree}")[2].split("```")[0].split()
        for page in pages
    }
    assert [page.name for page in pages if page.stem not in listed[page.parent]] == []


def test_every_option_of_every_command_is_documented() -> None:
    reference = (ROOT / "docs" / "reference" / "command-line.md").read_text()
    sections = {
        name: section
        for heading, _, section in (part.partition("\n") for part in reference.split("\n## ")[1:])
        for name in heading.split(", ")
    }
    commands = [name for name in app if not name.startswith("-")]
    assert set(sections) == set(commands) >= {"demo", "positions", "errors"}
    for name in commands:
        section = sections[name]
        for argument in app[name].assemble_argument_collection():
            for option in argument.names:
                if option.startswith("--") and not option.startswith("--no-"):
                    assert option in section, f"{name}: {option} is not in the reference"


def _concrete(usage: str) -> list[str]:
    """Turn a usage line into one concrete call: everything optional given once, placeholders filled in."""
    plain = re.sub(r"\[(?P<inner>[^\]]*)\]", lambda found: "" if "..." in found["inner"] else found["inner"], usage)
    words = [re.sub("PORT", "0", word) for word in shlex.split(plain)]
    return [PLACEHOLDERS.get(word, word) for word in words]
