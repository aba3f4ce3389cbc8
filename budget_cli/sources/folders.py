"""A folder → the dumps in it, down to its bottom, and why each other file is left out. Opens no file.

`choose` decides by names alone, so that a folder of this machine and one of a bucket are read alike.
"""

import os
import re
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.sources.compression import SUFFIXES

PACKED = (*SUFFIXES, ".zip")
LINES, COLUMNS = (".jsonl", ".ndjson", ".summary"), (".parquet",)
DOCUMENTS, TABLES = (".json",), (".csv", ".tsv")
ENDINGS = (*LINES, *COLUMNS, *DOCUMENTS, *TABLES)
KNOWN = f"{', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"
HIDDEN, BACKUP, OTHER = "hidden", "a backup or unfinished", "other endings"
LINKED = "a link to what is read, or around this folder"
BACKUPS = ("~", ".bak", ".old", ".orig", ".part", ".partial", ".swp", ".tmp", ".crdownload", ".incomplete")
SETTINGS = "settings of the run"
SIDE_FILES = {  # patterns of names, without what they are packed with, and what such a file is
    "batch_summary.json": "rllm's summary of the episodes beside it",
    "aggregated_results.jsonl": "SkyRL's metrics of the evaluations beside it",
    "metadata.json": SETTINGS,
    "config.json": SETTINGS,
    "*_config.json": SETTINGS,
    "args.json": SETTINGS,
    "hparams.json": SETTINGS,
    "trainer_state.json": "the trainer's state",
    "*_metadata.jsonl": "open-instruct's settings of the run",
    "*.index.jsonl": "an index of the dump beside it",
    "annotations/*.jsonl": "prime-rl's annotations of its episodes",
    "*_materialized_inputs.jsonl": "NeMo-Gym's inputs",
    "*_failures.jsonl": "NeMo-Gym's failures, which have no reward",
    "*_reward_profiling.jsonl": "NeMo-Gym's statistics of rewards",
}
EVALUATION = {"eval", "evals", "evaluation", "val", "valid", "validation"}
BESIDE = "of another kind than the dumps beside it"
A_PART = re.compile(r"(?i)\.(jsonl|ndjson|parquet)[._-]?(\d+|part\W?\d+)$")
OTHERWISE_PACKED = re.compile(r"(?i)\.(jsonl|ndjson|json|csv|tsv)\.(lz4|lzma|lzo|br|7z|rar|z|snappy|sz)$")
SHOWN = 2  # names of each reason in a message


class Chosen(NamedTuple):
    """The dumps of a folder, and what is left out: names relative to the folder, with `/` between their parts."""

    dumps: list[str]  # in natural order
    left_out: dict[str, list[str]]  # by reason
    evaluation: list[str] = []  # noqa: RUF012  # a tuple's default: dumps of an evaluation, beside others


