"""Tab completion: the candidates, and the scripts as shells call them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import delamo, environment

from delamo.cli.app import VERBS
from delamo.cli.completion import candidates
from delamo.config import conf


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("delamo ", [*VERBS, "--help", "--version"]),
        ("delamo re", ["report"]),
        ("delamo run tas", ["task.", "task="]),
        ("delamo run task=micro/ob", ["task=micro/objects"]),
        ("/usr/bin/delamo plan  scale=paper experiment=table12", ["experiment=table12"]),
        ("delamo run -m seed=0,1 selector=random,le", ["selector=random,less", "selector=random,less_7b"]),
        ("delamo run pool=llava_json pool.a", ["pool.annotation="]),
        ("delamo run scale=paper pool.si", []),
        ("delamo run pool.si", ["pool.size="]),
        ("delamo run pool.size=", ["pool.size=16000"]),
        ("delamo run fast=", ["fast=false"]),
        ("delamo run seeds.", ["seeds.decoding=", "seeds.selection=", "seeds.training="]),
        ("delamo doctor teacher=rep", ["teacher=replay"]),
        ("delamo run --cf", ["--cfg"]),
        ("delamo report form", ["format="]),
        ("delamo check pool=vis", ["pool=vision_flan"]),
        ("delamo why some_id r", ["runs="]),
        ("delamo tune ", []),
        ("delamo run nonsense.", []),
    ],
)
def test_the_last_word_is_completed(line, expected):
    assert candidates(line, VERBS) == expected


def test_every_group_and_choice_is_a_candidate():
    keys = candidates("delamo run ", VERBS)
    for group in conf.groups():
        assert f"{group}=" in keys
        assert candidates(f"delamo run {group}=", VERBS) == [f"{group}={choice}" for choice in conf.choices(group)]


def test_a_path_is_completed(tmp_path):
    (tmp_path / "pool.json").touch()
    (tmp_path / "pools").mkdir()
    found = candidates(f"delamo run pool.annotation={tmp_path}/po", VERBS)
    assert found == [f"pool.annotation={tmp_path}/pool.json", f"pool.annotation={tmp_path}/pools/"]


def test_an_unknown_shell_is_an_error(tmp_path):
    done = delamo("run", "-sc", "install=tcsh", cwd=tmp_path)
    assert done.returncode == 1 and "bash, fish, zsh" in done.stderr and "Traceback" not in done.stderr


def in_shell(folder: Path, shell: list[str], script: str) -> list[str]:
    """Run a script in a shell whose PATH has a `delamo`."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    program = folder / "bin" / "delamo"
    program.parent.mkdir()
    call = f"import sys; sys.argv[0] = {str(program)!r}; from delamo.cli.app import main; main()"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{call}" "$@"\n')
    program.chmod(0o755)
    variables = environment()
    variables |= {"PATH": f"{program.parent}:{variables['PATH']}", "HOME": str(folder)}
    done = subprocess.run(
        [*shell, "-c", script], check=False, cwd=folder, env=variables, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# At a tab, bash splits the line at COMP_WORDBREAKS, out of which the script takes `=`, and calls the function.
BASH = """
eval "$(delamo run -sc install=bash)"
[[ "$(complete -p delamo)" == *"-F hydra_bash_completion delamo" ]] || exit 1
[[ "$COMP_WORDBREAKS" == *"="* ]] && exit 2
try() {
    COMP_LINE="$1"; COMP_POINT=${#COMP_LINE}; COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
    hydra_bash_completion
    echo "${COMPREPLY[@]}"
}
try "delamo conv"
try "delamo run task=micro/ob"
try "delamo plan experiment=table12"
try "delamo run pool.si"
"""


def test_bash_completes(tmp_path):
    answers = in_shell(tmp_path, ["bash", "--norc"], BASH)
    assert answers == ["convert", "task=micro/objects", "experiment=table12", "pool.size="]


def test_fish_completes(tmp_path):
    script = 'delamo -sc install=fish | source; complete -C "delamo conv"; complete -C "delamo run task=micro/ob"'
    assert in_shell(tmp_path, ["fish", "--no-config"], script) == ["convert", "task=micro/objects"]
