"""If this fails, a result overwrites a dump, records count twice, or an output name is misleading."""

import contextlib
import errno
import gzip
import json
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Run
from samples import GOOD, lines

from budget_cli.cli import output

DAMAGED = Path(__file__).parents[2] / "sample_data" / "damaged.jsonl"


@pytest.fixture
def dump(small: Path, tmp_path: Path) -> Path:
    """A copy of a dump that a test can overwrite."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(small.read_bytes())
    return path


@pytest.mark.parametrize(
    ("command", "option"),
    [(command, "-o") for command in ("loss", "check", "sweep", "report", "summarize", "annotate")]
    + [("annotate", "--rejects")],
)
@pytest.mark.parametrize("linked", [False, True])
def test_no_result_overwrites_an_input(budget_cli: Run, dump: Path, command: str, option: str, linked: bool) -> None:
    output = dump
    if linked:
        output = dump.with_name("link")
        os.link(dump, output)
    before = dump.read_bytes()
    done = budget_cli(command, dump, "-B", "9", option, output)
    assert done.stderr.decode() == (f"budget-cli: {option} {output}: is also an input; give the result another name\n")
    assert (done.returncode, dump.read_bytes()) == (2, before)


def test_compare_overwrites_neither_side(budget_cli: Run, dump: Path, small: Path) -> None:
    for sides in ((dump, small), (small, dump)):
        assert budget_cli("compare", *sides, "-B", "9", "-o", dump).returncode == 2
    assert dump.read_bytes() == small.read_bytes()


def test_a_dump_and_its_compressed_copy_are_not_both_read(budget_cli: Run, dump: Path) -> None:
    packed = dump.with_name("a.jsonl.gz")
    packed.write_bytes(gzip.compress(dump.read_bytes()))
    done = budget_cli("loss", dump.parent, "-B", "9")
    assert done.stderr.decode() == (
        f"budget-cli: {dump.parent}: holds both a.jsonl and a.jsonl.gz, probably the same dump: give one\n"
    )
    assert done.returncode == 2


def test_a_dump_and_a_summary_of_it_are_not_both_read(budget_cli: Run, dump: Path) -> None:
    summary = dump.with_name("a.jsonl.summary")
    assert budget_cli("summarize", dump, "-B", "9", "-o", summary).returncode == 0
    done = budget_cli("loss", dump.parent, "-B", "9")
    assert done.stderr.decode() == f"budget-cli: {dump}: is also part of the summary {summary}: give only one of them\n"
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("new/", "-o {}/new/: is a directory, expected a file"),
        ("x.gz", "-o {}/x.gz: only summarize compresses; give another name, or pipe into a compressor"),
    ],
)
def test_a_misleading_output_name_is_refused(budget_cli: Run, dump: Path, output: str, message: str) -> None:
    done = budget_cli("loss", dump, "-B", "9", "-o", f"{dump.parent}/{output}")
    assert (done.returncode, done.stderr.decode()) == (2, f"budget-cli: {message.replace('{}', str(dump.parent))}\n")
    assert sorted(os.listdir(dump.parent)) == ["a.jsonl"]


def test_a_dash_means_standard_output(budget_cli: Run, dump: Path) -> None:
    done = budget_cli("loss", dump, "-B", "9", "-o", "-", cwd=dump.parent)
    assert done.stdout == budget_cli("loss", dump, "-B", "9").stdout != b""
    assert sorted(os.listdir(dump.parent)) == ["a.jsonl"]


def test_rejected_records_that_are_not_listed_are_counted(budget_cli: Run) -> None:
    report = budget_cli("loss", DAMAGED, "-B", "9", "-f", "junit").stdout.decode()
    assert "\nand 13 more</failure>" in report
    page = budget_cli("loss", DAMAGED, "-B", "9", "-f", "markdown").stdout.decode()
    assert page.startswith(
        "- 23 records of 28 rejected\n\n23 of 28 records are rejected; of the others, 96% of the learning "
    )
    assert "\n\n| number | value |\n" in page


INPUTS = [  # how to make the input, its name, exit code, message
    (lambda folder: (folder / "x").symlink_to("gone"), "x", 3, "{}/x: a link to gone, which does not exist"),
    (
        lambda folder: (folder / "x").write_bytes(b'[{"prompt_id": 1}, {"prompt_id": 2}]\n'),
        "x",
        2,
        "{}/x: a JSON document with a list of 2 records: give --field prompt_id=prompt_id --field reward=PATH"
        " --kl-coef 0 --budget-penalty-coef 0, or --preset NAME",
    ),
]


@pytest.mark.parametrize("case", range(len(INPUTS)))
def test_a_message_leads_to_the_next_step(budget_cli: Run, tmp_path: Path, case: int) -> None:
    make, name, code, message = INPUTS[case]
    make(tmp_path)
    done = budget_cli("loss", tmp_path / name, "-B", "9")
    assert (done.returncode, done.stderr.decode()) == (code, f"budget-cli: {message.replace('{}', str(tmp_path))}\n")


def test_check_with_a_budget_works_without_lengths(budget_cli: Run) -> None:
    verl = Path(__file__).parents[1] / "dumps" / "verl-v1.jsonl"
    done = budget_cli("check", verl, "-B", "200")
    assert done.returncode == 0
    assert "no lengths in these records" in done.stdout.decode()
    assert "give -B" not in done.stdout.decode()


@pytest.mark.parametrize("command", ["loss", "check", "report"])
def test_every_command_that_computes_the_loss_has_gates(
    budget_cli: Run, dump: Path, tmp_path: Path, command: str
) -> None:
    out = tmp_path / "out"
    arguments = (command, dump, "-B", "9", "-o", out, "--fail-if")
    assert budget_cli(*arguments, "responses < 60").returncode == 0
    done = budget_cli(*arguments, "responses > 59")
    assert done.returncode == 1
    assert b"gate responses &gt; 59: it is 60" in out.read_bytes().replace(b"> 59", b"&gt; 59")


def test_a_full_disk_at_o_is_exit_3(budget_cli: Run, small: Path) -> None:
    done = budget_cli("loss", small, "-B", "9", "-o", "/dev/full")
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.decode().count("\n") == 1


def test_o_writes_the_same_bytes_and_leaves_no_other_file(budget_cli: Run, tmp_path: Path, small: Path) -> None:
    target = tmp_path / "loss.json"
    target.write_text("old")
    arguments = ("loss", small, "-B", "1000", "-f", "json")
    done = budget_cli(*arguments, "-o", target)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (0, b"", "")
    assert target.read_bytes() == budget_cli(*arguments).stdout
    assert os.listdir(tmp_path) == ["loss.json"]
    link = tmp_path / "link.json"
    link.symlink_to(target)
    assert budget_cli("loss", small, "-B", "5", "-f", "json", "-o", link).returncode == 0
    assert link.is_symlink()
    assert json.loads(target.read_bytes())["coefficients"]["token_budget"] == 5


def test_o_keeps_the_old_file_if_there_is_no_result(
    budget_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "loss.json"
    target.write_text("old")
    assert budget_cli("loss", "missing.jsonl", "-B", "9", "-o", target).returncode == 3
    assert (target.read_text(), os.listdir(tmp_path)) == ("old", ["loss.json"])
    monkeypatch.setattr(os, "replace", None)  # a bug in the last step
    assert budget_cli("loss", "-B", "9", "-o", target, stdin=lines([GOOD])).returncode == 70
    assert (target.read_text(), os.listdir(tmp_path)) == ("old", ["loss.json"])


def test_an_unwritable_directory_is_reported_before_reading(
    budget_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    done = budget_cli("loss", "missing.jsonl", "-B", "9", "-o", tmp_path / "x")
    assert done.returncode == 3
    assert "cannot be written to" in done.stderr.decode()


@pytest.fixture(params=[True, False], ids=["nameless", "named"])
def way_of_writing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without a name until it is complete, and what happens where the system has no such files."""
    if not request.param:
        monkeypatch.setattr(output, "_open_nameless", lambda folder, mode: None)


