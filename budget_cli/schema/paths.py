"""Places in a record, as data: a path of keys, or a JMESPath expression. Looks at no record and parses nothing."""

from dataclasses import dataclass
from typing import NamedTuple


class Step(NamedTuple):
    """One key of a path; `each`: its value is a list, go on in every element."""

    key: str
    each: bool = False


Path = tuple[Step, ...]


@dataclass(frozen=True)
class Expression:
    """A place that a path cannot say, in JMESPath."""

    text: str


Place = Path | Expression


def traverses_list(place: Place) -> bool:
    """Whether a path goes through a list, and so may find several values."""
    return not isinstance(place, Expression) and any(step.each for step in place)
