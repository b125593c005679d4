"""The first moment of the command `vitrollout`, before even click is imported."""

import sys


def main() -> None:
    """Import and run the command line; Ctrl-C during this import, too, is one line without a traceback."""
    try:
        from jobs.cli import main as run_command_line
    except KeyboardInterrupt:
        print("vitrollout: interrupted", file=sys.stderr)
        sys.exit(130)
    run_command_line()
