"""The plots show the numbers of the tables, in their order, and the same bytes each time."""

import sys

import pytest
from support.fake_runs import write_rows, write_run

from delamo.records import Selected
from delamo.reports import plots
from delamo.reports.comparison import compare_runs
from delamo.reports.methods import budgeted, short, unbudgeted
from delamo.runs.read import collect

ABLATIONS = {"whole_rationale": "skill_analysis", "answer_switch": "mistake_steps"}
BITS = {"none": 10, "full_data": 30, "random": 15, "insta": 18, "error_driven": 25}


def skills(after):
    known = {"n": 10, "before": 0.9, "after": 0.8, "missing": False}
    by_skill = {"colour": known, "size": {"n": 30, "before": 0.2, "after": after, "missing": True}}
    return {"precision_at_n": 0.5, "by_skill": by_skill}


def write(root, task, selector, budget, count, correct, seed=0, **more):
    bits = "1" * correct + "0" * (40 - correct)
    path = write_run(root, task=task, selector=selector, seed=seed, bits=bits, budget=budget, num_samples=count, **more)
    ids = {"insta": "abcd", "error_driven": "cdef", "random": ("abef", "cdgh", "abcd")[seed]}.get(selector, "")
    write_rows(path / "selection.jsonl", [Selected(id=id, rank=i, reason="x") for i, id in enumerate(ids)])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    whole = {"mistakes": {"name": "answer_switch"}, "skills": {"name": "skill_analysis"}}
    for task in ("scienceqa", "mmbench"):
        for selector in ("none", "full_data"):
            write(root, task, selector, "b500", 500, BITS[selector])
        for budget, count, more in (("b500", 500, 0), ("b1500", 1500, 5)):
            for seed in range(3):
                write(root, task, "random", budget, count, BITS["random"] + more, seed, planted=skills(0.3))
            write(root, task, "insta", budget, count, BITS["insta"] + more, planted=skills(0.4))
            ours = {"planted": skills(0.8), "config": whole}
            write(root, task, "error_driven", budget, count, BITS["error_driven"] + more, **ours)
    for mistakes, named in ABLATIONS.items():
        config = {"mistakes": {"name": mistakes}, "skills": {"name": named}}
        write(root, "mmbench", "error_driven", "b500", 500, 20, config=config, digest=mistakes)
    return compare_runs(collect(root))


@pytest.fixture(scope="module")
def figures(results):
    return plots.figures(results)


def lines(panel):
    """Label of each errorbar container or plain line is not kept by matplotlib: the y data, rounded."""
    return [[round(float(y), 1) for y in container.lines[0].get_ydata()] for container in panel.containers]


def test_every_plot_is_there_with_its_caption(figures):
    assert list(figures) == ["budget_curves", "gain_by_skill-b500", "gain_by_skill-b1500", "ablations-b500", "overlap"]
    for figure in figures.values():
        assert len(figure.get_label()) > 40 and figure._supxlabel.get_text()


def test_budget_curves_show_the_accuracies_in_the_papers_order(figures):
    figure = figures["budget_curves"]
    first, second = figure.axes
    assert (first.get_title(loc="left"), second.get_title(loc="left")) == ("mmbench", "scienceqa")
    assert lines(second) == [[37.5, 50.0], [45.0, 57.5], [62.5, 75.0]]  # random, insta, error-driven; of 40 items
    levels = [
        line.get_ydata()[0] for line in second.lines if len(set(line.get_ydata())) == 1 and len(line.get_ydata()) == 2
    ]
    assert 25.0 in levels and 75.0 in levels
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "pretrained",
        "full_data",
        "random",
        "insta",
        "error_driven",
    ]
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["500", "1.5K"]


def test_intervals_are_wilsons(figures, results):
    target = results.budgets[0].targets[1]
    interval = target.methods[2].interval
    ((low, high),) = [
        segments[0][:, 1] for segments in [figures["budget_curves"].axes[1].containers[0].lines[2][0].get_segments()]
    ]
    assert (low, high) == pytest.approx((100 * interval.low, 100 * interval.high))


def test_skills_are_gains_in_points_missing_first(figures):
    panel = figures["gain_by_skill-b500"].axes[1]
    assert [tick.get_text() for tick in panel.get_yticklabels()] == ["size (30)", "colour (10)"]
    points = [[round(float(x)) for x in line.get_xdata()] for line in panel.lines[1:]]
    assert points == [[10, -10], [20, -10], [60, -10]]


