"""`why` and `trace` on runs made by hand: the whole chain in words."""

import json

import pytest
from support.fake_runs import MISTAKE, sample, write_chain, write_example, write_rows, write_run

from delamo.records import Answer, Mistake, Selected
from delamo.reports.trace import trace, why

WHY = """\
Pool sample p7
  kind          sizes
  instruction   Which shape is larger?
                Options: (a) red
  answer        (a) red

Selected by 1 of 10 runs.

runs/micro_easy-micro-error_driven-b20-s0-0123456789 (micro/easy, error_driven, budget b20, seed 0)
  rank          1 of 2, score 7.25, retrieved
  skill         compare the size of shapes
  matched       size, shapes
  error         v2: Is the red circle big or small?
  student       (B) small: wrong
  mistake       step 2 of 3 (first step with a lasting margin): "It is small."
"""

TRACE = """\
Validation sample v2 of micro/easy
  kind          size
  picture       micro:v2
  question      Is the red circle big or small?
  options       (A) big <- gold
                (B) small

runs/micro_easy-micro-error_driven-b20-s0-0123456789 (micro/easy, error_driven, budget b20, seed 0)
  student       (B) small: wrong

  steps         the teacher's probability of each option after each step; gold is (A)
                (A) big, (B) small
    0           (before any step)
                (A) 0.60 ######....  (B) 0.40 ####......
    1           The top left has a red circle.
                (A) 0.55 ######....  (B) 0.45 ####......
  > 2           It is small.
                (A) 0.10 #.........  (B) 0.90 #########.
    3           The final answer is (B).
                (A) 0.05 ..........  (B) 0.95 ##########
  mistake       step 2 of 3 (first step with a lasting margin): "It is small."

  missing skill compare the size of shapes
  brought in    1 of 2 samples:
                rank 1, score 7.25, p7: Which shape is larger? Options: (a) red
  after tuning  (A) big: right
  test items    40 of kind size: 26 turned right (t010, t011, t012, ...), 0 turned wrong
"""


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_example(tmp_path).relative_to(tmp_path)


@pytest.fixture
def run(tmp_path):
    """An error-driven run alone, without a second look at the validation samples."""
    path = write_run(tmp_path / "runs", task="micro/easy", selector="error_driven", seed=0, bits="10")
    return write_chain(tmp_path, path, after=False)


def rewrite(run, stage, name, rows):
    stages = json.loads((run / "stages.json").read_text())
    write_rows(type(run)(stages[stage]["path"]) / f"{name}.jsonl", rows)


def test_why_follows_a_sample_back_to_its_error(runs):
    assert why("p7", runs) + "\n" == WHY


def test_why_of_a_sample_that_no_error_brought_in(runs):
    found = why("p3", runs)
    assert "rank          2 of 2, fill" in found and "error" not in found.split("seed 0)")[1]


def test_trace_follows_an_error_to_its_samples(runs):
    assert trace("v2", runs) + "\n" == TRACE


def test_trace_of_a_right_answer(runs):
    found = trace("v1", runs)
    assert "student       (A) big: right" in found and "mistake       none to look for" in found


def test_trace_says_what_was_not_measured(run):
    found = trace("v2", run.parent)
    assert "after tuning  not known: the tuned student was not asked this sample again" in found
    assert "test items    no pretrained run to compare with" in found


def test_trace_of_a_fallback_an_unparsed_answer_and_many_options(run):
    options = ("a", "b", "c", "d", "e", "f")
    row = (0.5, 0.1, 0.1, 0.1, 0.1, 0.1)
    fields = {f: getattr(MISTAKE, f) for f in ("id", "question", "gold", "steps")}
    mistake = Mistake(
        **fields,
        options=options,
        wrong=None,
        probabilities=(row,) * 4,
        outside_mass=(0.0, 0.0, 0.0, 0.3),
        step=0,
        fallback=True,
        unparsed=True,
    )
    rewrite(run, "mistakes", "mistakes", [mistake])
    reply = Answer(id="v2", text="I\x1b[31m do not\nknow", rationale="", prediction=None, correct=None, num_tokens=4)
    rewrite(run, "answers", "answers", [reply])
    rewrite(run, "skills", "skills", [])
    rewrite(run, "selection", "selection", [Selected(id="p3", rank=0, reason="fill")])
    found = trace("v2", run.parent)
    assert "step 1 of 3 (step with the largest gap, none met the margin, answer unparsed)" in found
    assert "unparsed: I [31m do not know" in found and "\x1b" not in found
    assert "(A) 0.50 ##...  (B) 0.10 ....." in found and "(B). [outside the options: 0.30]" in found
    assert "missing skill not named" in found and "brought in" not in found
    assert max(len(line) for line in found.splitlines() if line.startswith(" ")) <= 120


def test_trace_of_a_run_that_reads_no_validation_sample(run, tmp_path):
    other = write_run(tmp_path / "runs", task="micro/easy", selector="random", seed=0, bits="10")
    stages = json.loads((run / "stages.json").read_text())
    (other / "stages.json").write_text(json.dumps({"task": stages["task"]}))
    assert f"Runs whose selector reads no validation sample:\n  {other}" in trace("v2", tmp_path / "runs")


def test_what_runs_share_is_shown_once(run, tmp_path):
    again = write_run(tmp_path / "runs", task="micro/easy", selector="error_driven", seed=1, bits="10")
    (again / "stages.json").write_text((run / "stages.json").read_text())
    found = trace("v2", tmp_path / "runs")
    assert found.count("(before any step)") == 1 and found.count("rank 1, score 7.25, p7") == 2
    assert f"skill and all before it: as in {run}" in " ".join(found.split())


def test_second_iteration_is_shown_apart(run):
    stages = json.loads((run / "stages.json").read_text())
    for stage in ("answers", "mistakes", "skills", "selection"):
        stages[f"{stage}@2"] = stages[stage]
    stages["skills@2"] = {**stages["skills"], "digest": "another"}
    (run / "stages.json").write_text(json.dumps(stages))
    assert trace("v2", run.parent).count("(before any step)") == 2 and "iteration 2)" in trace("v2", run.parent)
    assert "Selected by 1 of 1 runs" in why("p7", run.parent) and why("p7", run.parent).count("rank  ") == 2


def test_unknown_ids_name_their_neighbours(runs):
    with pytest.raises(ValueError, match=r"no pool sample 'p77' selected by a run under runs; the nearest ids: p7"):
        why("p77", runs)
    with pytest.raises(ValueError, match=r"no validation sample 'v22' .*; the nearest ids: v2"):
        trace("v22", runs)


def test_no_runs_is_a_clear_error(tmp_path):
    for look_up in (why, trace):
        with pytest.raises(FileNotFoundError, match=r"runs is .*nowhere: no such folder"):
            look_up("x", tmp_path / "nowhere")
        with pytest.raises(ValueError, match="no finished run under"):
            look_up("x", tmp_path)


def test_store_that_is_gone_is_a_clear_error(run, tmp_path):
    (tmp_path / "store").rename(tmp_path / "moved")
    with pytest.raises(
        ValueError, match=r"stages\.json refers to .* which is gone: run the cell again with force=true"
    ):
        why("p7", run.parent)


def test_question_without_options_shows_its_gold(run):
    free = sample("v1", "How many?", "three", options=(), gold=None)
    rewrite(run, "task", "validation", [free])
    assert "gold          three" in trace("v1", run.parent)
