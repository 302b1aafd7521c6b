"""Every choice composes, every typo is an error, and a value that looks like a key is refused."""

from __future__ import annotations

import dataclasses
import sys
from importlib import import_module
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import MISSING
from omegaconf.errors import ConfigKeyError

from delamo.config import conf
from delamo.config.compose import arguments, as_dict, compose_experiment, identity_of, read_verb
from delamo.config.conf import conf_dir
from delamo.config.plugins import ENTRY_POINTS, VARIABLE, load_plugins
from delamo.config.registry import SCHEMAS
from delamo.config.secrets import SecretInConfigError, flatten, refuse_keys, refuse_keys_in_arguments
from delamo.runs.folder import config_digest, run_folder
from delamo.selectors.random import RandomConfig
from delamo.tuning.config import TuningConfig

# What an option leaves open on purpose, because only the user can know it.
OPEN = {
    "teacher/litellm": ["teacher.model=openai/x"],
    "teacher/hf": ["teacher.path=owner/model"],
    "student/hf": ["student.path=owner/model"],
    "teacher/replay": ["teacher.transcripts=store/transcripts/x"],
    "task/nlvr": ["task.root=data"],
    "task/llava_json": ["task.validation=v.json", "task.test=t.json"],
    "pool/llava_json": ["pool.annotation=p.json"],
    "pool/parquet": ["pool.folder=p"],
    "pool/hf_dataset": ["pool.path=owner/data"],
    "task/hf_dataset": ["task.path=owner/data"],
    "budget/custom": ["budget.num_samples=700"],
    "task/vision_flan": ["task.task_name=VQA"],
    "mistakes/annotated": ["mistakes.path=steps.jsonl"],
}


def options() -> list[tuple[str, str]]:
    files = [path.relative_to(conf_dir()).with_suffix("") for path in conf_dir().glob("*/**/*.yaml")]
    return sorted((path.parts[0], Path(*path.parts[1:]).as_posix()) for path in files if path.parts[0] != "local")


@pytest.mark.parametrize(("group", "option"), options())
def test_every_option_composes(experiment_config, group, option):
    extra = OPEN.get(f"{group}/{option}", [])
    cell = experiment_config(f"{group}={option}", *extra)
    assert as_dict(cell)
    if group not in ("experiment", "ablation", "scale") and option != "custom":
        assert getattr(cell, group).name == option


@pytest.mark.parametrize("choice", OPEN)
def test_an_open_value_must_be_given(experiment_config, choice):
    with pytest.raises(ValueError, match=r"has no value: give one"):
        experiment_config("=".join(choice.split("/", 1)))


@pytest.mark.parametrize("key", ["pool.sice", "seeds.trainig", "iteration", "selector.fil"])
def test_a_misspelled_key_is_an_error(experiment_config, key):
    with pytest.raises(ValueError, match=rf"Could not override '{key}'"):
        experiment_config(f"{key}=3")


@pytest.mark.parametrize("key", ["pool.sice", "seeds.trainig", "iteration", "selector.fil"])
def test_a_misspelled_key_is_an_error_with_a_plus_too(experiment_config, key):
    with pytest.raises(ValueError, match=f"{key} is no config key: did you mean"):
        experiment_config(f"+{key}=3")


def test_a_field_of_another_option_is_an_error(experiment_config):
    with pytest.raises(ValueError, match=r"selector\.fill is no config key"):
        experiment_config("selector=random", "+selector.fill=random")


@pytest.mark.parametrize(
    "override", ["studnet=micro", "student=macro", "task=micro/nothing", "mistakes.window=open", "seed=x"]
)
def test_an_unknown_group_option_or_value_is_an_error(experiment_config, override):
    with pytest.raises(ValueError, match=override.split("=", 1)[1].split("/")[-1]):
        experiment_config(override)


@pytest.mark.parametrize("override", ["iterations=0", "budget.num_samples=0", "seed=-1"])
def test_a_number_out_of_range_is_named(experiment_config, override):
    with pytest.raises(ValueError, match=override.split("=")[0]):
        experiment_config(override)


def test_without_overrides_it_is_the_embedded_cell(experiment_config):
    cell = experiment_config()
    assert (cell.student.name, cell.teacher.name, cell.pool.name) == ("micro", "micro", "micro")
    assert cell.task.name.startswith("micro/")
    assert cell.pool.size == 16_000
    assert (cell.mistakes.delta, cell.mistakes.persistence) == (0.2, 12)
    assert cell.selector.name == "error_driven"


def test_an_experiment_wins_over_the_defaults_and_the_command_line_over_it(experiment_config):
    demo = experiment_config("experiment=demo")
    assert demo.paths.runs == "runs/demo"
    assert demo.pool.size != experiment_config().pool.size
    assert experiment_config("experiment=demo", "pool.size=77").pool.size == 77


def test_presets_start_with_their_package_header():
    for path in (conf_dir() / "experiment").glob("*.yaml"):
        assert path.read_text().startswith("# @package _global_\n"), path


def test_no_option_names_code_to_call():
    for path in conf_dir().rglob("*.yaml"):
        assert "_target_" not in path.read_text(), path


def test_values_live_in_yaml_alone():
    for name, schema in SCHEMAS.items():
        for field in dataclasses.fields(schema):
            assert field.default == MISSING, f"{name}.{field.name} has a default"


def test_seeds_follow_the_seed_unless_set(experiment_config):
    seeds = experiment_config("seed=5", "seeds.training=9").seeds
    assert (seeds.selection, seeds.training, seeds.decoding) == (5, 9, 5)


