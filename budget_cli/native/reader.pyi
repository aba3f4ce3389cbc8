class Reader:
    def __init__(
        self, nodes: list[tuple[bytes, int, int, int, int, int]], slots: list[tuple[int, int, int]], /
    ) -> None: ...
    def read(
        self, buffer: bytes | bytearray, start: int, stop: int, longest: int, /
    ) -> tuple[int, int, bytes, bytes, list[tuple[bytes, bytes, bytes, tuple[bytes, bytes]]]]: ...