@pytest.mark.usefixtures("way_of_writing")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o664])
def test_o_keeps_the_mode_of_a_file(budget_cli: Run, tmp_path: Path, mode: int) -> None:
    target = tmp_path / "loss.json"
    target.write_text("old")
    target.chmod(mode)
    assert budget_cli("loss", "-B", "9", "-o", target, stdin=lines([GOOD])).returncode == 0
    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert (target.read_bytes() != b"old", os.listdir(tmp_path)) == (True, ["loss.json"])


@pytest.mark.usefixtures("way_of_writing")
def test_a_new_file_has_the_mode_that_the_umask_leaves(budget_cli: Run, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert budget_cli("loss", "-B", "9", "-o", tmp_path / "new", stdin=lines([GOOD])).returncode == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_o_keeps_the_owner_of_a_file(budget_cli: Run, tmp_path: Path) -> None:
    target = tmp_path / "loss.json"
    target.write_text("old")
    os.chown(target, 1234, 5678)
    assert budget_cli("loss", "-B", "9", "-o", target, stdin=lines([GOOD])).returncode == 0
    assert (target.stat().st_uid, target.stat().st_gid) == (1234, 5678)


def test_a_group_that_cannot_be_kept_gets_no_access(
    budget_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError

    target = tmp_path / "loss.json"
    target.write_text("old")
    target.chmod(0o664)
    monkeypatch.setattr(os, "fchown", refuse)
    now = os.fstat
    monkeypatch.setattr(os, "fstat", lambda file: os.stat_result([*now(file)[:4], 77, 77, *now(file)[6:]]))
    assert budget_cli("loss", "-B", "9", "-o", target, stdin=lines([GOOD])).returncode == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o604


@pytest.mark.usefixtures("way_of_writing")
@pytest.mark.parametrize("name", ["x" * 255, "ß" * 127])
def test_a_name_may_be_as_long_as_the_system_allows(budget_cli: Run, tmp_path: Path, name: str) -> None:
    for _ in range(2):
        done = budget_cli("loss", "-B", "9", "-o", tmp_path / name, stdin=lines([GOOD]))
        assert (done.returncode, done.stderr) == (0, b"")
    assert os.listdir(tmp_path) == [name]


def _socket(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


REFUSED = [  # how to make the target, its name, exit code, message; the dump is never read, as there is none
    (lambda folder: None, "x" * 256, 2, "cannot be the name of a file: File name too long"),
    (lambda folder: (folder / "a").touch(), "a/b", 2, "cannot be the name of a file: Not a directory"),
    (lambda folder: (folder / "a").symlink_to("a"), "a", 2, "cannot be the name of a file: Too many levels of symbo"),
    (lambda folder: (folder / "a").mkdir(), "a", 2, "is a directory, expected a file"),
    (lambda folder: _socket(folder / "a"), "a", 2, "is a socket, expected a file"),
    (lambda folder: None, "gone/a", 2, "there is no directory {}/gone"),
]


@pytest.mark.parametrize(("make", "name", "code", "message"), REFUSED, ids=lambda each: str(each)[:20])
@pytest.mark.parametrize("option", ["-o", "--rejects"])
def test_a_name_that_cannot_be_written_is_refused_before_reading(
    budget_cli: Run, tmp_path: Path, option: str, make: Callable[[Path], object], name: str, code: int, message: str
) -> None:
    make(tmp_path)
    done = budget_cli("annotate", "missing.jsonl", "-B", "9", option, tmp_path / name)
    assert done.returncode == code
    said = done.stderr.decode()
    expected = f"budget-cli: {option} {tmp_path}/{name}: {message.format(tmp_path)}"
    assert said.startswith(expected[:400]), said


def test_a_read_only_file_is_refused_before_reading(
    budget_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a"
    target.touch()
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(target))  # root may write to any file
    done = budget_cli("loss", "missing.jsonl", "-B", "9", "-o", target)
    assert (done.returncode, done.stderr.decode()) == (
        3,
        f"budget-cli: -o {target}: is read-only: chmod u+w it, or give another name\n",
    )


def test_a_file_in_tmp_that_belongs_to_another_user_is_refused_before_reading(
    budget_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a"
    target.touch()
    tmp_path.chmod(0o1777)
    assert budget_cli("loss", "-B", "9", "-o", target, stdin=lines([GOOD])).returncode == 0
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    done = budget_cli("loss", "missing.jsonl", "-B", "9", "-o", target)
    assert (done.returncode, b"another user's file" in done.stderr) == (3, True)


def test_a_file_that_is_mounted_by_itself_is_refused_before_reading(
    budget_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a file"
    target.touch()
    mounts = tmp_path / "mountinfo"
    place = str(target).replace(" ", "\\040")
    mounts.write_text(f"1 2 0:1 / / rw - ext4 / rw\n3 1 0:1 /x {place} rw - ext4 / rw\n")
    monkeypatch.setattr(output, "MOUNTS", str(mounts))
    done = budget_cli("loss", "missing.jsonl", "-B", "9", "-o", target)
    assert (done.returncode, done.stderr.decode()) == (
        3,
        f"budget-cli: -o {target}: is mounted by itself, so no file can take its place:"
        " mount its directory, or use >\n",
    )


def test_o_on_a_named_pipe_is_what_its_reader_gets(budget_cli: Run, tmp_path: Path, small: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    done = budget_cli("annotate", small, "-B", "9", "-o", pipe)
    reader.join()
    assert (done.returncode, got) == (0, [budget_cli("annotate", small, "-B", "9").stdout])
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_by_a_name_is_appended_to_not_replaced(budget_cli: Run, small: Path, name: str) -> None:
    if not os.path.exists(name):
        pytest.skip("there is no such name here")
    done = budget_cli("loss", small, "-B", "9", "-o", name)  # standard output is a file here
    assert (done.returncode, done.stdout) == (0, budget_cli("loss", small, "-B", "9").stdout)


def test_a_full_temporary_folder_is_exit_3(budget_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(output.Whole, "write", full)
    done = budget_cli("annotate", "-B", "9", stdin=lines([GOOD]), TMPDIR="/tmp")
    assert (done.returncode, done.stderr.decode()) == (
        3,
        "budget-cli: <stdin>: cannot keep a temporary copy in /tmp ($TMPDIR): No space left on device;"
        " files given by name need no copy\n",
    )
