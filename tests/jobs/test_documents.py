"""Options, commands and targets named in the documents and in help: they exist."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from jobs.cli import COMMANDS, cli

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "jobs/schedules/README.md"]
DOCUMENTS += sorted(str(file.relative_to(ROOT)) for file in (ROOT / "docs").glob("*.md"))

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
# Options of other programs: pip, hf, jupyter, mypy, useradd, systemctl, docker, kubectl
FOREIGN = {"--constraint", "--local-dir", "--inplace", "--system", "--user-group", "--create-home", "--home-dir"}
FOREIGN |= {"--build-arg", "--shell", "--now", "--no-block", "--strict", "--from", "--stop-timeout"}


def options_of(name: str) -> set[str]:
    """Return the options of one command of vitrollout."""
    command = cli.get_command(click.Context(cli), name)
    return {"--help"} | {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}


OPTIONS = {name: options_of(name) for name in COMMANDS}
OWN = {"--help", "--version"}.union(*OPTIONS.values())
OF_SCRIPTS = {
    option for file in (ROOT / "jobs").rglob("*.py") for option in re.findall(r'"(--[a-z-]+)"', file.read_text())
}


def commands_in(text: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each command line of vitrollout in a text: the command, and its options. Comments and pipes end it."""
    for name, rest in re.findall(r"vitrollout ([a-z]+)(?![/\w])([^\n`#|;&)]*)", text.replace("\\\n", " ")):
        yield name, set(OPTION.findall(rest))


def code_in(document: str) -> str:
    """Return the lines of code of a document, and the code in its sentences."""
    text = (ROOT / document).read_text()
    blocks = re.findall(r"^ {4}.*$", text, re.MULTILINE) + re.findall(r"```.*?```", text, re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", text)])


def wrong_commands(text: str) -> list[str]:
    """Describe each command line with an unknown command, or an option of none or of another command."""
    return [
        f"vitrollout {name} {' '.join(sorted(options - OPTIONS.get(name, set())))}"
        for name, options in commands_in(text)
        if name not in OPTIONS or options - OPTIONS[name]
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_options_in_documents_exist(document):
    named = set(OPTION.findall((ROOT / document).read_text()))
    assert named - OWN - OF_SCRIPTS - FOREIGN == set()
    assert wrong_commands(code_in(document)) == []


def test_the_readme_shows_every_command():
    shown = {name for name, _ in commands_in(code_in("README.md"))}
    assert shown == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_in_help_exist(name):
    command = cli.get_command(click.Context(cli), name)
    assert wrong_commands(command.help) == []
    mentioned = {
        option for parameter in command.params for option in OPTION.findall(getattr(parameter, "help", "") or "")
    }
    assert (mentioned | set(OPTION.findall(command.help))) - OWN == set()


def test_commands_of_the_makefile_exist():
    text = (ROOT / "Makefile").read_text()
    options = set(OPTION.findall(re.search(r"^BUNDLED_RECIPE := ((?:.*\\\n)*.*)$", text, re.MULTILINE)[1]))
    assert options
    assert options - OPTIONS["finetune"] == set()
    commands = "\n".join(re.findall(r"\$\(BIN\)/(vitrollout .*)", text.replace("\\\n", " ")))
    expected = {"run", "nightly", "review", "finetune", "evaluate", "trust", "explain"}
    assert expected == {name for name, _ in commands_in(commands)}
    assert wrong_commands(commands) == []


def test_targets_in_documents_exist_and_have_help():
    text = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)[1].split())
    assert targets == set(re.findall(r"^([a-z-]+):.* ## ", text, re.MULTILINE))
    for document in DOCUMENTS:
        assert (
            set(re.findall(r"^make ([a-z-]+)", code_in(document).replace("    make", "make"), re.MULTILINE)) <= targets
        )


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_lists_its_targets():
    listed = subprocess.run(["make", "--directory", str(ROOT)], capture_output=True, text=True, check=True).stdout
    assert "make run" in listed
    assert "INPUT=photos/" in listed
