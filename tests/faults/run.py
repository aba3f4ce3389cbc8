"""Each command × each fault: `python tests/faults/run.py [COMMAND …] [--seconds N] [--seed N]`.

Prints a table: exit code, what is left on disk, the last line that is said. Places and moments are drawn from the seed.
After the first round, which takes every cell once, rounds follow until the time is over. What must hold in each cell:
exit 0 or 1 only with the whole result, otherwise a line that says why; no other file, no process, no traceback.
"""

import argparse
import contextlib
import gzip
import os
import random
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

sys.path.append(str(Path(__file__).parent.parent / "support"))  # as pytest has it

import forks
from command import COMMAND, ENVIRONMENT
from samples import lines, response

DISK = 1 << 14  # bytes that a full disk takes
IN_PYTHON = ("--field", "reward=max([reward, reward])", "--jobs", "3")  # with worker processes
COMMANDS: dict[
    str, tuple[str, ...]
] = {  # {first} and {second} are the two files; in the middle of a fault, one is a pipe
    "loss": ("loss", "{first}", "{second}", "-B", "900", "-f", "json", "--per-prompt"),
    "check": ("check", "{first}", "{second}", "-B", "900", "-f", "json"),
    "sweep": ("sweep", "{first}", "{second}", "-B", "1:1900:900", "-f", "csv"),
    "report": ("report", "{first}", "{second}", "-B", "900"),
    "compare": ("compare", "{second}", "{first}", "-B", "900", "-f", "json", "--top", "900"),
    "show": ("show", "{first}", "{second}", "-B", "900", "--top", "900", "-f", "json"),
    "annotate": ("annotate", "{first}", "{second}", "-B", "900"),
    "summarize": ("summarize", "{first}", "{second}", "-B", "900"),
    "fields": ("fields", "{first}", "{second}", "-f", "json"),
    "explain": ("explain", "all"),
}
DUMP, PIPE, RESULT = "in/dump.jsonl", "in/pipe.jsonl", "out/result"
TO_FILE = ("-o", RESULT)
# what a page says of its texts only where one of the files is a pipe
PIPED = rb'(?s)<section aria-labelledby="h-texts">(?:(?!</section>).)*cannot be read twice[^\n]*\n</section>'


class Seen(NamedTuple):
    """What a command did."""

    code: int
    said: str
    out: bytes | None  # the file for -o, or standard output; None if there is none
    left: tuple[str, ...] = ()  # other files that it left


class Case:
    """One command in a folder of its own, with two dumps."""

    results: ClassVar[dict[tuple[str, ...], bytes | None]] = {}  # without a fault, by command line

    def __init__(self, command: str, folder: Path, chance: random.Random, dumps: tuple[bytes, bytes]) -> None:
        self.command, self.folder, self.chance, self.dumps = command, folder, chance, dumps
        for each in ("in", "out", "tmp"):
            (folder / each).mkdir()
        for name, content in zip((DUMP, PIPE), dumps, strict=True):
            (folder / name).write_bytes(content)
        self.whole: list[bytes | None] = []  # the results that may be written
        self.environment = ENVIRONMENT | {"TMPDIR": str(folder / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}

    def line(self, *more: str, first: str = DUMP, second: str = PIPE) -> tuple[str, ...]:
        """The arguments."""
        return (*(each.format(first=first, second=second) for each in COMMANDS[self.command]), *more)

    @contextlib.contextmanager
    def begun(self, line: Sequence[str], **more: Any) -> Iterator[Any]:
        """Start the command; at the end, wait until no process of it is left."""
        alive, held = os.pipe()
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "cwd": self.folder} | more
        process = subprocess.Popen(
            [*COMMAND, *line], stderr=subprocess.PIPE, env=self.environment, pass_fds=[held], **given
        )
        os.close(held)
        try:
            yield process
        finally:
            with open(alive, "rb") as pipe:
                if not select.select([pipe], [], [], 60)[0]:
                    process.kill()
                    said = process.communicate(timeout=60)[1].decode()
                    raise AssertionError(f"a process is left, which had said: {said}")

    def seen(self, process: Any, out: bytes | None = None) -> Seen:
        """What it did, once it is over."""
        printed, err = process.communicate(timeout=60)
        target = self.folder / RESULT
        written = target.read_bytes() if target.exists() else printed or None
        written = written and re.sub(PIPED, b"", written)
        files = {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_dir()}
        left = tuple(sorted(files - {DUMP, PIPE, f"{DUMP}.gz", RESULT}))
        return Seen(process.returncode, err.decode(), written if out is None else out, left)

    def normal(self, line: Sequence[str]) -> Seen:
        """What a command line does without a fault."""
        with self.begun(line) as process:
            return self.seen(process)

    def may_write(self, line: tuple[str, ...]) -> None:
        """Accept what this command line writes without a fault as a result."""
        key = tuple(each for each in line if each not in TO_FILE)
        if key not in self.results:
            self.results[key] = self.normal(key).out
        self.whole.append(self.results[key])

    @contextlib.contextmanager
    def in_the_middle(self, line: tuple[str, ...]) -> Iterator[tuple[Any, Any]]:
        """The command, which has found all of its files and waits for a pipe in place of one; and that pipe."""
        self.may_write(line)
        path = self.folder / PIPE
        path.unlink()
        os.mkfifo(path)
        with self.begun(line) as process, open(path, "wb") as pipe:  # opens once the command does
            yield process, pipe


