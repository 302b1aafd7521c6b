"""What moves the identity of which result: a row for everything that could, so that the next hole is a failing row.

`identities.json` names, for every field of every schema that configures an experiment, the stages whose own identity
follows from it (those made from them follow by their inputs); none is a speed knob or a name. A new field fails here
until it has its row.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from support.configs import experiment_config

from delamo.experiment.experiment import open_experiment
from delamo.models import prompts
from delamo.models.api.bases import base_of_environment
from delamo.models.hf import commits
from delamo.models.hf.identity import folder_digest, weights_identity
from delamo.pipeline import plan_experiment
from delamo.stages import base
from delamo.stages.audit import AuditPool, FingerprintPool
from delamo.store import provenance

TABLE = json.loads(Path(__file__).with_name("identities.json").read_text())
SMALL = (
    *("task=micro/numbers", "budget=custom", "budget.num_samples=6", "pool.size=40", "task.num_val_samples=8"),
    *("task.num_test_samples=5", "student.temperature=0.5"),
)
SELECTORS = ("error_driven", "random", "bm25_text", "rds", "insta", "less", "superfiltering", "validation_data")
GROUPS = ("student", "teacher", "audit", "budget", "selector", "retriever", "mistakes", "skills", "tuning", "seeds")
"""`task` and `pool` count by their content, whatever their config: `tests/data/readers/test_every_reader.py`."""
OTHER: dict[str, Any] = {
    "student.path": "package:micro_student_early",
    "teacher.path": "package:micro_scorer",
    "selector.layer": 0,
    "selector.scorer": "package:micro_student",
    "selector.target_modules": ".*q_proj",
    "tuning.target_modules": ".*q_proj",
}
"""Values of fields whose type does not say what another one is."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"1" * 99)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def configs(encoder, tmp_path_factory) -> dict[str, Any]:
    store = f"paths.store={tmp_path_factory.mktemp('store')}"
    extra = {"insta": [f"selector.encoder={encoder}"]}
    return {name: experiment_config(*SMALL, store, f"selector={name}", *extra.get(name, [])) for name in SELECTORS}


def reads(config) -> dict[str, Any]:
    """What each stage's own identity holds, by stage; nothing is computed."""
    experiment = open_experiment(config)
    selector = experiment.selector
    candidates = experiment.pool
    if selector.own_pool:
        candidates = selector.own_pool(experiment.task.validation, config.student.prompt.value)
    plan = plan_experiment(experiment, AuditPool(experiment, FingerprintPool(experiment)), candidates)
    stages = [stage for last in plan.stages().values() for stage in last.walk()]
    return {stage.name: stage.stored.identity["reads"] for stage in stages}


def moved(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}


