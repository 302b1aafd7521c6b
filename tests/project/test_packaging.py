"""The wheel carries all that `delamo` needs outside a checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from delamo import __version__

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked into an empty folder as an installer would."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def files_below(folder: Path, pattern: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob(pattern) if "local" not in path.parts}


def test_conf_templates_and_weights_travel(installed):
    assert files_below(installed / "delamo/conf", "*.yaml") == files_below(ROOT / "conf", "*.yaml")
    for pattern in ("*.j2", "*.py", "*.safetensors", "*.json", "*.jinja"):
        assert files_below(installed / "delamo", pattern) == files_below(ROOT / "delamo", pattern), pattern


def test_the_papers_numbers_travel(installed):
    there = files_below(installed / "delamo/paper", "*.yaml")
    assert there == files_below(ROOT / "delamo/paper", "*.yaml")
    assert there == {"prose.yaml", *(f"table{number}.yaml" for number in range(1, 13))}


def test_nothing_else_travels(installed):
    assert {path.name.split("-")[0] for path in installed.iterdir()} == {"delamo"}
    stray = [name for name in files_below(installed, "*") if re.search(r"__pycache__|\.nb[ci]$|\.pyc$|\.tmp$", name)]
    assert not stray


def test_the_types_travel(installed):
    assert (installed / "delamo/py.typed").is_file()


def test_weights_are_small(installed):
    for path in installed.rglob("*.safetensors"):
        assert path.stat().st_size <= 12 * 2**20, path


def test_the_wheel_composes_outside_the_checkout(installed, tmp_path):
    (metadata_file,) = installed.glob("delamo-*.dist-info/entry_points.txt")
    assert "delamo = delamo.cli.app:main" in metadata_file.read_text()
    program = "import sys; from delamo.cli.app import main; sys.argv[0] = 'delamo'; main()"
    arguments = ("run", "--cfg", "job", "experiment=demo", "selector=random")
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "runs: runs/demo" in done.stdout and "name: random" in done.stdout
    where = [sys.executable, "-c", "from delamo.config.conf import conf_dir; print(conf_dir())"]
    found = subprocess.run(
        where, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(installed)}, capture_output=True, text=True
    )
    assert found.stdout.strip() == str(installed / "delamo/conf")


def locked() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.lower().replace("_", "-").split("==") for line in lines if line and not line.startswith("#"))


LOCKED_EXTRAS = [line for extra in ("test", "dev", "docs") for line in PROJECT["optional-dependencies"][extra]]
REQUIREMENTS = [*map(Requirement, PROJECT["dependencies"]), *map(Requirement, LOCKED_EXTRAS)]
REQUIREMENTS = [
    requirement for requirement in REQUIREMENTS if requirement.name != "delamo"
]  # an extra that takes in another


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_a_requirement_is_bounded_and_its_lock_is_within_the_bounds(requirement):
    assert requirement.specifier, f"{requirement.name} has no bound"
    assert requirement.specifier.contains(locked()[requirement.name.lower()])


def test_every_lock_is_public():
    for name, version in locked().items():
        assert "+" not in version, f"{name}=={version} names a local build"


def test_releases_known_to_be_malicious_are_excluded():
    litellm = next(requirement for requirement in REQUIREMENTS if requirement.name == "litellm")
    assert not any(litellm.specifier.contains(version) for version in ("1.82.7", "1.82.8", "1.83.0"))
    assert "lightning" not in {requirement.name for requirement in REQUIREMENTS}


def test_torchvision_is_neither_asked_for_nor_pulled_in():
    names = {requirement.name for requirement in REQUIREMENTS} | set(locked())
    assert "torchvision" not in names
    for name in names:
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        unconditional = [line for line in requires if "extra ==" not in line]
        assert not [line for line in unconditional if re.match(r"torchvision\b", line)], name


def test_the_makefile_has_what_the_readme_and_ci_call():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("install:", "demo:", "test:", "lint:", "docs:", "clean:"):
        assert f"\n{target}" in makefile
    assert "make test" in (ROOT / ".ci/run").read_text()
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_the_public_ci_runs_ours_lint_and_documents_with_pinned_actions():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert [step["run"] for step in steps if "run" in step] == ["bash .ci/run", "make lint", "make docs"]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]) for step in steps if "uses" in step)


def test_the_hooks_run_the_ruff_of_the_lock():
    hooks = [
        hook
        for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repo["hooks"]
    ]
    pinned = {line for hook in hooks for line in hook.get("additional_dependencies", ())}
    assert pinned == {f"ruff=={locked()['ruff']}"}
    assert {"ruff", "ruff-format", "end-of-file-fixer", "check-added-large-files"} <= {hook["id"] for hook in hooks}


def test_the_citation_is_of_this_version_and_of_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__ and citation["license"] == PROJECT["license"]
    (paper,) = citation["references"]
    readme = (ROOT / "README.md").read_text()
    assert paper["title"] in readme and paper["url"] in readme
    assert " and ".join(f"{one['family-names']}, {one['given-names']}" for one in paper["authors"]) in readme


def test_the_site_loads_nothing_from_elsewhere():
    settings = (ROOT / "mkdocs.yml").read_text()
    assert "font: false" in settings and "http" not in settings