def test_the_report_has_a_schema_too():
    import_module("delamo.cli.verbs.report")  # registers it
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        assert read_verb(compose("report")).format == "markdown"
        with pytest.raises(ConfigKeyError, match="did you mean format"):
            read_verb(compose("report", overrides=["+formt=csv"]))


def test_identity_leaves_out_names_and_speed(experiment_config):
    same = experiment_config(
        "student.batch_size=3", "student.device=cpu", "logger=csv", "paths.runs=elsewhere", "force=true"
    )
    assert identity_of(same) == identity_of(experiment_config())
    assert config_digest(same) == config_digest(experiment_config())


@pytest.mark.parametrize(
    "override", ["seed=1", "iterations=2", "tuning.epochs=9", "mistakes.delta=0.3", "pool.seed=4", "task=micro/open"]
)
def test_identity_sees_what_changes_a_result(experiment_config, override):
    assert config_digest(experiment_config(override)) != config_digest(experiment_config())


def test_identity_tells_schemas_of_equal_fields_apart(experiment_config):
    none, random = (identity_of(experiment_config(f"selector={name}").selector) for name in ("none", "random"))
    assert none != random


def test_arguments_are_plain(experiment_config):
    cell = experiment_config("selector=random")
    assert arguments(cell.selector) == {} and isinstance(cell.selector, RandomConfig)
    fields = arguments(cell.tuning)
    assert fields["precision"] == "32" and "name" not in fields
    assert set(fields) == {field.name for field in dataclasses.fields(TuningConfig)} - {"name"}


def test_the_run_folder_is_readable_and_exact(experiment_config):
    name = run_folder(experiment_config("task=micro/open", "budget=custom", "budget.num_samples=70")).name
    assert name.startswith("micro_open-micro-error_driven-n70-s0-")


FAKE_KEYS = [
    "sk-proj-abcdefghijklmnop1234",
    "hf_abcdefghijklmnopqrstuvwx",
    "AKIAIOSFODNN7EXAMPLE",
    "AIza" + "a1" * 18,
    "ghp_" + "a1" * 18,
    "0123456789abcdef" * 2 + "01234567",
]


@pytest.mark.parametrize("secret", FAKE_KEYS)
@pytest.mark.parametrize("form", ["teacher.api_base={}", "+x={}", "{}"])
def test_a_key_on_the_command_line_is_refused_and_not_repeated(secret, form):
    with pytest.raises(SecretInConfigError) as caught:
        refuse_keys_in_arguments(["seed=1", form.format(secret)])
    assert secret not in str(caught.value)


def test_a_key_among_the_values_of_a_sweep_is_refused():
    with pytest.raises(SecretInConfigError, match=r"teacher\.model"):
        refuse_keys_in_arguments([f"teacher.model=a,{FAKE_KEYS[0]}"])


def test_a_key_by_name_is_refused_whatever_it_looks_like():
    with pytest.raises(SecretInConfigError, match=r"teacher\.api_key holds"):
        refuse_keys_in_arguments(["+teacher.api_key=short"])


def test_what_is_no_key_passes(experiment_config):
    revision = "0123456789abcdef" * 2 + "01234567"
    cell = experiment_config(
        f"student.revision={revision}", "teacher=gpt_4o_mini", "task=nlvr", f"task.root=/hub/snapshots/{revision}/x"
    )
    refuse_keys(flatten(as_dict(cell)))


def test_a_key_in_a_config_file_is_found(experiment_config):
    cell = experiment_config("teacher=gpt_4o_mini")
    teacher = dataclasses.replace(cell.teacher, api_base=f"https://x/{FAKE_KEYS[0]}")
    with pytest.raises(SecretInConfigError, match=r"teacher\.api_base"):
        refuse_keys(flatten(as_dict(dataclasses.replace(cell, teacher=teacher))))


def test_composing_refuses_a_key_and_an_undone_ablation():
    with pytest.raises(SecretInConfigError, match=r"teacher\.api_base"):
        compose_experiment(["teacher=gpt_4o_mini", f"teacher.api_base=https://x/{FAKE_KEYS[0]}"])
    with pytest.raises(ValueError, match="selector=error_driven undoes it"):
        compose_experiment(["ablation=no_targeted_tuning", "selector=error_driven"])


def test_composing_leaves_a_running_hydra_program_as_it_was():
    """A notebook or a plugin may compose inside of Hydra's own program."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        outer = GlobalHydra.instance().hydra
        assert compose_experiment(["seed=5"]).seed == 5
        assert GlobalHydra.instance().hydra is outer
    assert not GlobalHydra.instance().is_initialized()


def test_a_plugin_of_an_installed_package_is_loaded(tmp_path, monkeypatch):
    (tmp_path / "their_selectors.py").write_text("LOADED = True\n")
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\ntheirs = their_selectors\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    try:
        load_plugins()
        assert sys.modules["their_selectors"].LOADED
    finally:
        sys.modules.pop("their_selectors", None)


def test_a_renamed_key_keeps_its_identity_and_its_old_name_is_refused(experiment_config):
    assert identity_of(experiment_config("pool.size=40").pool)["num_samples"] == 40
    assert "size" not in identity_of(experiment_config().pool)
    with pytest.raises(ValueError, match=r"pool\.num_samples=40: the key is now pool\.size"):
        conf.refuse_renamed(["task=micro/numbers", "pool.num_samples=40"])
    conf.refuse_renamed(["pool.size=40", "budget.num_samples=7"])
