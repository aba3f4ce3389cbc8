"""budget-cli: recompute the budget-aware RL loss of a rollout dump and break it down."""

from typing import TYPE_CHECKING, Any

from budget_cli.errors import BudgetCliError, DumpRejected, InputProblem, OutputProblem, UsageProblem, WorkerDied
from budget_cli.objective import rl_budget_loss
from budget_cli.version import __version__

if TYPE_CHECKING:
    from budget_cli.api.dump import Dump, scan
    from budget_cli.api.results import CheckedDump, DumpLoss, DumpSweep

__all__ = [
    "BudgetCliError",
    "CheckedDump",
    "Dump",
    "DumpLoss",
    "DumpRejected",
    "DumpSweep",
    "InputProblem",
    "OutputProblem",
    "UsageProblem",
    "WorkerDied",
    "__version__",
    "rl_budget_loss",
    "scan",
]
_LATE = {  # imported when they are first asked for, as the commands start without them
    "Dump": "dump",
    "scan": "dump",
    "CheckedDump": "results",
    "DumpLoss": "results",
    "DumpSweep": "results",
}


def __getattr__(name: str) -> Any:
    """Import what Python's callers use."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"budget_cli.api.{_LATE[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names, whether they are imported yet or not."""
    return sorted({*globals(), *__all__})
