"""The command `vitrollout`. Each subcommand is a file of this folder, imported when it is called."""

import sys
from _thread import interrupt_main
from collections.abc import Callable
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from io import TextIOWrapper
from threading import Timer
from typing import Any

import click

from jobs.command_line.exits import exit_on_error
from jobs.command_line.logs import set_up_log

COMMANDS = {
    "run": "Classify a folder of photos, with an attention map of each.",
    "explain": "Show what the model sees in one photo, as figures.",
    "nightly": "Run several archives from one configuration file.",
    "status": "Show the last runs of a results folder, and its failures.",
    "report": "Rewrite a results folder's report.html.",
    "review": "Decide, correct and draw boxes in the browser.",
    "overlays": "Draw the overlays that a run has left out.",
    "compact": "Merge the small parts of a results folder's table.",
    "export": "Export the reviewed photos as a data set.",
    "finetune": "Make a classifier from labelled photos.",
    "evaluate": "Measure a classifier on labelled photos.",
    "trust": "Measure which maps of a model can be trusted.",
}


class LazyGroup(click.Group):
    """A group with its commands' names at hand, so `--help` imports none of them: torch takes seconds."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order of their use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; an unknown one is answered with the nearest."""
        if cmd_name not in COMMANDS:
            near = get_close_matches(cmd_name, COMMANDS, n=1)
            if near and not ctx.resilient_parsing:
                ctx.fail(f"No such command '{cmd_name}'. Did you mean '{near[0]}'?")
            return None
        command: click.Command = getattr(import_module(f"jobs.{cmd_name}"), f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their one-line help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vitrollout")
def cli() -> None:
    """Attention rollout over folders of photos: labels, logits and maps to Parquet, overlays to PNG.

    Exit codes: 0 done; 1 a fault, run again to continue; 2 wrong command, configuration or model; 3 done, but some
    photos failed; 75 another run holds the results folder; 130, 143 interrupted.
    """
    from pipeline.locale_encoding import check_name_encoding

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # PYTHONIOENCODING may know too few letters for a label or a path
            with suppress(OSError):  # where a caller has put another file under it
                stream.reconfigure(errors="backslashreplace")
    set_up_log()
    check_name_encoding()


def main() -> None:
    """Run the command; errors with a remedy are one line, without a traceback."""
    sys.unraisablehook = partial(_repeat_lost_interrupt, sys.unraisablehook)
    try:
        with exit_on_error("vitrollout"):
            sys.exit(cli.main(prog_name="vitrollout", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):  # before the command could begin, or at its very end
        print("vitrollout: interrupted", file=sys.stderr)
        sys.exit(130)


def _repeat_lost_interrupt(default_hook: Callable[[Any], Any], unraisable: Any) -> None:
    """Repeat a Ctrl-C lost in a `__del__`: Python drops it there, and importing transformers runs many of them."""
    if unraisable.exc_type is KeyboardInterrupt:
        Timer(0.2, interrupt_main).start()  # a moment later, outside the same `__del__` and this hook
    else:
        default_hook(unraisable)


if __name__ == "__main__":
    main()
