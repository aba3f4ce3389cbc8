"""A scan in progress → one line on the terminal: bytes, records, rate, time left, rejected."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from budget_cli.cli import console

if TYPE_CHECKING:
    from budget_cli.scanning.state import ReadSoFar, Scan
    from budget_cli.sources.local import Source

LONG = 1.0  # seconds; shorter work shows nothing


class Progress:
    """A progress line that appears once the work has taken a second, and disappears at the end."""

    def __init__(self, total_bytes: int | None) -> None:
        self._total = total_bytes
        self._began = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def update(self, so_far: "ReadSoFar | Scan") -> None:
        """Show the records and bytes so far."""
        if self._bar is None:
            if time.monotonic() - self._began < LONG:
                return
            self._start()
        tally = so_far.tally
        rejected = f"[red]{tally.rejected:,} rejected" if tally.rejected else ""
        self._bar.update(self._task, completed=so_far.bytes, records=f"{tally.read:,} records", rejected=rejected)

    def _start(self) -> None:
        from rich import progress
        from rich.console import Console

        self._bar = progress.Progress(
            progress.BarColumn(),
            progress.DownloadColumn(binary_units=True),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[records]}"),
            progress.TextColumn("{task.fields[rejected]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=self._total, records="", rejected="")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


@contextlib.contextmanager
def progress_over(found: "Sequence[Source]", quiet: bool) -> "Iterator[Callable[[ReadSoFar | Scan], None] | None]":
    """Yield a function to call after every block; None if no progress is to be shown."""
    if not console.progress_wanted(quiet):
        yield None
        return
    sizes = [source.size for source in found]
    total = None if None in sizes or not all(source.at_once for source in found) else sum(s or 0 for s in sizes)
    with Progress(total) as progress:
        yield progress.update