# ---- faults: each runs a case, and says what it did


def _small_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (DISK, DISK))


def full_file(case: Case) -> Seen:
    """-o on a disk that takes 16 kB."""
    case.may_write(case.line())
    with case.begun(case.line(*TO_FILE), preexec_fn=_small_disk) as process:
        return case.seen(process)


def full_stream(case: Case) -> Seen:
    """Standard output, unbuffered, on such a disk."""
    case.may_write(case.line())
    case.environment["PYTHONUNBUFFERED"] = "1"
    with (
        open(case.folder / RESULT, "wb") as out,
        case.begun(case.line(), preexec_fn=_small_disk, stdout=out) as process,
    ):
        return case.seen(process)


def full_device(case: Case) -> Seen:
    """Standard output on /dev/full."""
    with open("/dev/full", "wb") as full, case.begun(case.line(), stdout=full) as process:
        return case.seen(process)


def closed_pipe(case: Case) -> Seen:
    """A reader that stops after some bytes."""
    with case.begun(case.line()) as process:
        got = process.stdout.read(case.chance.randrange(1, 1000))
        process.stdout.close()
        process.stdout = None
        return case.seen(process, out=got)


def ended_by(number: signal.Signals) -> Callable[[Case], Seen]:
    """A signal in the middle of the input, with -o."""

    def fault(case: Case) -> Seen:
        in_python = case.command != "fields" and case.chance.random() < 0.5
        line = case.line(*TO_FILE, *(IN_PYTHON if in_python else ()))
        with case.in_the_middle(line) as (process, pipe):
            pipe.write(case.dumps[1][: case.chance.randrange(1, len(case.dumps[1]))])
            with contextlib.suppress(BrokenPipeError):
                pipe.flush()
            process.send_signal(number)
            return case.seen(process)

    return fault


def killed_worker(case: Case) -> Seen:
    """SIGKILL of a worker process, which then gets more to do."""
    with case.in_the_middle(case.line(*(() if case.command == "fields" else IN_PYTHON))) as (process, pipe):
        with contextlib.suppress(BrokenPipeError):
            pipe.write(case.dumps[1])
            pipe.flush()
        children, until = Path(f"/proc/{process.pid}/task/{process.pid}/children"), time.monotonic() + 2
        while process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError):
                if workers := children.read_text().split():
                    os.kill(int(case.chance.choice(workers)), signal.SIGKILL)
                    break
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
        return case.seen(process)


def changed(how: Callable[[Case], object]) -> Callable[[Case], Seen]:
    """A file that changes after it was found and before it is read."""

    def fault(case: Case) -> Seen:
        first, second = (DUMP, PIPE) if case.command == "compare" else (PIPE, DUMP)
        with case.in_the_middle(case.line(first=second, second=first)) as (process, pipe):
            how(case)
            with contextlib.suppress(BrokenPipeError):
                pipe.write(case.dumps[1])
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
            return case.seen(process)

    return fault


def truncate(case: Case) -> None:
    """The file becomes shorter."""
    os.truncate(case.folder / DUMP, case.chance.randrange(len(case.dumps[0])))


def rewrite(case: Case) -> None:
    """It is rewritten in place, at the same size."""
    with open(case.folder / DUMP, "r+b") as file:
        file.write(case.dumps[0].replace(b'"reward": 0.5', b'"reward": 1.0'))


def replace(case: Case) -> None:
    """Another file takes its place."""
    other = case.folder / "in" / "other"
    other.write_bytes(case.dumps[1])
    os.replace(other, case.folder / DUMP)


def torn_archive(case: Case) -> Seen:
    """A gzip that is cut, or has another byte."""
    packed = bytearray(gzip.compress(case.dumps[0], 1, mtime=0))
    path = case.folder / f"{DUMP}.gz"
    path.write_bytes(packed)
    line = case.line(first=f"{DUMP}.gz")
    case.may_write(line)
    at = case.chance.randrange(20, len(packed))
    if case.chance.random() < 0.5:
        del packed[at:]
    else:
        packed[at] ^= case.chance.randrange(1, 256)
    path.write_bytes(packed)
    return case.normal(line)


