"""Facts about this environment: packages, devices, caches and servers, each looked up when its function is called."""

from __future__ import annotations

import importlib.util
import json
import netrc
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

SUBPROCESS_S = 120
SERVER_S = 5.0
TORCH_FACTS = """
import json, torch
gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"version": torch.__version__, "cuda_build": torch.version.cuda, "cuda": torch.cuda.is_available(),
    "bf16": torch.cuda.is_available() and torch.cuda.is_bf16_supported(), "mps": torch.backends.mps.is_available(),
    "gpus": [[gpu.name, gpu.total_memory] for gpu in gpus]}))
"""


def ask_server(base: str, key: str | None) -> tuple[bool, str]:
    """Ask a server for its models; returns (whether it answers, its models or the error)."""
    import httpx

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        response = httpx.get(base.rstrip("/") + "/models", headers=headers, timeout=SERVER_S)
        names = [row["id"] for row in response.json()["data"]] if response.status_code == 200 else []
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return False, f"{base}: {type(error).__name__}"
    if response.status_code != 200:
        return False, f"{base} answers {response.status_code}"
    return True, f"{base} serves {', '.join(names[:3]) or 'nothing'}"


def requirements() -> list[str]:
    """Return the base requirements of the installed project, or of the checkout."""
    try:
        return [text for text in metadata.requires("delamo") or [] if "extra ==" not in text]
    except metadata.PackageNotFoundError:
        project = Path(__file__).resolve().parents[2] / "pyproject.toml"
        return tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]


def installed(name: str) -> str | None:
    """Return the version of a package; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def metadata_requires(name: str) -> list[str]:
    """Return the requirements that a package declares."""
    return metadata.requires(name) or []


def importable(name: str) -> bool:
    """Return whether a package can be imported, tried in a separate process."""
    return importlib.util.find_spec(name) is not None and run_python(f"import {name}") is None


def torch_facts() -> dict[str, Any]:
    """Return torch's build and devices, found in a separate process, because importing torch may crash."""
    done = _python(TORCH_FACTS)
    return json.loads(done.stdout) if done.returncode == 0 else {"error": _last_line(done.stderr)}


def run_python(program: str) -> str | None:
    """Run a Python program; returns None where it succeeds, else the last line of its errors."""
    done = _python(program)
    return None if done.returncode == 0 else _last_line(done.stderr)


def _python(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=SUBPROCESS_S)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer in {SUBPROCESS_S} s")


def is_cached(path: str, revision: str | None) -> bool:
    """Return whether the hub's cache holds a model's config."""
    from huggingface_hub.errors import HFValidationError

    from delamo.models.hf.commits import cached_config

    try:
        return cached_config(path, revision) is not None
    except HFValidationError:
        return False


def in_netrc(host: str) -> bool:
    """Return whether ~/.netrc has an entry for a host."""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1][:200]