def test_ablation_bars_are_gains_over_the_pretrained_student(figures):
    (panel,) = figures["ablations-b500"].axes
    names = [tick.get_text() for tick in panel.get_yticklabels()]
    assert names == [
        "error_driven",
        "without mistake identification",
        "without skill analysis",
        "without targeted tuning (random)",
    ]
    bars = {names[round(bar.get_y() + bar.get_height() / 2)]: round(bar.get_width(), 1) for bar in panel.patches}
    assert bars == dict(zip(names, (37.5, 25.0, 25.0, 12.5), strict=True))


def test_heat_map_has_the_overlaps(figures, results):
    panel = figures["overlap"].axes[1]
    assert panel.get_title(loc="left") == "b1500"
    # random's runs: abef and cdgh share nothing, abef and abcd a third, cdgh and abcd a third
    shown = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in panel.texts}
    assert shown == {(0, 0): "0.22", (1, 0): "0.56", (1, 1): "1.00", (2, 0): "0.33", (2, 1): "0.33", (2, 2): "1.00"}
    assert results.budgets[1].overlap.methods == ["random", "insta", "error_driven"]


def test_one_budget_is_shown_by_method(tmp_path):
    for selector in ("none", "random", "error_driven"):
        write(tmp_path, "a", selector, "b", 10, BITS[selector])
    figure = plots.figures(compare_runs(collect(tmp_path)))["accuracy"]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["pretrained", "random", "error_driven"]
    assert [round(float(c.lines[0].get_xdata()[0]), 1) for c in figure.axes[0].containers] == [25.0, 37.5, 62.5]


@pytest.mark.filterwarnings("error")  # matplotlib warns where labels leave no room for the axes
def test_long_names_leave_room(tmp_path):
    for rate in (0.1, 0.2):
        for name in ("answer_switch", "whole_rationale"):
            tuned = {
                "tuning": {"learning_rate": rate, "lora_dropout": rate, "epochs": 10 * rate},
                "mistakes": {"name": name},
            }
            for selector in ("random", "error_driven"):
                write(tmp_path, "a", selector, "b", 10, 20, config=tuned, digest=f"{name}{rate}", planted=skills(0.5))
    write(tmp_path, "a", "none", "b", 10, 10)
    drawn = plots.figures(compare_runs(collect(tmp_path)))
    for name, figure in drawn.items():
        plots.rendered(name, figure, "png")
        assert all(panel.get_position().width > 0.25 for panel in figure.axes), name
    assert [tick.get_text() for tick in drawn["overlap"].axes[0].get_xticklabels()][:2] == ["1", "2"]


def test_same_results_same_bytes(figures, results, tmp_path):
    name = "ablations-b500"
    again = plots.figures(results)[name]
    for kind in plots.FORMATS:
        assert plots.rendered(name, figures[name], kind) == plots.rendered(name, again, kind)
    svg = plots.rendered(name, again, "svg").decode()
    assert "dc:date" not in svg and ">without skill analysis<" in svg
    paths = plots.save({name: again}, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [f"{name}.png", f"{name}.svg"]
    assert paths[0].read_bytes().startswith(b"\x89PNG") and paths[1].read_text().startswith("<?xml")


def test_methods_differ_without_colour_too():
    from delamo.reports.plots.style import COLORS, color_of, looks

    names = [*budgeted(), *unbudgeted()]
    found = looks([(name, name) for name in names] + [("error_driven (merge=score)", "error_driven"), ("mine", "mine")])
    assert len({look.mark for look in found.values()}) == len(found)
    assert len(set(COLORS)) == len(COLORS) == len(budgeted()) and {color_of(name) for name in budgeted()} == set(COLORS)


def test_names_are_the_papers():
    assert short("error_driven (mistakes=answer_switch, skills=mistake_steps)") == "error_driven without skill analysis"
    assert short("error_driven (mistakes=answer_switch, skills=skill_analysis)") == "error_driven"
    assert short("random (tuning.learning_rate=0.1)") == "random (tuning.learning_rate=0.1)"
    assert short("pretrained") == "pretrained"


def test_without_matplotlib_the_way_out_is_named(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "delamo.reports.plots.style", raising=False)
    monkeypatch.delattr(plots, "style", raising=False)
    with pytest.raises(ValueError, match=r"pip install 'delamo\[plots\]'"):
        plots.figures(results)
