"""The numbers of the prompts → those that are asked for, in the order that is asked for."""

from collections.abc import Iterable
from heapq import nsmallest
from typing import NamedTuple

from budget_cli.analysis.loss import Prompt
from budget_cli.errors import UsageProblem, nearest


class PromptOrder(NamedTuple):
    """Which prompts to report, and in what order."""

    name: str = ""  # the number that orders them, the largest first; "": they stay in the order of the input
    rising: bool = False
    most: int | None = None

    @classmethod
    def parse(cls, sort: str | None, top: int | None) -> "PromptOrder":
        """Parse `--sort` and `--top`.

        Raises:
            UsageProblem: a prompt has no such number.
        """
        if sort is None:
            return cls("loss" if top else "", most=top)
        name = sort.removeprefix("-")
        known = [field for field in Prompt._fields if field != "prompt_id"]
        if name not in known:
            near = nearest(name, known)
            hint = f" (did you mean {near}?)" if near else ""
            raise UsageProblem(f"--sort {sort}: expected one of {', '.join(known)}{hint}")
        return cls(name, name != sort, top)

    def of(self, prompts: Iterable[Prompt]) -> Iterable[Prompt]:
        """Return these prompts in order; those without the number come last."""
        if not self.name:
            return prompts

        def rank(prompt: Prompt) -> tuple[bool, float]:
            value = getattr(prompt, self.name)
            return value is None, 0.0 if value is None else value if self.rising else -value

        return sorted(prompts, key=rank) if self.most is None else nsmallest(self.most, prompts, key=rank)

    def ranked(self, prompts: Iterable[Prompt]) -> Iterable[Prompt]:
        """Return these prompts in order, by falling loss if none is asked for."""
        return prompts if self.name else self._replace(name="loss").of(prompts)
