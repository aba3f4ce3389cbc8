"""Servers on this machine's loopback, with faults."""

import contextlib
import http.client
import http.server
import re
import threading
from collections.abc import Callable, Iterator

Fault = Callable[["Handler"], bool]  # does what is wrong, and says whether that was the answer


class Server(http.server.ThreadingHTTPServer):
    """Objects by path, or a way through to another server; with faults, each used once."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: int | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream = upstream  # the port of the server behind
        self.objects: dict[str, bytes] = {}
        self.ranges = True
        self.says_length = True
        self.faults: list[Fault] = []  # of GET requests for more than a beginning, in order
        self.over = threading.Event()  # lets go of those who wait
        self.got: list[tuple[str, str, str]] = []  # method, path and Range of every request
        self.seen: Callable[[Handler], None] = lambda handler: None  # told of every request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error of the server."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.got.append((self.command, self.path, asked))
        self.server.seen(self)
        self.cut = 0  # bytes that the answer is short of what it says
        beginning = re.fullmatch(r"bytes=0-\d{1,4}", asked) or self.headers.get("Content-Length") or "?" in self.path
        if self.command == "GET" and not beginning and self.server.faults and self.server.faults.pop(0)(self):
            return
        self.passed_on() if self.server.upstream else self.own()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def own(self) -> None:
        data = self.server.objects.get(self.path.split("?")[0])
        if data is None:
            self.send_error(404)
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and self.server.ranges:
            start, stop = int(asked[1]), min(int(asked[2]) + 1, len(data))
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
            data = data[start:stop]
        else:
            self.send_response(200)
        self.send_header("ETag", str(hash(self.server.objects[self.path.split("?")[0]])))
        if self.server.says_length:
            self.send_header("Content-Length", str(len(data)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET":
            self.send(data)

    def passed_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "server", "date", "content-length"):
                self.send_header(name, value)
        length = answer.headers.get("Content-Length", str(len(data)))
        self.send_header("Content-Length", length)
        self.end_headers()
        self.send(data)

    def send(self, data: bytes) -> None:
        if self.cut:
            data = data[: -self.cut] if self.cut < len(data) else b""
            self.close_connection = True
        self.wfile.write(data)


def fails(handler: Handler) -> bool:
    """HTTP 500."""
    handler.send_error(500)
    return True


def stalls(handler: Handler) -> bool:
    """No answer until the test is over."""
    handler.server.over.wait(60)
    handler.close_connection = True
    return True


def truncates(handler: Handler) -> bool:
    """An answer that breaks off."""
    handler.cut = 1000
    return False


def hangs_up(handler: Handler) -> bool:
    """No answer."""
    handler.close_connection = True
    return True


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
