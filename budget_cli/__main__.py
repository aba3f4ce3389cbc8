"""Command-line entry point: `budget-cli` and `python -m budget_cli`."""

import gc
import os
import sys
from types import ModuleType


def main() -> None:
    """Run the command line; the process ends with its exit code."""
    gc.set_threshold(100_000)  # what is imported stays: to search it for cycles takes 4 % of a small run
    # what documents numpy to `help()`, which nobody asks for here: a sixth of what its import executes
    sys.modules.setdefault("numpy._core._add_newdocs", ModuleType("numpy._core._add_newdocs"))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # no matrices here; numpy's idle threads cost 20 ms and memory
    try:
        from budget_cli.cli import signals

        signals.end_on_signals()
        from budget_cli.cli import output
        from budget_cli.cli.app import run

        output.prepare_streams()
        try:
            run(sys.argv[1:])
        except SystemExit as leaving:
            _leave(leaving)
    except KeyboardInterrupt:  # Ctrl-C while Python is still importing
        os._exit(130)
    except signals.Terminated as ended:  # before anything is done, or when all is
        os._exit(128 + ended.signal)


def _leave(leaving: SystemExit) -> None:
    """End the process at once: taking modules down one by one is a tenth of the time of a small run."""
    if not isinstance(leaving.code, int):
        raise leaving
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        raise leaving from None
    os._exit(leaving.code)


# CPython keeps frames in chunks of 16 KiB and frees a chunk when its first frame returns: where calls cross the end of
# one again and again, that is a sixth of a small run. This frame asks for a large chunk, which has room for all others.
main.__code__ = main.__code__.replace(co_stacksize=1 << 14)

if __name__ == "__main__":
    main()
