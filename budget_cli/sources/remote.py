"""URL → the bytes [a, b) of a remote object (s3, gs, hf, https, …), through fsspec. Knows no lines and no compression.

Ranges are large, several are fetched at once and some ahead of use, and each is retried a limited number of times. An
incomplete range is an error, never fewer bytes. No text of a library reaches a message, since it may contain keys.
"""

import random
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from budget_cli.errors import InputProblem, OutputProblem, UsageProblem
from budget_cli.sources import folders
from budget_cli.sources.folders import Patterns

RANGE_BYTES = 1 << 23  # per request
AHEAD = 8  # ranges being fetched while one is read
HELD = 24  # ranges in memory: those ahead, and a few behind for slower threads
PIECE_BYTES = 1 << 20  # from a server that does not support ranges
SIGNED = re.compile(r"([?&][^=&]*(?:sig|cred|token|secret|password|key)[^=&]*)=[^&#]*", re.IGNORECASE)
PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0)  # mean seconds before each retry; one more attempt than pauses
TIMEOUT = 120.0  # seconds per request
AT_ONCE = 32  # objects inspected in parallel
HEAD_BYTES = 1 << 10  # enough to recognize the format
NO_RETRY = {400, 401, 403, 404, 410, 416, 451}  # HTTP statuses that a retry will not change
PACKAGES = {
    "s3": "remote",
    "http": "remote",
    "https": "remote",
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
    """A remote object at the time it was found."""

    url: str = field(repr=False)  # may contain a password or a signature
    name: str  # the redacted URL
    size: int | None  # None: not known before the end
    in_ranges: bool
    version: str  # changes when the object does
    start: bytes = field(repr=False, compare=False)  # its first bytes
    part: tuple[int, int] | None = None  # the reader needs little beyond these bytes; None: it reads all


class _WrongSize(Exception):
    """The response does not hold the bytes requested."""


def redacted(url: str) -> str:
    """Remove what may be secret from a URL: user and password, and of the query what may be a signature."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("http", "https"):  # there, ? may be a part of a pattern
        rest = re.sub(r"^(/*)[^/@]*:[^/@]*@", r"\1…@", rest)
        return SIGNED.sub(r"\1=…", f"{scheme}://{rest}")
    place, mark, _ = rest.partition("?")
    host, slash, path = place.partition("/")
    if re.search(r":(?!\d*$)[^@\]]*$", host):  # a password with a slash in it
        host, slash, path = "…", "", ""
    _, at, host = host.rpartition("@")
    return f"{scheme}://{'…@' if at else ''}{host}{slash}{path}{'?…' if mark else ''}"


# ---- finding objects


def find(url: str, patterns: Patterns = folders.ALL, left_out: dict[str, str] | None = None) -> list[Remote]:
    """Find the object at a URL, those that match a pattern, or the dumps under a prefix, in natural order.

    Args:
        url: of an object or a prefix, or with a pattern.
        patterns: what the user wants of a prefix.
        left_out: where to note what is not read of a prefix, and why.

    Raises:
        InputProblem: there is none, or it cannot be read.
        UsageProblem: the protocol is not supported, or the names under a prefix contradict each other.
    """
    name = redacted(url)
    fs, path = _file_system(url)
    http = _is_http(url)
    if http:
        if "*" not in url and not url.endswith("/"):
            return [_inspected(url, None)]
        pattern, prefix = (url + "*", url) if url.endswith("/") else (url, None)
    elif re.search(r"[*?[]", path):
        pattern, prefix = path, None
    else:
        info = _with_retries(name, lambda: _call(fs, fs.info, path))
        if info.get("type") != "directory":
            return [_inspected(url, info)]
        pattern, prefix = "", path.rstrip("/") + "/"
    list_names = fs.glob if pattern else fs.find
    there = _with_retries(name, lambda: _call(fs, list_names, pattern or path, detail=True))
    urls = {str(fs.unstrip_protocol(each)): info for each, info in there.items()}
    if prefix is None:
        for each, info in urls.items():
            if info.get("type") == "directory":
                advice = f"give {redacted(each).rstrip('/')}/ by name, or a pattern without it"
                raise InputProblem(name, f"stands for a directory, too, which would not be read: {advice}")
        if not urls:
            raise InputProblem(name, "nothing found")
        chosen = sorted(urls, key=lambda each: folders.natural_order(redacted(each)))
    else:
        chosen = _chosen(name, str(fs.unstrip_protocol(prefix)), urls, patterns, left_out)
    return in_parallel(lambda one: _inspected(one, None if http else urls[one]), chosen)


def _chosen(
    name: str, prefix: str, urls: Mapping[str, Any], patterns: Patterns, left_out: dict[str, str] | None
) -> list[str]:
    """Choose the dumps among the objects under a prefix.

    Raises:
        InputProblem: there is none.
        UsageProblem: the names contradict each other.
    """
    files = [each for each, info in urls.items() if info.get("type") != "directory"]
    names = {each.removeprefix(prefix): each for each in files}
    noted = {} if left_out is None else left_out
    return [names[each] for each in folders.dumps_in(name, "under this", names, patterns, (), noted)]


def _inspected(url: str, info: dict[str, Any] | None) -> Remote:
    if info is None:
        return _with_retries(redacted(url), lambda: _inspected_by_http(url))
    name, size = redacted(url), info.get("size")
    if size is None:
        raise InputProblem(name, "its size is unknown, so it cannot be read in ranges: download it first")
    start = _read_range(url, name, 0, min(HEAD_BYTES, size)) if size else b""
    return Remote(url, name, size, True, _version(info), start)


def _inspected_by_http(url: str) -> Remote:
    """Inspect an object by an HTTP request for its first bytes, which even a signed link allows."""
    name = redacted(url)
    try:
        with _stream(url, {"Range": f"bytes=0-{HEAD_BYTES - 1}"}) as file:
            headers, status = file.r.headers, file.r.status
            start = b""
            while len(start) < HEAD_BYTES and (piece := _call(file.fs, file.read, HEAD_BYTES - len(start))):
                start += piece
    except Exception as error:
        if _status(error) == 416:  # the object is empty
            return Remote(url, name, 0, True, "", b"")
        raise
    if status == 206:
        total = headers.get("Content-Range", "").rpartition("/")[2]
        if not total.isdecimal():
            raise InputProblem(name, "the server does not report the size of the object: download it first")
        return Remote(url, name, int(total), True, _version(headers), start)
    length = headers.get("Content-Length", "")
    if not length.isdecimal() and headers.get("Transfer-Encoding", "").lower() != "chunked":
        raise InputProblem(
            name, "the server does not report where it ends, so truncation would go unnoticed: download it first"
        )
    return Remote(url, name, int(length) if length.isdecimal() else None, False, _version(headers), start)


def require_unchanged(remote: Remote) -> None:
    """Check that the object is still the one that was found.

    Raises:
        InputProblem: it was replaced or removed, or cannot be inspected.
    """
    if _is_http(remote.url):
        now = _with_retries(remote.name, lambda: _inspected_by_http(remote.url))
        size, version = now.size, now.version
    else:
        fs, path = _file_system(remote.url)
        fs.invalidate_cache()
        info = _with_retries(remote.name, lambda: _call(fs, fs.info, path))
        size, version = info.get("size"), _version(info)
    if size != remote.size:
        was, is_now = (f"{each:,}" if each is not None else "an unknown number of" for each in (remote.size, size))
        raise InputProblem(remote.name, f"changed while being read: {was} bytes, now {is_now}")
    if version != remote.version:
        raise InputProblem(remote.name, "was replaced by another object while being read")


def _version(about: Any) -> str:
    return next((str(about[key]) for key in VERSIONS if about.get(key)), "")


# ---- reading bytes


def pieces(remote: Remote) -> Iterator[bytes]:
    """Read all bytes in order.

    Raises:
        InputProblem: some cannot be read; those before them were yielded.
    """
    if not remote.in_ranges:
        yield from _streamed(remote)
        return
    for number in range(-(-(remote.size or 0) // RANGE_BYTES)):
        yield _ranges.get(remote, number, remote.size or 0)


def _streamed(remote: Remote) -> Iterator[bytes]:
    """Read from a server without ranges; an attempt that fails starts over and skips what was already yielded."""
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
                raise _WrongSize(f"sent {at:,} bytes of {max(got, remote.size or 0):,}")
            return
        except Exception as error:
            _pause_or_raise(remote.name, error, attempt)


def prefetch(soon: Sequence[Remote]) -> None:
    """Start fetching the beginnings of the objects that are read next."""
    for remote in soon[:AHEAD]:
        if remote.in_ranges and remote.size:
            _ranges.request(remote, 0, 0)


def fill(remote: Remote, offset: int, memory: memoryview) -> None:
    """Fill the memory with the bytes from this offset on.

    Raises:
        InputProblem: they cannot be read.
    """
    first, until = remote.part or (0, remote.size or 0)
    start = 0
    while start < len(memory):
        number, within = divmod(offset + start, RANGE_BYTES)
        if first <= offset + start < until:
            data = _ranges.get(remote, number, until)
        else:  # the end of a line that starts in this part, or the byte before the part
            within, stop = 0, offset + (1 if offset < first else len(memory))
            data = fetch(remote, offset + start, stop)
        part = memoryview(data)[within : within + len(memory) - start]
        memory[start : start + len(part)] = part
        start += len(part)


class _Ranges:
    """The ranges in memory or being fetched, shared by all threads of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[Remote, int], Future[bytes]] = OrderedDict()  # oldest first
        self._pool: ThreadPoolExecutor | None = None

    def get(self, remote: Remote, number: int, until: int) -> bytes:
        """Return one range, and request those after it up to `until`."""
        last = max(number, (until - 1) // RANGE_BYTES)
        return self.request(remote, number, min(number + AHEAD, last)).result()

    def request(self, remote: Remote, first: int, last: int) -> "Future[bytes]":
        """Request these ranges, and return the first."""
        with self._lock:
            for number in range(first, last + 1):
                if (remote, number) not in self._held:
                    start = number * RANGE_BYTES
                    stop = min(start + RANGE_BYTES, remote.size or 0)
                    self._held[remote, number] = self._submit(remote, start, stop)
            future = self._held[remote, first]
            while len(self._held) > HELD:
                self._held.popitem(last=False)
            return future

    def submit(self, remote: Remote, start: int, stop: int) -> "Future[bytes]":
        """Request these bytes, to be held by the caller."""
        with self._lock:
            return self._submit(remote, start, stop)

    def _submit(self, remote: Remote, start: int, stop: int) -> "Future[bytes]":
        if self._pool is None:
            self._pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="remote")
        return self._pool.submit(fetch, remote, start, stop)


