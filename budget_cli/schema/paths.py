"""Places in a record, as data: a path of keys or a JMESPath expression. Parses nothing and reads no record."""

from typing import NamedTuple

GROUP = "_group"  # in a record that comes from one of several lists: the key or the index of its list


class Step(NamedTuple):
    """One key of a path. If `each`, its value is a list and the path continues in every element."""

    key: str
    each: bool = False


Path = tuple[Step, ...]


class Expression(NamedTuple):
    """A place that only JMESPath can express."""

    text: str


Place = Path | Expression


def traverses_list(place: Place) -> bool:
    """True if the place is a path through a list, which may lead to several values."""
    return not isinstance(place, Expression) and any(step.each for step in place)
