"""Responses of a block → all evidence of single responses; it merges in the order of the input.

Three parts: counters, which are small, and sums of stored advantages by prompt, both of which go into a summary; and
per-prompt facts, which are kept only on request.
Knows no files: a place is a number that the scan makes of a source and a line.
"""

import numpy as np
from numpy.typing import NDArray

from budget_cli.evidence.advantages import Advantages
from budget_cli.evidence.counters import Counters
from budget_cli.evidence.per_prompt import PerPrompt
from budget_cli.evidence.responses import ObservationSpec, Responses


class Observations:
    """The evidence of some responses; `merge` adds a later part's."""

    def __init__(self, per_prompt: bool = True) -> None:
        self.counters = Counters()
        self.advantages = Advantages()
        self.per_prompt = PerPrompt() if per_prompt else None

    @classmethod
    def from_responses(cls, spec: ObservationSpec, responses: Responses) -> "Observations":
        """Observe a block; its places are its lines."""
        observed = cls(per_prompt=False)
        observed.counters = Counters.from_responses(spec, responses)
        observed.advantages = Advantages.from_responses(spec, responses)
        if spec.per_prompt:
            observed.per_prompt = PerPrompt.from_responses(spec, responses)
        return observed

    def merge(self, later: "Observations", rows: NDArray[np.intp], offset: int) -> None:
        """Add the observations of a later part, which must have per-prompt facts if this has.

        Args:
            later: the observations to add.
            rows: the row here of each prompt of the later part.
            offset: added to its places.
        """
        self.counters.merge(later.counters, rows, offset)
        self.advantages.merge(later.advantages, rows)
        if self.per_prompt is not None:
            assert later.per_prompt is not None
            self.per_prompt.merge(later.per_prompt, rows, offset)
