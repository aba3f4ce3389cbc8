"""The evidence of a scan, and the codes of the wanted checks → their findings, the worst first."""

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from budget_cli.analysis.checks import budget, catalogue, groups, identity, lengths, log_probs, policies, records
from budget_cli.analysis.checks.findings import CheckInput, Finding
from budget_cli.analysis.penalty_in_reward import Penalty
from budget_cli.analysis.policies import Policies, compare_policies
from budget_cli.groups.moments import quiet_overflow

if TYPE_CHECKING:
    from budget_cli.analysis.stored_advantages import StoredAdvantages  # which only dumps with advantages need

SCHEMA = "budget-cli/check/1"
TOPICS = (records, groups, budget, lengths, log_probs, policies, identity)


class SkippedChecks(NamedTuple):
    """Checks that could not run, and why."""

    codes: tuple[str, ...]
    reason: str


class CheckRun(NamedTuple):
    """What the checks found, and which of them ran."""

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    unchecked: tuple[SkippedChecks, ...]
    penalty: Penalty | None = None  # that the rewards hold
    without_penalty: str | None = None  # says that they hold none, if it shows
    policies: tuple[Policies, ...] = ()  # how far two policies are apart
    stored: "StoredAdvantages | None" = None  # whose advantages the trainer stored, if it shows


@quiet_overflow
def run_checks(dump: CheckInput, wanted: Collection[str]) -> CheckRun:
    """Run the checks; within a severity, findings follow the order of the catalogue."""
    order = list(catalogue.CHECKS)
    found = [one for topic in TOPICS for one in topic.check(dump) if one.code in wanted]
    found.sort(key=lambda one: (-one.rank, order.index(one.code)))
    unchecked: list[SkippedChecks] = []
    without: set[str] = set()
    shown = {one.code for one in found}  # perhaps only in the first records
    for reason, needs in _unmet_needs(dump).items():
        codes = [code for code in order if code in wanted and needs & set(catalogue.CHECKS[code].needs)]
        codes = [code for code in codes if code not in without | shown]
        without |= set(codes)
        if codes:
            unchecked.append(SkippedChecks(tuple(codes), reason))
    checked = tuple(code for code in order if code in wanted and code not in without)
    without_penalty, policies_apart = budget.without_penalty(dump), compare_policies(dump)
    skipped = tuple(unchecked)
    return CheckRun(tuple(found), checked, skipped, dump.penalty, without_penalty, policies_apart, dump.stored)


def _unmet_needs(dump: CheckInput) -> dict[str, set[str]]:
    """Map each reason why something is unavailable to the needs of checks that it leaves unmet."""
    c, counters = dump.loss.coefficients, dump.counters
    reasons = {}
    if dump.per_prompt is None:
        reasons["a summary has no individual records"] = {"records"}
    if c.token_budget is None:
        reasons["no budget: give -B TOKENS"] = {"budget"}
    elif c.budget_penalty_coef <= 0:
        reasons["no penalty: --budget-penalty-coef is 0"] = {"budget"}
    if not dump.groups.with_length:
        reasons["no lengths in these records"] = {"length", "budget"}
    elif not dump.has_lengths:
        reasons["not every response has a length"] = {"budget"}
    if dump.counters.count("without_log_prob") == dump.responses:
        reasons["no log-probs in these records"] = {"log_prob", "log_ratio", "two_policies", "sampler"}
    else:
        has_sampler = "sampler" in counters.weights
        if not dump.groups.with_log_ratio:
            needs = {"log_ratio"} if has_sampler else {"log_ratio", "two_policies"}
            reasons["no log-probs of the reference in these records"] = needs
        if not has_sampler:
            key = dump.sampler_key
            remedy = f": --field sampler_log_prob={key} compares {key} with log_prob" if key else ""
            reasons[f"no log-probs of the sampler in these records{remedy}"] = {"sampler"}
    if not dump.has_texts:
        reasons["texts are read only with --text" if dump.has_texts is None else "no texts in these records"] = {"text"}
    if dump.keys_not_compared:
        reasons[dump.keys_not_compared] = {"keys"}
    if not counters.values.get("finish_reason"):
        reasons["no finish reason in these records"] = {"finish_reason"}
    if dump.no_advantages or not dump.advantages:
        reasons[dump.no_advantages or "no stored advantages in these records"] = {"advantage"}
    return reasons
