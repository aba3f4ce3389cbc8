"""Responses of a block → all that single responses show and moments do not keep. It adds, in the order of the input.

Two parts: sightings, which are small and count what responses show, and particulars, a little of each prompt, which
are there only where they are wanted.
"""

import numpy as np
from numpy.typing import NDArray

from budget_cli.groups.particulars import Particulars
from budget_cli.groups.responses import Responses, Watch
from budget_cli.groups.sightings import Sightings


class Observations:
    """What a scan was told to watch for; `fold` adds a later part's."""

    def __init__(self, particulars: bool = True) -> None:
        self.sightings = Sightings()
        self.particulars = Particulars() if particulars else None

    @classmethod
    def of_responses(cls, watch: Watch, responses: Responses) -> "Observations":
        """What this block shows; its places are its lines."""
        seen = cls(particulars=False)
        seen.sightings = Sightings.of_responses(watch, responses)
        if watch.particulars:
            seen.particulars = Particulars.of_responses(watch, responses)
        return seen

    def fold(self, later: "Observations", rows: NDArray[np.intp], offset: int) -> None:
        """Add what a later part shows, which has particulars if this has.

        Args:
            rows: the row of each of its prompts among all.
            offset: what makes a place of its lines.
        """
        self.sightings.fold(later.sightings, rows, offset)
        if self.particulars is not None:
            assert later.particulars is not None
            self.particulars.fold(later.particulars, rows, offset)
