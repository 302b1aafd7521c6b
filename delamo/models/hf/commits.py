"""Which commit of a hub's repository a model is: settled before anything is downloaded, and the same ever after.

A branch or tag is, in this order: what the hub's local cache holds under its name; the commit that was remembered when
the name was first looked up; what the hub says now, which is then remembered, in `commits.json` beside the digests of
files (`delamo.store.contents`). Weights are loaded by that commit, so that what runs is what the identity names, and
the first download of a model moves nothing. Another commit is taken by naming it: `revision=COMMIT`.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from delamo.store import locked, write_json
from delamo.store.contents import cache_folder

COMMIT = re.compile(r"[0-9a-f]{40}")
REMEMBERED = "commits.json"
TIMEOUT_S = 10.0
RETRY_S = 60.0
"""After the hub could not be asked, it is not asked again for this long: a plan of many experiments would wait."""
_failures: dict[tuple[str, str], tuple[float, str]] = {}


class UnknownCommitError(ValueError):
    """It is not known which commit a hub id stands for, so that a result could be that of another model."""


def cached_config(path: str, revision: str | None) -> Path | None:
    """Return the config of a model in the hub's local cache; None where it is not there.

    Raises:
        huggingface_hub.errors.HFValidationError: the path can be no hub id.
    """
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(path, "config.json", revision=revision)
    return Path(cached) if isinstance(cached, str) else None


def commit_of(path: str, revision: str | None) -> str:
    """Return the commit that a hub id stands for, 40 hex digits.

    Args:
        path: a hub id.
        revision: a commit, branch or tag; None is `main`.

    Raises:
        UnknownCommitError: neither this machine nor the hub knows.
        huggingface_hub.errors.HFValidationError: the path can be no hub id.
    """
    if revision and COMMIT.fullmatch(revision):
        return revision
    cached = cached_config(path, revision)
    if cached and COMMIT.fullmatch(cached.parent.name):
        return cached.parent.name
    name = revision or "main"
    return _remembered().get(f"{path}@{name}") or _ask(path, name)


def pinned(path: str, revision: str | None, key: str) -> str | None:
    """Return the revision to load a checkpoint by: the commit of a hub id; a folder's is of no account.

    Args:
        path: a hub id or a folder.
        revision: as the config has it.
        key: the config key that names the checkpoint.

    Raises:
        UnknownCommitError: the commit is not known; see `commit_of`.
    """
    if Path(path).is_dir():
        return revision
    try:
        return commit_of(path, revision)
    except UnknownCommitError as error:
        raise UnknownCommitError(f"{key} is {path}: {error}") from error


def _ask(path: str, name: str) -> str:
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    failed_at, reason = _failures.get((path, name), (-RETRY_S, ""))
    if time.monotonic() - failed_at > RETRY_S:
        started = time.monotonic()
        try:
            found = HfApi().model_info(path, revision=name, timeout=TIMEOUT_S).sha
        except (OSError, httpx.HTTPError, HfHubHTTPError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if time.monotonic() - started > 1:
                _failures[path, name] = time.monotonic(), reason
        else:
            if found and COMMIT.fullmatch(found):
                _remember(path, name, found)
                return found
            reason = f"it answers {found!r}"
    raise UnknownCommitError(
        f"which commit {name} is cannot be asked of the hub ({reason}), and it is not in the local cache: go online "
        "once, or set the revision to a commit (40 hex digits)"
    )


def _remembered() -> dict[str, str]:
    try:
        return dict(json.loads((cache_folder() / REMEMBERED).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def _remember(path: str, name: str, commit: str) -> None:
    folder = cache_folder()
    with locked(folder / f"{REMEMBERED}.lock"):
        write_json(folder / REMEMBERED, {**_remembered(), f"{path}@{name}": commit})
