"""vl-convert → the charting library as one script, and with it what a page is made from.

Bundling takes 2.5 s of CPU time, so the script is kept in the user's cache directory. The cache is optional: a script
that is unreadable, damaged or possibly written by another user is bundled again.
"""

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

from budget_cli import system
from budget_cli.cli import output
from budget_cli.errors import OutputProblem, UsageProblem

if TYPE_CHECKING:
    from budget_cli.rendering.report import Assets

EXPORTS = "globalThis.vegaEmbed = vegaEmbed;"  # the function that the page calls


def page_assets() -> "Assets":
    """Return the scripts and the style of the page.

    Raises:
        UsageProblem: the charting library is not installed.
    """
    from importlib import resources  # 3 ms: not for --help

    charts = charts_script()
    from budget_cli.rendering.report import Assets  # numpy: not for --help

    here = resources.files("budget_cli.rendering")
    return Assets(
        style=here.joinpath("page.css").read_text("utf-8"),
        script=here.joinpath("page.js").read_text("utf-8"),
        charts=charts,
    )


def charts_script() -> str:
    """Return the script that defines `vegaEmbed`.

    Raises:
        UsageProblem: the charting library is not installed.
    """
    try:
        import vl_convert
    except ImportError:
        from budget_cli.sources.extras import install  # only for this message

        raise UsageProblem(f"the charts need the extra: {install('report')}") from None
    path = _cache_path(vl_convert.__version__)  # type: ignore[attr-defined]  # its stub leaves it out
    script = _read(path)
    if script is None:
        script = vl_convert.javascript_bundle(EXPORTS)
        _write(path, script)
    return script


def _cache_path(version: str) -> str:
    """Return the file for this version of vl-convert below $XDG_CACHE_HOME or ~/.cache; "" if neither is absolute."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(folder):
        folder = os.path.expanduser("~/.cache")
    return os.path.join(folder, "budget-cli", f"vl-convert-{version}.js") if os.path.isabs(folder) else ""


def _read(path: str) -> str | None:
    """Return the script of a complete cache file that only this user can have written, else None."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            if not system.is_only_mine(os.fstat(file.fileno())):
                return None
            digest, _, script = file.read().partition("\n")
    except (OSError, ValueError):  # ValueError: not UTF-8
        return None
    return script if digest == _digest(script) else None


def _write(path: str, script: str) -> None:
    """Write the cache file atomically; do nothing if that is not possible."""
    with contextlib.suppress(OSError, OutputProblem):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with output.sink(path) as put:
            put(f"{_digest(script)}\n{script}".encode())
        os.chmod(path, 0o600)


def _digest(script: str) -> str:
    return hashlib.sha256(f"{EXPORTS}\n{script}".encode()).hexdigest()
