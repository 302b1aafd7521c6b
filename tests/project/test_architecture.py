"""Arrows point one way, and some things are nowhere in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "delamo"
DOCUMENT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
# A module may import from its own layer's package and from those below, as docs/architecture.md lists them.
LAYERS = {
    name: int(number)
    for number, names in re.findall(r"^ *(\d+)  (\w.*)$", DOCUMENT.partition("## The layers")[2], re.MULTILINE)
    for name in names.split(", ")
}
PUBLIC_FACE = ("__init__", "api")  # `delamo.run` and the like are imported when they are asked for
STAGE_BASE = "delamo.stages.base"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [*MODULES, *sorted((ROOT / "scripts").rglob("*.py"))]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path, *, types: bool = False, late: bool = True) -> Iterator[str]:
    """Modules of the package that `path` imports; `types` and `late`: under TYPE_CHECKING and in functions too."""
    skipped: set[int] = set()
    for node in ast.walk(tree(path)):
        if (is_type_checking(node) and not types) or (isinstance(node, ast.FunctionDef) and not late):
            skipped |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree(path)):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "delamo")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if (node.module or "").split(".")[0] == "delamo":
                found = [f"{node.module}.{alias.name}" for alias in node.names]
                yield from (name if name in NAMES else node.module for name in found)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def layer(name: str) -> str:
    return [*name.split("."), "__init__"][1]


def test_every_module_has_a_layer():
    assert {layer(name) for name in NAMES} <= set(LAYERS)
    numbers = sorted(set(LAYERS.values()))
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_tree_of_the_document_is_that_of_the_package():
    tree_of_delamo = DOCUMENT.partition("```text\ndelamo/\n")[2].partition("\nconf/")[0]
    shown, parent = set(), ""
    for indent, name in re.findall(r"^( +)(\w+)/ {2,}\S", tree_of_delamo, re.MULTILINE):
        parent = name if len(indent) == 2 else parent
        shown.add(name if len(indent) == 2 else f"{parent}/{name}")
    folders = {path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("*.*") if "__pycache__" not in path.parts}
    two_levels = {"/".join(folder.parts[:2]) for folder in folders} - {""}
    assert shown == two_levels | {name.partition("/")[0] for name in two_levels}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arrows_point_one_way(path):
    here = layer(name_of(path))
    # The package's own names are imported when they are asked for.
    for target in imports(path, late=here != "__init__"):
        there = layer(target)
        downwards = LAYERS[there] > LAYERS[here] or there == here or (here, there) == PUBLIC_FACE
        assert downwards, f"{name_of(path)} imports {target}"


def test_stages_do_not_import_one_another():
    for path in (PACKAGE / "stages").glob("*.py"):
        for target in imports(path):
            allowed = not target.startswith("delamo.stages") or target == STAGE_BASE
            assert allowed, f"{path.name} imports {target}"


def test_readers_know_no_model_and_models_no_stage():
    for folder, forbidden in (("data", "delamo.models"), ("retrieval", "delamo.models"), ("models", "delamo.stages")):
        for path in (PACKAGE / folder).rglob("*.py"):
            assert not [target for target in imports(path) if target.startswith(forbidden)], path


def test_there_is_no_cycle():
    # Of imports that run when a module is imported: a registry may import what it names when it is asked.
    graph = {name_of(path): set(imports(path, late=False)) - {name_of(path)} for path in MODULES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for target in sorted(graph.get(name, ())):
                visit(target, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_planted_truth_is_visible_to_the_metrics_alone():
    readers = {name_of(path) for path in MODULES if "delamo.data.microworld.truth" in imports(path, types=True)}
    assert readers <= {"delamo.metrics.planted"}
    named = [name_of(path) for path in MODULES if re.search(r"microworld[./]truth|\btruth\.py", code_of(path))]
    assert set(named) <= {"delamo.metrics.planted"}


def code_of(path: Path) -> str:
    """The source without docstrings and comments."""
    copy = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(copy):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            node.value.value = ""
    return ast.unparse(copy)


@pytest.mark.parametrize("module", ["pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"])
def test_nothing_is_pickled(module):
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert module not in [name.split(".")[0] for name in names], path


def test_no_code_from_models_and_no_weights_that_execute():
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
                assert (node.arg, node.value.value) not in (
                    ("weights_only", False),
                    ("trust_remote_code", True),
                    ("allow_pickle", True),
                    ("shell", True),
                ), f"{path}:{node.value.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert "weights_only" in [keyword.arg for keyword in node.keywords], f"{path}:{node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("eval", "exec", "os.system"):
                raise AssertionError(f"{path}:{node.lineno} calls {ast.unparse(node.func)}")


def test_no_exception_is_swallowed():
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{path}:{node.lineno}: bare except"
                assert not all(isinstance(child, ast.Pass) for child in node.body), f"{path}:{node.lineno}: swallowed"


def test_there_is_no_utils_module():
    assert not [path for path in MODULES if path.stem in ("utils", "util", "helpers", "common", "misc")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_functions_stay_readable(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600  # 400 is the aim
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{path}:{node.lineno} {node.name}"


@pytest.mark.parametrize("name", ["delamo", "delamo.data", "delamo.models", "delamo.stages", "delamo.reports"])
def test_every_folder_of_code_is_a_package(name):
    assert (ROOT / name.replace(".", "/") / "__init__.py").is_file()
