"""`--select`, `--ignore` and `--threshold` as typed → the codes of the checks to make, and their thresholds."""

import math
from collections.abc import Sequence

from budget_cli.analysis.checks.catalogue import CHECKS, THRESHOLDS, TOPICS, Check
from budget_cli.errors import UsageProblem, nearest


def wanted_checks(select: Sequence[str], ignore: Sequence[str]) -> set[str]:
    """Return the codes of the checks to make: those selected, or all, but those ignored.

    Raises:
        UsageProblem: no check or topic has such a name.
    """
    chosen = _codes("--select", select) if select else set(CHECKS)
    return chosen - _codes("--ignore", ignore)


def _codes(option: str, names: Sequence[str]) -> set[str]:
    codes = set()
    for name in [part.strip() for given in names for part in given.split(",")]:
        if name in TOPICS:
            codes |= {check.code for check in CHECKS.values() if check.topic == name}
        elif name in CHECKS:
            codes.add(name)
        else:
            raise UsageProblem(f"{option}: no check is called {name!r}{_near(name, [*CHECKS, *TOPICS])}")
    return codes


def parse_thresholds(given: Sequence[str]) -> dict[str, float]:
    """Return all thresholds, those given as `NAME=VALUE` in place of their defaults.

    Raises:
        UsageProblem: no threshold has such a name, or the value is no finite number.
    """
    thresholds = dict(THRESHOLDS)
    for text in given:
        name, _, value = text.partition("=")
        if name not in THRESHOLDS:
            near = nearest(name, THRESHOLDS)
            hint = f" (did you mean {near}?)" if near else "; budget-cli explain CODE has those of a check"
            raise UsageProblem(f"--threshold: none is called {name!r}{hint}")
        try:
            thresholds[name] = float(value)
        except ValueError:
            thresholds[name] = math.nan
        if not math.isfinite(thresholds[name]):
            raise UsageProblem(f"--threshold {text}: expected NAME=NUMBER, as in {name}={THRESHOLDS[name]:g}")
    return thresholds


def check_called(code: str, option: str = "--explain") -> Check:
    """Return the check with this code, which this option names.

    Raises:
        UsageProblem: there is none.
    """
    if code not in CHECKS:
        others = ["all"] if option == "--explain" else []
        raise UsageProblem(f"{option}: no check is called {code!r}{_near(code, [*CHECKS, *others])}")
    return CHECKS[code]


def _near(name: str, names: Sequence[str]) -> str:
    near = nearest(name, names)
    return f" (did you mean {near}?)" if near else "; budget-cli explain lists all"
