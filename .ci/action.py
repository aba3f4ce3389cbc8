"""What action.yml runs: the command on the files of a workflow, and an annotation where it ends with exit 2 or 3.

Its inputs are environment variables, as their content is data and never pasted into a script.
"""

import glob
import os
import re
import shlex
import subprocess
import sys

ANOTHER = re.compile(r"\s--?[a-zA-Z]")  # begins another option on the same line
PROBLEMS = {2: "usage error", 3: "input or output error"}


def files(patterns: str) -> list[str]:
    """Expand patterns, one per line, `**` over folders, too; what fits nothing is left to the command to refuse."""
    found: list[str] = []
    for pattern in filter(None, map(str.strip, patterns.splitlines())):
        found += sorted(glob.glob(pattern, recursive=True)) or [pattern]
    return list(dict.fromkeys(found))


def arguments(text: str) -> list[str]:
    """Split options: `--name=VALUE` alone on its line is taken as it stands, any other line is split as by a shell.

    Raises:
        ValueError: a line has a quote that is not closed.
    """
    given: list[str] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        alone = line.startswith("--") and "=" in line.split()[0] and not ANOTHER.search(line)
        given += [line] if alone and not set(line) & set("'\"") else shlex.split(line)
    return given


def main() -> int:
    """Run the command; its exit code."""
    command = os.environ["COMMAND"]
    try:
        options = arguments(os.environ["ARGS"])
    except ValueError as error:
        code, said = 2, f"args: {error}"
        sys.stderr.write(f"{said}\n")
    else:
        call = ["budget-cli", command, "--format=github", *options, "--", *files(os.environ["FILES"])]
        done = subprocess.run(call, stderr=subprocess.PIPE, text=True, errors="backslashreplace", check=False)
        sys.stderr.write(done.stderr)
        code, said = done.returncode, (done.stderr.strip().splitlines() or [""])[-1]
    if code in PROBLEMS:
        shown = said.removeprefix("budget-cli: ").removeprefix("Error: ").replace("%", "%25").replace("\r", "%0D")
        sys.stdout.write(f"::error title=budget-cli {command} ({PROBLEMS[code]})::{shown}\n")
    with open(os.environ["GITHUB_OUTPUT"], "a", encoding="utf-8") as output:
        output.write(f"exit-code={code}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
