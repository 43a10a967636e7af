"""What the documents point at is there: files, headings, make targets, commands, options."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

import certs.cli
import conformance.cli
import ems_bridge.cli
import light_node.cli
import ven.cli
import vtn.cli

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(room / "README.md" for room in ROOT.iterdir() if (room / "README.md").exists()),
    ]
)
EACH = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS]
)
PROGRAMS = {
    "vtn": vtn.cli.main,
    "ven": ven.cli.main,
    "light-node": light_node.cli.main,
    "ems-bridge": ems_bridge.cli.main,
    "certs": certs.cli.main,
    "oadr-conformance": conformance.cli.main,
}
A_COMMAND = re.compile(rf"(?:\$ )?(?:sudo )?(?:-u \w+ )?({'|'.join(PROGRAMS)}) ([a-z].*)$")
EVERYWHERE = {"--help", "--version", "--json", "--verbose"}
MADE_LATER = {"out", "node_modules", "dist"}
"""Folders in which programs write; a fresh clone has none of them."""


@cache
def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


@cache
def headings(document: Path) -> set[str]:
    """As GitHub makes anchors of them."""
    found = re.findall(r"^#+ (.*)$", text_of(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.strip().lower()).replace(" ", "-") for each in found}


def said_as_code(document: Path) -> Iterator[str]:
    """Inline code, and the lines of blocks, fenced or indented; what is continued is one line."""
    text = text_of(document).replace("\\\n", " ")
    yield from re.findall(r"`([^`\n]+)`", text)
    for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL):
        yield from block.splitlines()
    yield from re.findall(r"^    (\S.*)$", text, re.MULTILINE)


@EACH
def test_every_link_leads_somewhere(document):
    prose = re.sub(r"```.*?```", "", text_of(document), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        file, _, heading = link.partition("#")
        target = document.parent / file if file else document

        assert target.exists(), link
        assert not heading or heading in headings(target), link


@EACH
def test_every_path_that_is_named_is_there(document):
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir()}
    for path in re.findall(r"`([\w./-]+/[\w./-]*)`", text_of(document)):
        steps = path.split("/")
        if steps[0] in rooms and not MADE_LATER & set(steps):
            assert (ROOT / path).exists(), path


@EACH
def test_every_make_target_is_there(document):
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = re.findall(r"`make ([a-z-]+)", text_of(document))

    assert set(named) - targets == set()


@EACH
def test_every_command_and_option_is_there(document):
    for line in said_as_code(document):
        if (said := A_COMMAND.match(line.strip())) is None:
            continue
        command, words = PROGRAMS[said[1]], said[2].split()
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            name = words.pop(0).rstrip(",;:")
            assert name in command.commands, line
            command = command.commands[name]
        known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        for word in words:
            if word in ("|", "#", ">", "&&"):
                break
            option = word.partition("=")[0].rstrip(",;:)]")
            if option.startswith("--") and option != "--":
                assert option in known | EVERYWHERE, line


def test_the_commands_are_found_in_the_documents():
    found = sum(
        A_COMMAND.match(line.strip()) is not None
        for document in DOCUMENTS
        for line in said_as_code(document)
    )

    assert found > 100


def test_each_decision_has_a_number_of_its_own():
    numbers = [path.name[:4] for path in sorted((ROOT / "docs" / "decisions").glob("0*.md"))]

    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
