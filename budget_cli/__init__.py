"""budget-cli: recompute the budget-aware RL loss of a rollout dump and break it down."""

from budget_cli.objective import rl_budget_loss

__version__ = "0.1.0"
__all__ = ["__version__", "rl_budget_loss"]
