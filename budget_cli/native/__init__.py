"""The compiled extensions `ids`, `moments`, `reader` and `unfold`: the only place that knows whether there are any.

If budget-cli was installed without a C compiler, all are absent, `AVAILABLE` is False, and their plain
counterparts serve: the dictionary of `ids`, the formulas of `groups.moments`, the reference reader of `records`.
Imports no other module of the package.
"""

try:
    from budget_cli.native import ids, moments, reader, unfold

    AVAILABLE = True
except ImportError:
    AVAILABLE = False

__all__ = ["AVAILABLE", "ids", "moments", "reader", "unfold"]
