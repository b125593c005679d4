"""The command `vitrollout`. Each subcommand is a file of this folder, imported only when it is called."""

import sys
from _thread import interrupt_main
from collections.abc import Callable
from functools import partial
from importlib import import_module
from threading import Timer
from typing import Any

import click

from jobs.command_line.logs import set_up_log

COMMANDS = {
    "run": "Classify a folder of photos, with an attention map of each.",
    "explain": "Show what the model sees in one photo, as figures.",
    "nightly": "Do that for several archives, by a scheduler.",
    "status": "Show the last runs of a results folder, and what failed.",
    "report": "Write a results folder's report.html anew.",
    "compact": "Merge the small parts of a results folder's table.",
    "finetune": "Make a classifier from labelled photos.",
    "evaluate": "Measure a classifier on labelled photos.",
    "trust": "Measure which maps of a model can be trusted.",
}


class LazyGroup(click.Group):
    """A group that knows its commands' names without importing them: `--help` must not wait for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of their use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"jobs.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their one-line help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vitrollout")
def cli() -> None:
    """Attention rollout over folders of photos: labels, logits and maps to Parquet, overlays to PNG.

    Exit codes: 0 done; 1 a fault, run again to go on; 2 wrong command, configuration or model;
    3 done, but some images failed; 75 another run holds the results folder; 130, 143 interrupted.
    """
    set_up_log()


def _interrupt_again(otherwise: Callable[[Any], Any], unraisable: Any) -> None:
    """Python drops a Ctrl-C that falls into a `__del__`, of which the import of transformers is full."""
    if unraisable.exc_type is KeyboardInterrupt:
        Timer(0.01, interrupt_main).start()  # not at once, which would still be within
    else:
        otherwise(unraisable)


def main() -> None:
    """Run the command; errors that a user can act on are one line, without a traceback."""
    sys.unraisablehook = partial(_interrupt_again, sys.unraisablehook)
    try:
        sys.exit(cli.main(prog_name="vitrollout", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as error:
        # not by class: importing it would slow down --help; a full disk and the like are the machine's faults
        code = getattr(error, "exit_code", 1 if isinstance(error, OSError) else None)
        if code is None:
            raise
        print(f"vitrollout: {error}", file=sys.stderr)
        sys.exit(code)


if __name__ == "__main__":
    main()
