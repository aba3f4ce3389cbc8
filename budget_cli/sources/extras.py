"""An extra, or another package → the command that adds it to this installation, as far as its metadata tell."""

import json
import shlex
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

NAME = "budget-cli"


def install(package: str, is_extra: bool = True) -> str:
    """Return a command to paste: with the place that this program was installed from, since no index may have it.

    Args:
        package: the name of an extra, or of another package.
        is_extra: False for another package.
    """
    try:
        here = metadata.distribution(NAME)
        origin, installer = here.read_text("direct_url.json"), (here.read_text("INSTALLER") or "").strip()
    except (metadata.PackageNotFoundError, OSError):
        origin, installer = None, ""
    wanted = f"{_from(json.loads(origin or '{}'), package)}" if is_extra else shlex.quote(package)
    if "pipx" in Path(sys.prefix).parts:
        return f"pipx runpip {NAME} install {wanted}"
    return f"uv pip install {wanted}" if installer == "uv" else f"pip install {wanted}"


def _from(origin: dict[str, object], extra: str) -> str:
    """Return what to install, as PEP 610 says where this came from: a folder, an archive, a repository or an index."""
    url = str(origin.get("url", ""))
    folder, vcs = origin.get("dir_info"), origin.get("vcs_info")
    if url.startswith("file://"):
        path = unquote(urlsplit(url).path)
        editable = "-e " if isinstance(folder, dict) and folder.get("editable") else ""
        return f"{editable}{shlex.quote(f'{path}[{extra}]')}"
    if isinstance(vcs, dict):
        return shlex.quote(f"{NAME}[{extra}] @ {vcs.get('vcs')}+{url}@{vcs.get('commit_id')}")
    return shlex.quote(f"{NAME}[{extra}] @ {url}" if url else f"{NAME}[{extra}]")
