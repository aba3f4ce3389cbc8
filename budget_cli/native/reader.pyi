from typing import NamedTuple

# what a slot takes
ID: int
NUMBER: int
TOKENS: int
LOG_PROB: int
NUMBER_ARRAY: int
TOKENS_ARRAY: int
SPAN: int
TRUTH: int

# what a line has for a slot
VALUE: int
MISSING: int
NULL: int
LIST: int
UNUSABLE: int

# bounds of a plan
MAX_CHILDREN: int
MAX_DEPTH: int
MAX_ARGUMENTS: int
MAX_LEVELS: int

# what an expression does, in the order of the enum
OPERATIONS: tuple[str, ...]

class Slot(NamedTuple):  # in C a struct sequence, which has these names
    states: bytes
    values: bytes
    counts: bytes
    id_texts: bytes
    id_ends: bytes
    tokens: bytes

class Lines(NamedTuple):  # in C a struct sequence, which has these names
    lines: int
    blank: int
    numbers: bytes
    deferred: bytes
    slots: list[Slot]

class Reader:
    def __init__(
        self,
        nodes: list[tuple[bytes, int, int, int, int, int]],
        slots: list[tuple[int, int, int]] | list[tuple[int, int, int, int]],
        expressions: list[tuple[int, int, int, bytes, tuple[int, ...]]] = ...,
        programs: list[tuple[int, int]] = ...,
        /,
    ) -> None: ...
    def read(self, buffer: bytes | bytearray, start: int, stop: int, longest: int, /) -> Lines: ...