def another(key: str, field: dataclasses.Field, kind: Any, value: Any) -> Any:
    if key in OTHER:
        return OTHER[key]
    if isinstance(value, Enum):
        return next(member for member in type(value) if member is not value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value * 2 + 1
    names = [part for part in typing.get_args(kind) or (kind,) if part is not type(None)]
    return {int: 7, float: 0.25, str: "other"}[names[0]]


@pytest.fixture(scope="module")
def unchanged(configs) -> dict[str, dict[str, Any]]:
    return {name: reads(config) for name, config in configs.items()}


def fields_of(configs) -> dict[str, list[tuple[str, str, str]]]:
    """Key of the table -> (selector, group, field) of every config that has the field."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for name, config in configs.items():
        for group in GROUPS:
            for field in dataclasses.fields(getattr(config, group)):
                found.setdefault(f"{group}.{field.name}", []).append((name, group, field.name))
        for field in dataclasses.fields(config):
            if field.name not in (*GROUPS, "task", "pool"):
                found.setdefault(field.name, []).append((name, "", field.name))
    return found


def changed(config, group: str, name: str) -> Any:
    node = getattr(config, group) if group else config
    kind = typing.get_type_hints(type(node))[name]
    field = next(field for field in dataclasses.fields(node) if field.name == name)
    value = another(f"{group}.{name}", field, kind, getattr(node, name))
    node = dataclasses.replace(node, **{name: value})
    return dataclasses.replace(config, **{group: node}) if group else node


def test_every_field_has_its_row_and_moves_what_the_row_says(configs, unchanged, tmp_path):
    keys = fields_of(configs)
    nodes = {"paths", "logger"}  # folders and a logger are no part of any result
    rows = {}
    for key, places in keys.items():
        if key in nodes:
            continue
        stages: set[str] = set()
        for name, group, field in places:
            try:
                after = reads(changed(configs[name], group, field))
            except ValueError as error:
                raise AssertionError(f"{key}: give OTHER a value that can be planned ({error})") from error
            stages |= moved(unchanged[name], after)
        rows[key] = sorted(stages)
    (tmp_path / "identities.json").write_text(json.dumps(rows, indent=1))
    assert rows.keys() == TABLE.keys(), f"fields without a row, or rows without a field; see {tmp_path}"
    assert {k: v for k, v in rows.items() if v != TABLE[k]} == {}, f"as it is now: {tmp_path}/identities.json"


def test_a_speed_knob_or_a_name_moves_nothing():
    speed = ("name", "batch_size", "shard_size", "concurrency", "timeout_s", "num_workers", "device", "jobs")
    rows = [key for key in TABLE if key.rpartition(".")[2] in speed and key != "tuning.batch_size"]
    assert len(rows) > 12 and not [key for key in rows if TABLE[key]]


MODELS = {"answers", "evaluation", "tuning", "mistakes", "skills", "pool_skills", "warm_up", "gradients"} | {
    *("validation_gradients", "hidden_states", "validation_hidden_states", "embeddings", "validation_embeddings"),
    "difficulty",
}


@pytest.mark.parametrize(
    ("package", "stages"),
    [
        *((name, MODELS) for name in base.MODEL_PACKAGES),
        ("sentence-transformers", {"embeddings", "validation_embeddings"}),
        ("pysbd", {"mistakes"}),
        ("bm25s", {"index", "text_index"}),
        ("litellm", set()),
        ("omegaconf", set()),
    ],
)
def test_a_package_moves_what_it_computes(configs, unchanged, monkeypatch, package, stages):
    version = provenance._version
    monkeypatch.setattr(provenance, "_version", lambda name: "99.1.0" if name == package else version(name))
    found = {stage for name in SELECTORS for stage in moved(unchanged[name], reads(configs[name]))}
    assert found == stages


def test_a_third_number_or_a_build_moves_nothing(monkeypatch):
    seen = []
    for version in ("2.9.0", "2.9.1+cu128", "2.10.0"):
        monkeypatch.setattr(provenance, "_version", lambda name, version=version: version)
        seen.append(provenance.versions(["torch"])["torch"])
    assert seen == ["2.9", "2.9", "2.10"]


@pytest.mark.parametrize(
    ("template", "stages"),
    [
        ("student/micro", {"answers", "evaluation", "tuning", "warm_up", "selection"}
         | {"hidden_states", "validation_hidden_states", "embeddings", "validation_embeddings"}),
        ("micro/mistake_step", {"mistakes"}),
        ("micro/skill", {"skills"}),
        ("micro/pool_skills", {"pool_skills"}),
        ("paper/skill", set()),
    ],
)  # fmt: skip
def test_a_template_moves_what_renders_it(configs, unchanged, monkeypatch, template, stages):
    source = prompts._source
    folder, name = template.split("/")
    other = lambda f, n: source(f, n) + ("!" if (f, n) == (folder, name) else "")  # noqa: E731
    monkeypatch.setattr(prompts, "_source", other)
    prompts._template.cache_clear()
    try:
        found = {stage for name in SELECTORS for stage in moved(unchanged[name], reads(configs[name]))}
    finally:
        prompts._template.cache_clear()
    assert found == stages


@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_each_byte_of_large_weights_counts_even_where_the_time_is_kept(tmp_path, place):
    import os

    file = tmp_path / "model.safetensors"
    size = 66 * 2**20
    file.write_bytes(bytes(size))
    first, status = folder_digest(tmp_path), file.stat()
    with file.open("r+b") as stream:
        stream.seek({"start": 0, "middle": size // 2, "end": size - 1}[place])
        stream.write(b"x")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert folder_digest(tmp_path) != first


@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja", "additional_chat_templates/tool.jinja"])
def test_a_file_beside_the_weights_counts(tmp_path, name):
    (tmp_path / "config.json").write_text("{}")
    before = folder_digest(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("1")
    assert folder_digest(tmp_path) != before


def test_a_hub_id_is_one_commit_before_and_after_its_download(tmp_path, monkeypatch):
    from types import SimpleNamespace

    import huggingface_hub

    monkeypatch.setenv("DELAMO_CACHE", str(tmp_path))
    commit, later = "a" * 40, "b" * 40
    says = {"sha": commit}

    def info(self, path, revision, timeout):
        if says["sha"] is None:
            raise OSError("no network")
        return SimpleNamespace(sha=says["sha"])

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    before = weights_identity("some/model", None)
    assert before == f"some/model@{commit}" and commits.pinned("some/model", None, "student.path") == commit
    says["sha"] = later  # the branch goes on, or the network goes away: the model stays what it was
    assert weights_identity("some/model", None) == weights_identity("some/model", "main") == before
    says["sha"] = None
    assert weights_identity("some/model", None) == before
    assert weights_identity("some/model", later) == f"some/model@{later}"
    with pytest.raises(commits.UnknownCommitError, match=r"student\.path is another/model: which commit main is"):
        commits.pinned("another/model", None, "student.path")


@pytest.mark.parametrize(
    ("model", "variable", "counts"),
    [
        *((f"{provider}/m", f"{provider.upper()}_API_BASE", True)
          for provider in ("openai", "azure", "openrouter", "together_ai", "lm_studio", "hosted_vllm", "deepseek")),
        ("together_ai/m", "TOGETHERAI_API_BASE", True),
        ("fireworks_ai/m", "FIREWORKS_API_BASE", True),
        ("huggingface/m", "HF_API_BASE", True),
        ("bedrock/m", "AWS_BEDROCK_RUNTIME_ENDPOINT", True),
        ("openai/m", "OPENAI_BASE_URL", True),
        ("gpt-4o", "OPENAI_BASE_URL", True),
        ("openai/m", "AZURE_API_BASE", False),
        ("groq/m", "OPENAI_BASE_URL", False),
    ],
)  # fmt: skip
def test_an_address_that_only_the_environment_names_counts(monkeypatch, model, variable, counts):
    assert base_of_environment(model) is None
    monkeypatch.setenv(variable, "http://127.0.0.1:9/v1")
    assert base_of_environment(model) == ("http://127.0.0.1:9/v1" if counts else None)


def test_the_server_of_a_served_student_counts_and_only_then(configs):
    def of(engine: str, api_base: str) -> dict[str, Any]:
        config = configs["random"]
        engines = type(config.student.engine)
        student = dataclasses.replace(config.student, engine=engines[engine], api_base=api_base)
        return reads(dataclasses.replace(config, student=student))

    assert moved(of("vllm", "http://a/v1"), of("vllm", "http://b/v1")) == {"evaluation"}
    assert not moved(of("vllm", "http://a/v1"), of("vllm", "http://a/v1/"))
    assert not moved(of("transformers", "http://a/v1"), of("transformers", "http://b/v1"))


def write_pool(folder: Path, colour: int = 0) -> Path:
    """A pool of two images; the second is another one of equal size for another colour."""
    from PIL import Image

    folder.mkdir(parents=True)
    records = []
    for number in range(2):
        Image.new("RGB", (9, 9), (0, 0, colour * number)).save(folder / f"{number}.bmp")
        turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "a colour"}]
        records.append({"id": str(number), "image": f"{number}.bmp", "conversations": turns})
    (folder / "pool.json").write_text(json.dumps(records))
    return folder


@pytest.mark.parametrize("kept", ["cold", "warm"])
def test_an_image_of_equal_name_size_and_time_with_other_bytes_is_another_pool(tmp_path, kept):
    import os

    from support.readers import read_pool

    def digest(folder: Path) -> str:
        return read_pool("llava_json", annotation=folder / "pool.json").digest

    one, same, other = (write_pool(tmp_path / name, colour) for name, colour in (("a", 5), ("b", 5), ("c", 6)))
    first = digest(one)
    if kept == "warm":
        assert digest(same) == first, "where it lies does not matter"
    status = (one / "1.bmp").stat()
    assert (other / "1.bmp").stat().st_size == status.st_size
    os.utime(other / "1.bmp", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest(other) != first
    (one / "1.bmp").write_bytes((other / "1.bmp").read_bytes())  # in place, with the time set back
    os.utime(one / "1.bmp", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest(one) == digest(other) != first


def test_a_converted_pool_is_held_against_its_images(tmp_path):
    from support.readers import read_pool

    from delamo.data.readers import parquet

    folder, other = write_pool(tmp_path / "a", 5), write_pool(tmp_path / "b", 6)
    pool = read_pool("llava_json", annotation=folder / "pool.json")
    parquet.write_pool(pool, tmp_path / "out")
    assert read_pool("parquet", folder=tmp_path / "out").digest == pool.digest
    (folder / "1.bmp").write_bytes((other / "1.bmp").read_bytes())
    with pytest.raises(RuntimeError, match=r"1\.bmp has other bytes than when .*samples\.parquet was written"):
        read_pool("parquet", folder=tmp_path / "out")


def test_validation_data_that_moved_are_the_same(tmp_path):
    from support.readers import read_pool

    from delamo.selectors.validation_data import validation_pool

    def digest(folder: Path) -> str:
        return validation_pool(list(read_pool("llava_json", annotation=folder / "pool.json")), "paper").digest

    here, there, other = (write_pool(tmp_path / name, colour) for name, colour in (("a", 5), ("b", 5), ("c", 6)))
    assert digest(here) == digest(there) != digest(other)


@pytest.mark.parametrize("layout", ["folder", "package"])
def test_a_helper_of_a_plugin_counts(tmp_path, layout):
    from delamo.config.plugins import plugin_digest

    root = tmp_path / "mine"
    (root / "parts").mkdir(parents=True)
    (root / "data" / "deep").mkdir(parents=True)
    entry = root / "plugin.py"
    entry.write_text("import helper")
    assert plugin_digest(entry) == plugin_digest(entry)
    seen = {plugin_digest(entry)}
    if layout == "package":
        (root / "__init__.py").touch()
        (root / "parts" / "__init__.py").touch()
    for helper in (root / "helper.py", root / "parts" / "more.py"):
        for text in ("1", "2"):
            helper.write_text(text)
            seen.add(plugin_digest(entry))
    assert len(seen) == 5
    (root / "data" / "deep" / "notes.txt").write_text("nothing that runs")
    assert plugin_digest(entry) in seen
    if layout == "package":
        (root / "parts" / "entry.py").touch()
        assert plugin_digest(root / "parts" / "entry.py") == plugin_digest(entry)
