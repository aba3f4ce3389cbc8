"""Sources and their finished scan → what a second pass over the same input makes of each unit, in order.

`annotate` and `show` take one, since the mean over a prompt is known only at the end of the first. An input that has
changed since is a problem, as the terms of its responses would belong to others. Of a few prompts, only the units that
hold some of their responses are read again.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from budget_cli.errors import InputProblem
from budget_cli.records.columns import Tally
from budget_cli.scanning import scan, workers
from budget_cli.scanning.plan import Plan, Task
from budget_cli.scanning.state import ReadSoFar, Scan
from budget_cli.sources.local import Source

CHANGED = "changed between the two passes over it: do not trust what was written so far"


class Outcome(Protocol):
    """What is made of a unit, and what was read for it."""

    @property
    def tally(self) -> Tally:
        """What became of its records."""

    @property
    def bytes(self) -> int:
        """How many there were."""


Made = TypeVar("Made", bound=Outcome)


def outcomes(
    found: Sequence[Source],
    run: Callable[[Task, Any], Made | InputProblem],
    given: Any,
    plan: Plan,
    first_pass: Scan,
    jobs: int | None = None,
    progress: Callable[[ReadSoFar], None] | None = None,
    rows: NDArray[np.intp] | None = None,
) -> Iterator[tuple[Task, Made]]:
    """Yield each unit and what `run` makes of it.

    Args:
        found: the sources, which can all be read twice.
        run: called with a unit and `given`, in a worker.
        given: the same for every unit.
        plan: of the scan.
        first_pass: its counts must equal those of this pass.
        jobs: number of processes, as for the scan.
        progress: called after every unit.
        rows: of the prompts that matter, if the first pass noted which units have them; None: all of them.

    Raises:
        InputProblem: a source has changed since the first pass.
        WorkerDied: a worker process was killed.
    """
    problems: list[InputProblem] = []
    so_far = ReadSoFar()
    counts = plan.fields.counts_every_text  # slow work, and threads cost nothing to start
    worth = jobs is not None or sum(source.size or 0 for source in found) >= scan.WORTH_WORKERS or counts
    threads = counts or scan.fetches_apart(found)
    left_out: list[Task] = []
    stream = _numbered(scan.tasks(found, plan, problems, set(), shared=threads), first_pass, rows, left_out)
    for task, outcome in workers.run(run, given, stream, jobs or scan.available_cores(), worth, threads):
        if isinstance(outcome, InputProblem):
            raise outcome
        so_far.tally.merge(outcome.tally)
        so_far.bytes += outcome.bytes
        yield task, outcome
        if progress is not None:
            progress(so_far)
    if problems:
        raise problems[0]
    if not left_out and so_far.tally != first_pass.tally:
        raise InputProblem(found[0].name if len(found) == 1 else "the input", CHANGED)
    for problem in scan.changed(found):
        raise problem


def _numbered(
    tasks: Iterator[Task], first_pass: Scan, rows: NDArray[np.intp] | None, left_out: list[Task]
) -> Iterator[Task]:
    """Say how many lines are before each task, and move those to `left_out` that need not be read.

    More tasks than in the first pass are of a changed file.
    """
    before = iter(first_pass.lines_before)
    noted = iter(first_pass.part_rows)
    for task in tasks:
        of_part = next(noted, None)
        at = next(before, 0)
        if rows is None or of_part is None or np.isin(of_part, rows).any():
            yield task._replace(before=at)
        else:
            left_out.append(task._replace(unit=None))
