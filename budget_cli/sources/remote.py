"""URL → the bytes [a, b) of an object elsewhere (s3, gs, hf, https, …), through fsspec.

Large ranges, several on their way at once and some ahead of their use, tried again a limited number of times. Whatever
cannot be had whole is a problem, never fewer bytes. Nothing that a library says reaches a message: it may hold keys.
Knows nothing of lines or compression.
"""

import random
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from budget_cli.errors import InputProblem, OutputProblem, UsageProblem

RANGE_BYTES = 1 << 23  # asked for at once
AHEAD = 8  # ranges on their way while one is read
HELD = 24  # ranges in memory: those ahead, and a few behind for threads that are slower than others
PIECE_BYTES = 1 << 20  # of a server that gives no ranges
PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0)  # seconds before another try, on average; there are so many and one
TIMEOUT = 120.0  # seconds for one answer
AT_ONCE = 32  # objects looked at
HEAD_BYTES = 1 << 10  # enough to tell what it is
NO_RETRY = {400, 401, 403, 404, 410, 416, 451}  # HTTP: it will say the same again
PACKAGES = {
    "s3": "'budget-cli[remote]'",
    "http": "'budget-cli[remote]'",
    "https": "'budget-cli[remote]'",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "hf": "huggingface_hub",
}
VERSIONS = ("ETag", "etag", "generation", "md5Hash", "blob_id", "LastModified", "Last-Modified", "updated", "mtime")

Answer = TypeVar("Answer")
Each = TypeVar("Each")
pause: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Remote:
    """An object as it was found."""

    url: str = field(repr=False)  # may hold a password or a signature
    name: str  # the URL without them
    size: int | None  # None: the server does not say before the end
    in_ranges: bool
    version: str  # changes when the object does
    start: bytes = field(repr=False, compare=False)  # its first bytes
    part: tuple[int, int] | None = None  # whoever reads needs hardly more than these bytes; None: all


class _WrongSize(Exception):
    """The answer has not the bytes that were asked for."""