_ranges = _Ranges()


def request(remote: Remote, start: int, stop: int) -> "Future[bytes]":
    """Start fetching these bytes."""
    return _ranges.submit(remote, start, stop)


def fetch(remote: Remote, start: int, stop: int) -> bytes:
    """Fetch these bytes.

    Raises:
        InputProblem: they cannot be read, or the object has changed.
    """
    try:
        return _read_range(remote.url, remote.name, start, stop)
    except InputProblem:
        require_unchanged(remote)  # a change explains the failure better
        raise


def _read_range(url: str, name: str, start: int, stop: int) -> bytes:
    def once() -> bytes:
        fs, path = _file_system(url)
        data = _call(fs, fs.cat_file, path, start=start, end=stop, **_without_read_ahead(fs))
        if len(data) != stop - start:
            raise _WrongSize(f"sent {len(data):,} bytes of the {stop - start:,} requested from byte {start:,}")
        return bytes(data)

    return _with_retries(name, once)


def _without_read_ahead(fs: Any) -> dict[str, str]:
    """Return the option that keeps a file system such as hf:// from reading 5 MB beyond each range."""
    import fsspec  # only an extra installs it

    # asynchronous file systems (s3://, https://) override cat_file on the instance, and do not take the option
    opens = not fs.async_impl and type(fs).cat_file is fsspec.AbstractFileSystem.cat_file
    return {"cache_type": "none"} if opens else {}


