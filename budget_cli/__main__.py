"""The command's way in: `budget-cli` and `python -m budget_cli`."""

import sys


def main() -> None:
    """Run the command line; leaves the process with its exit code."""
    try:
        from budget_cli.cli import app
    except KeyboardInterrupt:  # Ctrl-C while Python is still importing
        sys.exit(130)
    app(prog_name="budget-cli")


if __name__ == "__main__":
    main()