FAULTS: dict[str, Callable[[Case], Seen]] = {
    "full disk, -o": full_file,
    "full disk, stream": full_stream,
    "/dev/full": full_device,
    "closed pipe": closed_pipe,
    **{each.name: ended_by(each) for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL)},
    "killed worker": killed_worker,
    "truncated": changed(truncate),
    "rewritten": changed(rewrite),
    "replaced": changed(replace),
    "torn gzip": torn_archive,
}
OF_THE_RESULT = ("full disk, -o", "full disk, stream", "/dev/full", "closed pipe")  # those of a command without input
CODES = {
    "SIGTERM": 143,
    "SIGHUP": 129,
    "SIGINT": 130,
    "SIGKILL": -9,
    "closed pipe": 141,
    "killed worker": 71,
}  # others: 3
SILENT = {-9, 141}


def wrong(case: Case, fault: str, seen: Seen) -> str | None:
    """What must not be, in words; None if all is well."""
    if "Traceback" in seen.said or seen.code == 70:
        return "a bug"
    if seen.left:
        return f"left {', '.join(seen.left)}"
    if seen.code in (0, 1):
        if fault == "/dev/full":
            return "no place for the result, and nothing said"
        whole = case.command == "fields" or not case.whole or seen.out in case.whole  # fields reads only the beginning
        return None if whole else "a result that is not whole"
    if seen.code != CODES.get(fault, 3):
        return "another exit code"
    lines_said = seen.said.count("\n")
    if (lines_said == 0) != (seen.code in SILENT) or (fault.startswith("SIG") and lines_said > 1):
        return f"{lines_said} lines"
    if fault in (*(each.name for each in signal.Signals), "full disk, -o") and seen.out is not None:
        return "a result beside the exit code"
    return None


LOCALES = [("C", "ascii"), ("POSIX", "utf-8"), ("C.UTF-8", "latin-1"), ("C.UTF-8", "utf-16"), ("C.UTF-8", "utf-8")]


def everywhere(chance: random.Random, dump: str) -> Iterator[tuple[str, str]]:
    """Every command, and its help, in each locale, on a terminal and without streams that are drawn."""
    for locale, encoding in LOCALES:
        variables = {
            "LC_ALL": locale,
            "PYTHONIOENCODING": encoding,
            "TERM": chance.choice(["dumb", "xterm", ""]),
            "COLUMNS": chance.choice(["20", "80", "1", "0"]),
            "FORCE_COLOR": chance.choice(["", "1"]),
        }
        asked = []
        for command, given in COMMANDS.items():
            named = [each for each in given if each != "{second}" or command == "compare"]
            table = named[: named.index("-f")] if "-f" in named and chance.random() < 0.7 else named
            shown = [each.format(first=dump, second=f"{dump}2") for each in table]
            asked += [
                forks.Line(tuple(line), tuple(number for number in range(3) if chance.random() < 0.2))
                for line in (shown, [command, "--help"])
            ]
        for line, done in zip(asked, forks.run(asked, ENVIRONMENT | variables), strict=True):
            right = b"Traceback" not in done.err and done.code in ((3,) if 1 in line.closed else (0, 1))
            told = f"{' '.join(line.arguments)} in {variables}, without {line.closed}"
            yield told, "" if right else f"exit {done.code}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=f"of {', '.join(COMMANDS)}; default: all")
    parser.add_argument("--seconds", type=float, default=60, help="no new round is begun after this time")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="repeat this run")
    options = parser.parse_args()
    if unknown := set(options.commands) - set(COMMANDS):
        parser.error(f"no such command: {', '.join(sorted(unknown))}")
    print(f"seed {options.seed}")
    chance, end = random.Random(options.seed), time.monotonic() + options.seconds
    one, other = ([response(n, chance, prompt_id=f"p{n % 700}") for n in range(size)] for size in (2000, 1500))
    dumps = lines(one), lines(other)
    pairs = [
        (command, fault)
        for command in options.commands or COMMANDS
        for fault in (FAULTS if "{first}" in COMMANDS[command] else OF_THE_RESULT)
    ]
    failed = cells = 0
    while cells < len(pairs) or time.monotonic() < end:
        command, fault = pairs[cells % len(pairs)]
        with tempfile.TemporaryDirectory() as folder:
            case = Case(command, Path(folder), chance, dumps)
            try:
                seen = FAULTS[fault](case)
                bad = wrong(case, fault, seen)
            except AssertionError as error:
                seen, bad = Seen(-1, "", None), str(error)
        if cells < len(pairs) or bad:
            said = (seen.said.splitlines() or [""])[-1].removeprefix("budget-cli: ")[:80]
            row = f"{command:<10}{fault:<18}{seen.code:>4}  {', '.join(seen.left) or 'nothing':<8} {said}"
            print(f"{row}  WRONG: {bad}" if bad else row, flush=True)
        failed, cells = failed + (bad is not None), cells + 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dump.jsonl"
        path.write_bytes(dumps[0])
        Path(f"{path}2").write_bytes(dumps[1])
        for line, bad in everywhere(chance, str(path)):
            if bad:
                print(line, "WRONG:", bad)
            failed, cells = failed + bool(bad), cells + 1
    print(f"{cells} cells, {failed} wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
