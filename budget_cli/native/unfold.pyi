# what a line is
LISTS: int
PATH: int
COLUMNS: int

MAX_KEYS: int

def unfold(
    buffer: bytes | bytearray,
    start: int,
    stop: int,
    longest: int,
    form: int,
    read: tuple[bytes, ...],
    sizing: int,
    path: tuple[bytes, ...],
    around: tuple[bytes, ...],
    line_key: int,
    /,
) -> tuple[bytes, bytes, bytes, int, int]: ...