# ---- writing a result


def require_writable(url: str, option: str) -> None:
    """Check that a result can be written to this URL.

    Raises:
        UsageProblem: its protocol is read-only or not supported.
        InputProblem: a package is missing.
    """
    if _is_http(url):
        raise UsageProblem(f"{option} {redacted(url)}: HTTP servers accept no uploads; use s3://, gs:// or hf://")
    _file_system(url)


def upload(path: str, url: str) -> None:
    """Upload a file as an object, which appears only when complete.

    Raises:
        OutputProblem: it could not be written.
    """
    try:
        fs, target = _file_system(url)
        _with_retries(redacted(url), lambda: fs.put_file(path, target))
    except InputProblem as problem:
        raise OutputProblem(f"{problem.source}: the result could not be written: {problem.problem}") from None


# ---- fsspec


def _is_http(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _file_system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    name, protocol = redacted(url), url.partition("://")[0].lower()
    try:
        import fsspec  # only an extra installs it
        from fsspec.core import url_to_fs
    except ImportError:
        from budget_cli.sources.extras import install  # only for this message

        raise InputProblem(name, f"a URL needs more packages: {install('remote')}") from None
    options: dict[str, Any] = {}
    configured = fsspec.config.conf.get(protocol, {})
    if protocol in ("http", "https"):  # ranges must count the bytes as stored
        options["headers"] = configured.get("headers", {}) | {"Accept-Encoding": "identity"}
    if protocol == "s3":  # retries are counted here, not in every layer
        options["config_kwargs"] = {"retries": {"total_max_attempts": 1}} | configured.get("config_kwargs", {})
    try:
        fs, path = url_to_fs(url, **options)
    except ImportError:
        from budget_cli.sources.extras import install  # only for this message

        known = PACKAGES.get(protocol)
        wanted = "pip install what fsspec needs for it" if known is None else install(known, known == "remote")
        raise InputProblem(name, f"{protocol}:// needs more packages: {wanted}") from None
    except ValueError:
        raise UsageProblem(f"{name}: expected s3://, gs://, hf:// or https://, found {protocol}://") from None
    except Exception as error:  # some, such as ftp://, connect here
        raise InputProblem(name, _reason(error)[0]) from None
    if protocol == "s3":
        fs.retries = 1
    return fs, path


def _stream(url: str, headers: dict[str, str] | None = None) -> Any:
    """Open an HTTP response as a file, without a request for its size first."""
    fs, path = _file_system(url)
    return fs.open(path, "rb", block_size=0, size=1, headers=fs.kwargs.get("headers", {}) | (headers or {}))


def _call(fs: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a method of a file system with the timeout of a request."""
    return function(*args, **kwargs, **({"timeout": TIMEOUT} if fs.async_impl else {}))


def _with_retries(name: str, action: Callable[[], Answer]) -> Answer:
    """Return the result of an action, retried if it fails.

    Raises:
        InputProblem: it failed for good, or too often.
    """
    for attempt in range(len(PAUSES) + 1):
        try:
            return action()
        except Exception as error:
            _pause_or_raise(name, error, attempt)
    raise AssertionError("the last attempt raises")


def _pause_or_raise(name: str, error: Exception, attempt: int) -> None:
    if isinstance(error, (InputProblem, UsageProblem)):
        raise error
    why, retryable = _reason(error)
    if not retryable:
        raise InputProblem(name, why) from None
    if attempt == len(PAUSES):
        raise InputProblem(name, f"{why}, after {attempt + 1} attempts") from None
    pause(PAUSES[attempt] * random.uniform(0.5, 1.5))


def _reason(error: Exception) -> tuple[str, bool]:
    """Explain an error without the words of the library, and tell whether a retry may help."""
    kind, status = type(error).__name__, _status(error)
    if isinstance(error, _WrongSize):
        return str(error), True
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "no such object", False
    if isinstance(error, PermissionError) or status in (401, 403):
        return f"access denied{f' (HTTP {status})' if status else ''}: these credentials do not permit this", False
    if "Credential" in kind or "Token" in kind:
        return "no credentials were found", False
    if status is not None:
        return f"the server responded with HTTP {status}", status not in NO_RETRY
    if isinstance(error, TimeoutError) or "Timeout" in kind:
        return f"no response within {TIMEOUT:g} s", True
    if isinstance(error, (ValueError, TypeError, NotImplementedError)) or kind == "ParamValidationError":
        return f"the storage does not support this ({kind})", False
    return f"the connection failed ({kind})", True


def _status(error: BaseException) -> int | None:
    """Find the HTTP status in an error of aiohttp, botocore, gcsfs or huggingface_hub."""
    if type(error).__name__ == "HttpError" and isinstance(code := getattr(error, "code", None), int):  # from gcsfs
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
    """Apply a function that makes requests to many things at once; results are in the order of the things."""
    with ThreadPoolExecutor(min(AT_ONCE, max(1, len(things)))) as pool:
        return list(pool.map(function, things))
