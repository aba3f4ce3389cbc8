"""If this fails, the program does not start on Windows, or answers otherwise. What Windows lacks is removed."""

from pathlib import Path

import pytest
from command import Start, run
from samples import ROOT

import budget_cli as package

LACKING = """
import os, signal
for module, names in [
    (os, "fchmod fchown geteuid getuid getgid O_NONBLOCK O_TMPFILE preadv set_blocking sched_getaffinity sysconf"),
    (signal, "SIGHUP SIGURG SIGPIPE SIGALRM pthread_sigmask pthread_kill"),
]:
    for name in names.split():
        vars(module).pop(name, None)
sys.modules.update(dict.fromkeys(["fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"]))
exists = os.path.exists
os.path.exists = lambda path: not str(path).startswith("/proc") and exists(path)
sys.modules.update({f"budget_cli.native.{name}": None for name in ("ids", "moments", "reader")})
"""
COMPILED = ("compiled", "expression_plan", "reader_plan")  # of the compiled reader
COMMANDS: list[tuple[str, ...]] = [
    ("loss", "sample_data/rollouts.jsonl", "-B", "1024", "--per-prompt"),
    ("loss", "sample_data/rollouts.jsonl", "-B", "1024", "--jobs", "2", "-f", "json"),
    ("loss", "tests/dumps/trl.parquet", "--beta", "0", "--kl-coef", "0", "--reward-weights", "accuracy_reward=1"),
    ("check", "sample_data/rollouts.jsonl", "-B", "1024", "--text"),
    ("annotate", "sample_data/rollouts.jsonl", "-B", "1024"),
    ("report", "sample_data/steps", "-B", "1024"),
]


def test_every_module_can_be_imported(budget_cli: Start) -> None:
    root = Path(package.__file__).parent
    found = sorted(".".join(each.relative_to(root.parent).with_suffix("").parts) for each in root.rglob("*.py"))
    names = [each.removesuffix(".__init__") for each in found if not each.endswith(("__main__", *COMPILED))]
    done = budget_cli(
        "--version", patch=f"{LACKING}\nimport importlib\nfor each in {names}: importlib.import_module(each)"
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments[:2]))
def test_commands_give_the_same_answer(budget_cli: Start, arguments: tuple[str, ...]) -> None:
    without, usual = budget_cli(*arguments, patch=LACKING, cwd=ROOT), run(*arguments, cwd=ROOT)
    assert (without.stderr, without.returncode) == (usual.stderr, usual.returncode)
    assert without.stdout == usual.stdout


def test_files_are_written_whole_and_replaced(budget_cli: Start, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(b"what was here before")
    records = (ROOT / "sample_data" / "rollouts.jsonl").read_bytes()
    done = budget_cli("annotate", "-", "-B", "1024", "-o", out, patch=LACKING, stdin=records)
    assert (done.returncode, done.stderr) == (0, b"")
    assert out.read_bytes() == run("annotate", "sample_data/rollouts.jsonl", "-B", "1024", cwd=ROOT).stdout
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]
