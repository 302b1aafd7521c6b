"""Which runs are runs of one method, and which are compared."""

from support.fake_runs import write_run

from delamo.reports.comparison import compare_runs
from delamo.reports.methods import group, same_setting
from delamo.runs.read import collect


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
