"""How many examples a property is tried with: 100 unless its test says otherwise, a quarter of that in `make quick`."""

import os

from hypothesis import settings

TWICE = 50  # examples of what is tried twice: with the compiled parts and without them
QUICK = os.environ.get("HYPOTHESIS_PROFILE") == "quick"

# no deadline: no test asserts a time
settings.register_profile("full", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=25)


def examples(count: int) -> settings:
    """Return the settings of a test that needs more or fewer examples than others."""
    return settings(max_examples=max(count // 4, 1) if QUICK else count)
