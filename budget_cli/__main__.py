"""The command's way in: `budget-cli` and `python -m budget_cli`."""

import gc
import os
import sys


def main() -> None:
    """Run the command line; leaves the process with its exit code."""
    gc.disable()  # until a scan begins: what is imported stays, and looking for garbage among it costs 5 ms
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # no matrices here; numpy's idle threads cost 20 ms and memory
    try:
        from budget_cli.cli.app import run
    except KeyboardInterrupt:  # Ctrl-C while Python is still importing
        sys.exit(130)
    try:
        run(sys.argv[1:])
    except SystemExit as leaving:
        _leave(leaving)


def _leave(leaving: SystemExit) -> None:
    """End at once: taking down a dict of a million prompts, object by object, helps nobody."""
    if not isinstance(leaving.code, int):
        raise leaving
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        raise leaving from None
    os._exit(leaving.code)


if __name__ == "__main__":
    main()