class Patterns(NamedTuple):
    """What the user wants of every folder: patterns of a name, or of a path in the folder."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)


ALL = Patterns()


def choose(names: Iterable[str], patterns: Patterns = ALL, links: Collection[str] = ()) -> Chosen:
    """Choose the dumps among the files of a folder.

    Files are left out by their names: those that are hidden, backups, unfinished, or known to lie beside a dump, and
    all that do not end as a dump does. JSON documents and tables are dumps only where there are neither JSON lines nor
    Parquet. What the user includes is a dump, whatever its name.

    Args:
        names: paths in the folder.
        patterns: what the user wants.
        links: those of the names that lead to what has another name here.

    Raises:
        UsageProblem: there are dumps of two kinds, one dump twice, what may be a part of a dump, or what cannot be
            unpacked.
    """
    dumps: list[str] = []
    left_out: dict[str, list[str]] = {}

    def leave_out(name: str, reason: str) -> None:
        left_out.setdefault(reason, []).append(name)

    for name in sorted(names, key=natural_order):
        if name in links:
            leave_out(name, LINKED)
        elif _fits(name, patterns.exclude):
            leave_out(name, "--exclude")
        elif patterns.include:
            if _fits(name, patterns.include):
                dumps.append(name)
            else:
                leave_out(name, "not in --include")
        else:
            reason = _reason_against(name)
            dumps.append(name) if reason is None else leave_out(name, reason)
    if patterns.include:
        return Chosen(dumps, left_out)
    kinds = {
        kind: [name for name in dumps if _bare(name).endswith(kind)] for kind in (LINES, COLUMNS, DOCUMENTS, TABLES)
    }
    main = LINES if kinds[LINES] else COLUMNS
    _require_one_kind([kinds[LINES], kinds[COLUMNS]])
    if not kinds[main]:
        _require_one_kind([kinds[DOCUMENTS], kinds[TABLES]])
    elif kinds[DOCUMENTS] or kinds[TABLES]:
        dumps = kinds[main]
        left_out[BESIDE] = [*kinds[DOCUMENTS], *kinds[TABLES]]
    _require_once(dumps)
    return Chosen(dumps, left_out, _evaluation(dumps))


def _fits(name: str, patterns: Sequence[str]) -> bool:
    """True if a name, a path in the folder, or a folder on the way to it fits one of the patterns."""
    *folders, base = name.split("/")
    ways = ["/".join(folders[: i + 1]) for i in range(len(folders))]
    return any(fnmatchcase(each, pattern.rstrip("/")) for pattern in patterns for each in (name, base, *ways, *folders))


def _reason_against(name: str) -> str | None:
    """Return why a file is no dump; None if it may be one.

    Raises:
        UsageProblem: it may be a part of a dump, or is one that cannot be unpacked.
    """
    parts = name.split("/")
    if any(part.startswith(".") for part in parts):
        return HIDDEN
    whole = next((name.removesuffix(ending) for ending in BACKUPS if name.endswith(ending)), None)
    if whole is not None and _bare(whole).endswith(ENDINGS):
        return BACKUP
    ending = os.path.splitext(name)[1]
    if A_PART.search(name):
        raise UsageProblem(f"is {name} a part of the dump? give --include '*' to read it, or --exclude '*{ending}'")
    if OTHERWISE_PACKED.search(name):
        raise UsageProblem(f"{name}: {ending} cannot be unpacked here: unpack it first, or give --exclude '*{ending}'")
    bare = _bare(name)
    if not bare.endswith(ENDINGS) or (bare.endswith(COLUMNS) and bare != name.lower()):
        return OTHER
    for pattern, what in SIDE_FILES.items():
        if fnmatchcase(bare.rpartition("/")[2], pattern) or (
            "/" in pattern and fnmatchcase(f"/{bare}", f"*/{pattern}")
        ):
            return what
    return None


def _bare(name: str) -> str:
    """Return a name in lower case, without what it is packed with."""
    lower = name.lower()
    return next((lower.removesuffix(ending) for ending in PACKED if lower.endswith(ending)), lower)


def _evaluation(dumps: list[str]) -> list[str]:
    """Return the dumps of an evaluation, if there are others beside them."""
    found = [name for name in dumps if _words(name) & EVALUATION]
    return found if len(found) < len(dumps) else []


def _words(name: str) -> set[str]:
    return {*re.split(r"[/_.\- ]", name.lower())}


def _require_one_kind(kinds: Sequence[list[str]]) -> None:
    """Refuse dumps of two kinds: one may have been made from the other, which no name tells.

    Raises:
        UsageProblem: there are.
    """
    there = [names[0] for names in kinds if names]
    if len(there) > 1:
        endings = [os.path.splitext(_bare(name))[1] for name in there]
        ways = " or ".join(f"--include '*{ending}*'" for ending in endings)
        raise UsageProblem(f"holds files of two kinds, {' and '.join(there)}: give one kind, by {ways}")


def _require_once(dumps: Sequence[str]) -> None:
    """Refuse a file beside the same that is packed.

    Raises:
        UsageProblem: there is one.
    """
    packed = {os.path.splitext(name)[0]: name for name in dumps if name.endswith(PACKED)}
    for name in dumps:
        if name in packed:
            raise UsageProblem(f"holds both {name} and {packed[name]}, probably the same dump: give one")


def names_in(folder: str, hidden: bool = False) -> tuple[list[str], set[str]]:
    """List the files of a folder and of those in it, as paths in it with `/` between their parts.

    A link to a folder is followed, unless it leads to one that is listed already, or around this one. Of a hidden
    folder there is only its name, unless `hidden`.

    Returns:
        The names, and those of them that are links to what is listed under another name.

    Raises:
        InputProblem: one of the folders cannot be read.
    """
    found: list[str] = []
    again: set[str] = set()
    file_links: list[str] = []
    top = os.path.join(os.path.realpath(folder), "")
    seen: set[tuple[int, int]] = set()
    folders, links = [""], list[str]()
    while folders or links:
        inner = folders.pop() if folders else links.pop(0)  # what is a folder by itself, before links to it
        path = os.path.join(folder, inner)
        try:
            info = os.stat(path)
            is_around = bool(inner) and top.startswith(os.path.join(os.path.realpath(path), ""))
            if (info.st_dev, info.st_ino) in seen or is_around:
                found.append(f"{inner}/")
                again.add(f"{inner}/")
                continue
            entries = list(os.scandir(path))
        except OSError as error:
            raise InputProblem(path, f"this folder cannot be read: {error.strerror}") from None
        seen.add((info.st_dev, info.st_ino))
        for entry in entries:
            name = f"{inner}/{entry.name}" if inner else entry.name
            try:
                is_folder = entry.is_dir()
            except OSError:  # it cannot be told; reading it as a file will say why
                is_folder = False
            if not is_folder:
                found.append(name)
                file_links += [name] if entry.is_symlink() else []
            elif entry.name.startswith(".") and not hidden:
                found.append(f"{name}/")
            else:
                (links if entry.is_symlink() else folders).append(name)
        folders.sort(key=natural_order, reverse=True)
        links.sort(key=natural_order)
    if file_links:
        listed = {os.path.realpath(os.path.join(folder, name)) for name in set(found) - set(file_links)}
        again |= {name for name in file_links if os.path.realpath(os.path.join(folder, name)) in listed}
    return found, again


def dumps_in(
    folder: str, what: str, names: Iterable[str], patterns: Patterns, links: Collection[str], left_out: dict[str, str]
) -> list[str]:
    """Choose the dumps of a folder that is to be read.

    Args:
        folder: its name, for messages.
        what: it is.
        names, patterns, links: as for `choose`.
        left_out: where to note what is not read of it, and why.

    Raises:
        InputProblem: there is none.
        UsageProblem: as for `choose`.
    """
    try:
        chosen = choose(names, patterns, links)
    except UsageProblem as problem:
        raise UsageProblem(f"{folder}: {problem}") from None
    line = account(chosen)
    if not chosen.dumps:
        none = f"no dump {what}: expected files that end in {KNOWN}"
        raise InputProblem(folder, f"{none}; {line}" if line else none)
    if line:
        left_out[folder] = line
    return chosen.dumps


def account(chosen: Chosen) -> str:
    """Write in one line what is left out, as in `y.jsonl~ (a backup or unfinished), 12 files (other endings: .pt)`.

    Evaluations that are read beside training are named, too, since no trainer counts both.
    """
    said = []
    for reason, names in sorted(chosen.left_out.items(), key=lambda each: each[0] == OTHER):
        if reason == OTHER:
            endings = sorted({os.path.splitext(name)[1] or os.path.basename(name) for name in names})
            shown = ", ".join(endings[:5]) + (", …" if len(endings) > 5 else "")
            said.append(f"{len(names):,} file{'' if len(names) == 1 else 's'} ({OTHER}: {shown})")
        else:
            how = "; give it by name to read it" if reason == BESIDE else ""
            said.append(f"{_first(names)} ({reason}{how})")
    line = f"not read: {', '.join(said)}" if said else ""
    if chosen.evaluation:
        word = sorted(_words(chosen.evaluation[0]) & EVALUATION)[0]
        beside = f"read with the rest: {_first(chosen.evaluation)} (an evaluation? --exclude '*{word}*' leaves it out)"
        line = f"{line}; {beside}" if line else beside
    return line


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def natural_order(name: str) -> list[tuple[int, int | str]]:
    """Return a sort key that puts `2.jsonl` before `10.jsonl`."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name)]
