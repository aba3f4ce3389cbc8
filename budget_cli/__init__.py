"""budget-cli: the budget-aware loss of a rollout dump, and what it is made of."""

from budget_cli.objective import rl_budget_loss

__version__ = "0.1.0"
__all__ = ["__version__", "rl_budget_loss"]