def redacted(url: str) -> str:
    """The URL without what may be secret: user and password, and the query, which may be a signature."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("http", "https"):
        return re.sub(r"^[^/@]*:[^/@]*@", "…@", rest).join((f"{scheme}://", ""))
    place, mark, _ = rest.partition("?")
    host, slash, path = place.partition("/")
    if re.search(r":(?!\d*$)[^@\]]*$", host):  # a password with a slash in it
        host, slash, path = "…", "", ""
    _, at, host = host.rpartition("@")
    return f"{scheme}://{'…@' if at else ''}{host}{slash}{path}{'?…' if mark else ''}"


# ---- what there is


def find(url: str) -> list[Remote]:
    """The object, those that a pattern fits, or the *.jsonl* of a directory; unordered.

    Raises:
        InputProblem: there is none, or it cannot be read.
        UsageProblem: no such protocol.
    """
    name = redacted(url)
    fs, path = _opened(url)
    if _is_http(url):
        if "*" not in url and not url.endswith("/"):
            return [_looked_at(url, None)]
        pattern = url + "*.jsonl*" if url.endswith("/") else url
    elif re.search(r"[*?[]", path):
        pattern = path
    else:
        info = _tried(name, lambda: _call(fs, fs.info, path))
        if info.get("type") != "directory":
            return [_looked_at(url, info)]
        pattern = path.rstrip("/") + "/*.jsonl*"
    there = _tried(name, lambda: _call(fs, fs.glob, pattern, detail=True))
    urls = {str(fs.unstrip_protocol(each)): info for each, info in there.items() if info.get("type") != "directory"}
    if not urls:
        raise InputProblem(name, "nothing is there" if pattern in (url, path) else "no *.jsonl* objects under this")
    http = _is_http(url)
    return in_parallel(lambda one: _looked_at(one, None if http else urls[one]), list(urls))


def _looked_at(url: str, info: dict[str, Any] | None) -> Remote:
    if info is None:
        return _tried(redacted(url), lambda: _asked(url))
    name, size = redacted(url), info.get("size")
    if size is None:
        raise InputProblem(name, "its size is not known, so it cannot be read in ranges: download it first")
    start = _range(url, name, 0, min(HEAD_BYTES, size)) if size else b""
    return Remote(url, name, size, True, _version(info), start)


def _asked(url: str) -> Remote:
    """What an HTTP server says of it, by the answer to a request for the first bytes, which any link allows."""
    name = redacted(url)
    try:
        with _stream(url, {"Range": f"bytes=0-{HEAD_BYTES - 1}"}) as file:
            headers, status = file.r.headers, file.r.status
            start = b""
            while len(start) < HEAD_BYTES and (piece := _call(file.fs, file.read, HEAD_BYTES - len(start))):
                start += piece
    except Exception as error:
        if _status(error) == 416:  # not even a first byte
            return Remote(url, name, 0, True, "", b"")
        raise
    if status == 206:
        total = headers.get("Content-Range", "").rpartition("/")[2]
        if not total.isdecimal():
            raise InputProblem(name, "the server does not say how large it is: download it first")
        return Remote(url, name, int(total), True, _version(headers), start)
    length = headers.get("Content-Length", "")
    if not length.isdecimal() and headers.get("Transfer-Encoding", "").lower() != "chunked":
        raise InputProblem(name, "the server does not say where it ends, so a cut could not be told: download it first")
    return Remote(url, name, int(length) if length.isdecimal() else None, False, _version(headers), start)


def require_unchanged(remote: Remote) -> None:
    """That the object is still the one that was found.

    Raises:
        InputProblem: it was replaced or removed, or nobody can tell.
    """
    if _is_http(remote.url):
        now = _tried(remote.name, lambda: _asked(remote.url))
        size, version = now.size, now.version
    else:
        fs, path = _opened(remote.url)
        fs.invalidate_cache()
        info = _tried(remote.name, lambda: _call(fs, fs.info, path))
        size, version = info.get("size"), _version(info)
    if size != remote.size:
        was, is_now = (f"{each:,}" if each is not None else "an unknown number of" for each in (remote.size, size))
        raise InputProblem(remote.name, f"changed while being read: {was} bytes, now {is_now}")
    if version != remote.version:
        raise InputProblem(remote.name, "was replaced by another object while being read")


def _version(about: Any) -> str:
    return next((str(about[key]) for key in VERSIONS if about.get(key)), "")


# ---- its bytes


def pieces(remote: Remote) -> Iterator[bytes]:
    """All bytes, in order.

    Raises:
        InputProblem: not all of them can be had; what came before was given out.
    """
    if not remote.in_ranges:
        yield from _streamed(remote)
        return
    for number in range(-(-(remote.size or 0) // RANGE_BYTES)):
        yield _ranges.get(remote, number, remote.size or 0)


def _streamed(remote: Remote) -> Iterator[bytes]:
    """The bytes of a server that gives no ranges: a try that breaks off is begun again, past what there was."""
    got = 0
    for attempt in range(len(PAUSES) + 1):
        try:
            at = 0
            with _stream(remote.url) as file:
                while piece := _call(file.fs, file.read, PIECE_BYTES):
                    new = piece[max(0, got - at) :]
                    at += len(piece)
                    got += len(new)
                    if new:
                        yield new
            if at < got or (remote.size is not None and got != remote.size):
                raise _WrongSize(f"gave {at:,} bytes of {max(got, remote.size or 0):,}")
            return
        except Exception as error:
            _again_or_raise(remote.name, error, attempt)


def prefetch(soon: Sequence[Remote]) -> None:
    """Have the beginnings of these objects fetched, for they are read next."""
    for remote in soon[:AHEAD]:
        if remote.in_ranges and remote.size:
            _ranges.ask(remote, 0, 0)


def fill(remote: Remote, offset: int, memory: memoryview) -> None:
    """Put the bytes from this offset on into the memory, all of it.

    Raises:
        InputProblem: they cannot be had.
    """
    first, until = remote.part or (0, remote.size or 0)
    start = 0
    while start < len(memory):
        number, within = divmod(offset + start, RANGE_BYTES)
        if first <= offset + start < until:
            data = _ranges.get(remote, number, until)
        else:  # the end of a line that begins in this part, or the byte before it
            within, stop = 0, offset + (1 if offset < first else len(memory))
            data = _fetched(remote, offset + start, stop)
        part = memoryview(data)[within : within + len(memory) - start]
        memory[start : start + len(part)] = part
        start += len(part)


class _Ranges:
    """The ranges that are held or on their way, for all threads of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[Remote, int], Future[bytes]] = OrderedDict()  # oldest first
        self._pool: ThreadPoolExecutor | None = None

    def get(self, remote: Remote, number: int, until: int) -> bytes:
        """One range; those after it, as far as `until`, are asked for as well."""
        last = max(number, (until - 1) // RANGE_BYTES)
        return self.ask(remote, number, min(number + AHEAD, last)).result()

    def ask(self, remote: Remote, first: int, last: int) -> "Future[bytes]":
        """The first of these ranges; all of them are on their way."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="remote")
            for number in range(first, last + 1):
                if (remote, number) not in self._held:
                    start = number * RANGE_BYTES
                    stop = min(start + RANGE_BYTES, remote.size or 0)
                    self._held[remote, number] = self._pool.submit(_fetched, remote, start, stop)
            future = self._held[remote, first]
            while len(self._held) > HELD:
                self._held.popitem(last=False)
            return future


_ranges = _Ranges()


def _fetched(remote: Remote, start: int, stop: int) -> bytes:
    try:
        return _range(remote.url, remote.name, start, stop)
    except InputProblem:
        require_unchanged(remote)  # if it has changed, that is why
        raise


def _range(url: str, name: str, start: int, stop: int) -> bytes:
    def once() -> bytes:
        fs, path = _opened(url)
        data = _call(fs, fs.cat_file, path, start=start, end=stop, **_no_more(fs))
        if len(data) != stop - start:
            raise _WrongSize(f"gave {len(data):,} bytes where {stop - start:,} were asked for, from byte {start:,}")
        return bytes(data)

    return _tried(name, once)


def _no_more(fs: Any) -> dict[str, str]:
    """What keeps a file system that opens a file for every range (hf://) from reading 5 MB further than was asked."""
    import fsspec

    # an asynchronous one (s3://, https://) has its own, which its class does not show, and takes no such word
    opens = not fs.async_impl and type(fs).cat_file is fsspec.AbstractFileSystem.cat_file
    return {"cache_type": "none"} if opens else {}


# ---- a result


def require_writable(url: str, option: str) -> None:
    """That a result can be written to such a place.

    Raises:
        UsageProblem: it cannot.
        InputProblem: a package is missing.
    """
    if _is_http(url):
        raise UsageProblem(f"{option} {redacted(url)}: an HTTP server takes no files; there are s3://, gs:// and hf://")
    _opened(url)


def upload(path: str, url: str) -> None:
    """The file as an object, which is there only once it is whole.

    Raises:
        OutputProblem: it could not be written.
    """
    try:
        fs, target = _opened(url)
        _tried(redacted(url), lambda: fs.put_file(path, target))
    except InputProblem as problem:
        raise OutputProblem(f"{problem.source}: the result could not be written: {problem.problem}") from None


# ---- fsspec


def _is_http(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _opened(url: str) -> tuple[Any, str]:
    """The file system that a URL names, and the path there."""
    name, protocol = redacted(url), url.partition("://")[0].lower()
    try:
        import fsspec
        from fsspec.core import url_to_fs
    except ImportError:
        raise InputProblem(name, "this needs more packages: pip install 'budget-cli[remote]'") from None
    options: dict[str, Any] = {}
    configured = fsspec.config.conf.get(protocol, {})
    if protocol in ("http", "https"):  # as it is stored, or ranges mean something else
        options["headers"] = configured.get("headers", {}) | {"Accept-Encoding": "identity"}
    if protocol == "s3":  # tries are counted here, not three times over
        options["config_kwargs"] = {"retries": {"total_max_attempts": 1}} | configured.get("config_kwargs", {})
    try:
        fs, path = url_to_fs(url, **options)
    except ImportError:
        wanted = PACKAGES.get(protocol, "what fsspec needs for it")
        raise InputProblem(name, f"{protocol}:// needs more packages: pip install {wanted}") from None
    except ValueError:
        raise UsageProblem(f"{name}: expected s3://, gs://, hf:// or https://, found {protocol}://") from None
    if protocol == "s3":
        fs.retries = 1
    return fs, path


def _stream(url: str, headers: dict[str, str] | None = None) -> Any:
    """An HTTP answer as a file, with no question asked before."""
    fs, path = _opened(url)
    return fs.open(path, "rb", block_size=0, size=1, headers=fs.kwargs.get("headers", {}) | (headers or {}))


def _call(fs: Any, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """The function's answer, within the time that one may take."""
    return function(*given, **named, **({"timeout": TIMEOUT} if fs.async_impl else {}))


def _tried(name: str, action: Callable[[], Answer]) -> Answer:
    """The action's answer, at the latest by the last try.

    Raises:
        InputProblem: there is none.
    """
    for attempt in range(len(PAUSES) + 1):
        try:
            return action()
        except Exception as error:
            _again_or_raise(name, error, attempt)
    raise AssertionError("the last try raises")


def _again_or_raise(name: str, error: Exception, attempt: int) -> None:
    if isinstance(error, (InputProblem, UsageProblem)):
        raise error
    why, again = _reason(error)
    if not again:
        raise InputProblem(name, why) from None
    if attempt == len(PAUSES):
        raise InputProblem(name, f"{why}, tried {attempt + 1} times") from None
    pause(PAUSES[attempt] * random.uniform(0.5, 1.5))


def _reason(error: Exception) -> tuple[str, bool]:
    """What went wrong, in words that hold nothing of what the library says; and whether it may go better again."""
    kind, status = type(error).__name__, _status(error)
    if isinstance(error, _WrongSize):
        return str(error), True
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "there is no such object", False
    if isinstance(error, PermissionError) or status in (401, 403):
        return f"access denied{f' (HTTP {status})' if status else ''}: these credentials may not do this", False
    if "Credential" in kind or "Token" in kind:
        return "no credentials were found", False
    if status is not None:
        return f"the server answers HTTP {status}", status not in NO_RETRY
    if isinstance(error, TimeoutError) or "Timeout" in kind:
        return f"no answer within {TIMEOUT:g} s", True
    if isinstance(error, (ValueError, TypeError, NotImplementedError)) or kind == "ParamValidationError":
        return f"this is not possible there ({kind})", False
    return f"the connection failed ({kind})", True


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error of aiohttp, botocore, gcsfs or huggingface_hub is about."""
    if type(error).__name__ == "HttpError" and isinstance(code := getattr(error, "code", None), int):  # of gcsfs
        return code
    for each in (error, error.__cause__):
        for holder in (each, getattr(each, "response", None)):
            for key in ("status", "status_code"):
                if isinstance(found := getattr(holder, key, None), int):
                    return found
            if isinstance(holder, dict):
                found = holder.get("ResponseMetadata", {}).get("HTTPStatusCode")
                if isinstance(found, int):
                    return found
    return None


def in_parallel(function: Callable[[Each], Answer], things: list[Each]) -> list[Answer]:
    """The function's answers, in the order of the things; many requests are on their way at once."""
    with ThreadPoolExecutor(min(AT_ONCE, max(1, len(things)))) as pool:
        return list(pool.map(function, things))
