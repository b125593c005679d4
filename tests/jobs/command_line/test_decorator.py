"""Help from the docstring of a module."""

import click
from click.testing import CliRunner

from jobs.command_line.decorator import command

DOCSTRING = """Do something.

A paragraph over
two lines.

vitrollout something photos/
vitrollout something photos/ --fast
"""


def test_help_wraps_paragraphs_and_keeps_the_lines_of_examples():
    @command(DOCSTRING)
    @click.argument("photos")
    def something_command(photos):
        raise AssertionError(photos)

    lines = CliRunner().invoke(something_command, ["--help"]).output.splitlines()
    assert lines[2:9] == [
        "  Do something.",
        "",
        "  A paragraph over two lines.",
        "",
        "  vitrollout something photos/",
        "  vitrollout something photos/ --fast",
        "",
    ]
