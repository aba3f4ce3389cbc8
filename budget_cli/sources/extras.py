"""An extra, or another package → the command that adds it to this installation, as far as its metadata tell."""

import json
import os
import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

NAME = "budget-cli"


def install(package: str, is_extra: bool = True) -> str:
    """Return a command to paste: with the place that this program was installed from, since no index may have it, and
    by the installer that made this environment, which it adds to, whichever is active.

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
    made_by_uv, made_by_pipx = (Path(sys.prefix, name).is_file() for name in ("uv-receipt.toml", "pipx_metadata.json"))
    if made_by_pipx:
        return f"pipx runpip {NAME} install {wanted}"
    python = shlex.quote(sys.executable)
    if made_by_uv or installer == "uv":
        is_active = os.environ.get("VIRTUAL_ENV") == sys.prefix
        return f"uv pip install {'' if is_active else f'--python {python} '}{wanted}"
    is_ours = os.path.dirname(shutil.which("pip") or "") == os.path.dirname(sys.executable)
    return f"{'pip' if is_ours else f'{python} -m pip'} install {wanted}"


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
