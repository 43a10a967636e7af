import click
import pytest
from click.testing import CliRunner

from doorway import Door, show_verdict
from doorway.version import version


@click.group(cls=Door)
def program():
    """A program."""


@program.command()
@click.argument("troubles", nargs=-1)
def status(troubles):
    """Say how it is."""
    show_verdict(troubles)


def test_every_program_says_its_version():
    said = CliRunner().invoke(program, ["--version"], prog_name="light-node")

    assert (said.exit_code, said.output) == (0, f"light-node, version {version()}\n")


@pytest.mark.parametrize(
    ("troubles", "said"),
    [
        ((), "All is well.\n"),
        (("The disk is full; make room.",), "The disk is full; make room.\n"),
        (("One.", "Two."), "2 things are not well:\n  ! One.\n  ! Two.\n"),
    ],
)
def test_a_status_begins_with_whether_all_is_well(troubles, said):
    assert CliRunner().invoke(program, ["status", *troubles]).output == said
