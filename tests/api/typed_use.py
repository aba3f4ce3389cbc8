"""What a user's script may do with the types of the installed package: `.ci/run` checks it with mypy --strict."""

from pathlib import Path

import budget_cli


def share_of_length(path: Path) -> float | None:
    """Read a dump, and look at it in each way that Python has."""
    dump: budget_cli.Dump = budget_cli.scan(
        path, [1024], field={"reward": "score"}, set={"penalty": "capped", "cap": 9}
    )
    loss: budget_cli.DumpLoss = dump.loss(1024, beta=0.1)
    k1: float | None = loss.kl.k1
    codes: list[str] = [finding.code for finding in dump.check(beta=0.1).findings]
    verdict: str = dump.sweep([0.0, 0.1]).to_dict()["status"]
    dump.to_summary(path.with_suffix(".summary"))
    return loss.advantage.budget_share if k1 is not None and codes and verdict == "pass" else None


try:
    share_of_length(Path("rollouts.jsonl"))
except budget_cli.BudgetCliError as error:
    code: int = error.exit_code
