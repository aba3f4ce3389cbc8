"""Responses of a block → all that single responses show and moments do not keep. It adds, in the order of the input.

Two parts: sightings, which are small and count what responses show, and per_prompt, a little of each prompt, which
are there only where they are wanted.
"""

import numpy as np
from numpy.typing import NDArray

from budget_cli.evidence.counters import Counters
from budget_cli.evidence.per_prompt import PerPrompt
from budget_cli.evidence.responses import ObservationSpec, Responses


class Observations:
    """What a scan was told to watch for; `fold` adds a later part's."""

    def __init__(self, per_prompt: bool = True) -> None:
        self.counters = Counters()
        self.per_prompt = PerPrompt() if per_prompt else None

    @classmethod
    def from_responses(cls, spec: ObservationSpec, responses: Responses) -> "Observations":
        """What this block shows; its places are its lines."""
        seen = cls(per_prompt=False)
        seen.counters = Counters.from_responses(spec, responses)
        if spec.per_prompt:
            seen.per_prompt = PerPrompt.from_responses(spec, responses)
        return seen

    def merge(self, later: "Observations", rows: NDArray[np.intp], offset: int) -> None:
        """Add what a later part shows, which has per_prompt if this has.

        Args:
            rows: the row of each of its prompts among all.
            offset: what makes a place of its lines.
        """
        self.counters.merge(later.counters, rows, offset)
        if self.per_prompt is not None:
            assert later.per_prompt is not None
            self.per_prompt.merge(later.per_prompt, rows, offset)
