"""If this fails, a string of the data becomes a command of GitHub Actions, or an annotation lands on another line."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.rendering.github import Annotation, workflow_commands

COMMANDS = [
    (
        Annotation("error", "non-finite", "reward: NaN", "a.jsonl", 3, 14),
        "::error file=a.jsonl,line=3,col=14,title=non-finite::reward: NaN",
    ),
    (
        Annotation("warning", "singleton", "1 prompt", "a.jsonl", 3),
        "::warning file=a.jsonl,line=3,title=singleton::1 prompt",
    ),
    (Annotation("notice", "x", "no file"), "::notice title=x::no file"),
    (Annotation("error", "x", "a stream is no file", "<stdin>", 3), "::error title=x::a stream is no file"),
    # the escapes of the toolkit: more of them in a property than in the message
    (
        Annotation("error", "a:b,c%", "50% :, done", "d,e:f.jsonl", 1),
        "::error file=d%2Ce%3Af.jsonl,line=1,title=a%3Ab%2Cc%25::50%25 :, done",
    ),
    (Annotation("error", "x", "one\ntwo\r"), "::error title=x::one\\x0atwo\\x0d"),
    (Annotation("error", "x\n::error::y", "z"), "::error title=x\\x0a%3A%3Aerror%3A%3Ay::z"),
]


@pytest.mark.parametrize(("annotation", "command"), COMMANDS)
def test_an_annotation_is_a_workflow_command(annotation: Annotation, command: str) -> None:
    assert workflow_commands([annotation]).decode() == command + "\n"


@pytest.mark.parametrize(("number", "last"), [(0, None), (10, "9"), (11, "and 1 more"), (1012, "and 1,002 more")])
def test_at_most_ten_are_written_and_the_rest_is_counted(number: int, last: str | None) -> None:
    lines = workflow_commands([Annotation("error", "x", str(i)) for i in range(number)]).decode().splitlines()
    assert len(lines) == min(number, 11 if number > 10 else 10)
    if last is not None:
        assert lines[-1].endswith(f"::{last}")


TEXT = st.text(st.characters(codec=None), max_size=20)


@given(TEXT, TEXT, TEXT)
def test_whatever_the_strings_are_it_stays_one_command_of_these_properties(title: str, message: str, file: str) -> None:
    written = workflow_commands([Annotation("error", title, message, file, 1, 2)]).decode()
    form = re.fullmatch(r"::error (?:file=[^:,\r\n]*,line=1,col=2,)?title=[^:,\r\n]*::([^\r\n]*)\n", written)
    assert form is not None
