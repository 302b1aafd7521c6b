"""Which runs are runs of one method, and which are compared."""

from support.fake_runs import planted, write_rows, write_run

from delamo.records import Selected
from delamo.reports import plots
from delamo.reports.comparison import compare_runs
from delamo.reports.methods import group, ignored_keys, pool_stages, ranking_stages, same_setting
from delamo.reports.report import FORMATS, text
from delamo.runs.read import collect
from delamo.tracking.comparison import curves


def runs(root, *cells):
    """(selector, validation samples) as runs."""
    for number, (selector, size) in enumerate(cells):
        config = {"task": {"num_val_samples": size, "seed": 0}, "selector": {"name": selector}}
        write_run(root, task="easy", selector=selector, seed=0, bits="1100", config=config, digest=f"d{number}")
    return collect(root)


def test_the_pretrained_student_does_not_depend_on_the_validation_samples(tmp_path):
    found = runs(tmp_path, ("none", 1000), ("none", 100), ("error_driven", 100), ("error_driven", 1000))
    labels = [label for label, _ in group(found.runs)]
    assert labels == ["error_driven (task.num_val_samples=100)", "error_driven (task.num_val_samples=1000)", "none"]
    ours = [run for run in found.runs if run.cell["selector"] == "error_driven"]
    untuned = next(run for run in found.runs if run.cell["selector"] == "none")
    assert all(same_setting(run, untuned) for run in ours) and not same_setting(*ours)
    methods = compare_runs(found, "none").budgets[0].targets[0].methods
    assert [method.versus is not None for method in methods if method.selector == "error_driven"] == [True, True]
    assert len(compare_runs(found).superseded) == 1


def test_what_does_not_decide_a_result_makes_no_other_method(tmp_path):
    for number, extra in enumerate([{}, {"answers_after": False, "jobs": 2, "force": True}, {"iterations": 2}]):
        config = {"task": {"seed": 0}, "selector": {"name": "random"}, "answers_after": True, "iterations": 1, **extra}
        write_run(
            tmp_path, task="easy", selector="random", seed=number, bits="1100", config=config, digest=f"d{number}"
        )
    first, knobs, longer = sorted(collect(tmp_path).runs, key=lambda run: run.cell["seed"])
    assert same_setting(first, knobs) and not same_setting(first, longer)


def test_a_method_that_is_not_declared_stands_everywhere_in_the_report(tmp_path):
    """A run of a plugin's selector, read where the plugin is not loaded."""
    for selector, bits in (("none", "1000"), ("random", "1100"), ("mine", "1110"), ("error_driven", "1111")):
        path = write_run(
            tmp_path, task="easy", selector=selector, seed=0, bits=bits, planted=planted(0.5, 0.7), config={"a": 1}
        )
        write_rows(path / "selection.jsonl", [Selected(id=selector, rank=0, reason="x")])
    comparison = compare_runs(collect(tmp_path))
    methods = [method.label for method in comparison.budgets[0].targets[0].methods]
    assert methods == ["pretrained", "random", "mine", "error_driven"] and ignored_keys("mine") == ()
    assert comparison.budgets[0].overlap.methods == ["random", "mine", "error_driven"]
    for format in FORMATS:
        assert "mine" in text(comparison, format)
    assert {"accuracy", "overlap"} <= set(plots.figures(comparison))
    assert any("mine" in key for point in curves(comparison) for key in point)


def test_what_a_selector_does_not_read_follows_from_its_declaration():
    errors = {"teacher.", "retriever.", "mistakes.", "skills."}
    assert {
        name: set(ignored_keys(name)) - errors for name in ("random", "insta", "superfiltering", "rds", "less")
    } == {name: set() for name in ("random", "insta", "superfiltering", "rds", "less")}
    assert set(ignored_keys("bm25_text")) == errors - {"retriever."} and ignored_keys("error_driven") == ()
    assert set(ignored_keys("full_data")) == errors | {"budget."}
    assert set(ignored_keys("validation_data")) == errors | {"budget.", "pool.", "audit."}
    assert {"tuning.", "iterations", "pool.", "task.num_val_samples", *errors} < set(ignored_keys("none"))
    assert pool_stages() == {
        *("pool_skills", "index", "text_index", "embeddings", "hidden_states", "difficulty", "warm_up", "gradients")
    }
    assert ranking_stages() == {"embeddings", "hidden_states", "difficulty", "gradients"}
