"""One experiment cell: the stages in order, and the iteration. Start reading here.

    answers -> mistakes -> skills -+
                                   +-> selection -> tuning -> evaluation
    pool -> pool skills -> index --+
    pool -> fingerprints -> audit: what selection may not choose
    pool -> embeddings, hidden states, difficulty, text: what other selectors go by (`delamo.inputs`)

Each function below `plan_experiment` is one stage: what decides its result (config fields, digests, earlier steps), and how it is
computed. Planning computes nothing; asking the last step for its result computes what the store lacks, and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from delamo.config.choices import Engine, Query, SkillSource
from delamo.config.compose import arguments, identity_of
from delamo.data.candidates import Candidates
from delamo.experiment.config import ExperimentConfig
from delamo.experiment.experiment import Experiment, open_experiment
from delamo.inputs import STEPS, given, method_identity
from delamo.mistakes import FINDERS, ErrorCase
from delamo.models.usage import Meter
from delamo.records import Answer, ItemScore, Leak, Mistake, PoolSkills, Quarantined, Sample
from delamo.runs.folder import attempt, run_folder
from delamo.stages.base import Plan, Round, Step
from delamo.store import ResultWriter, RowCounts, append_shards, write_rows

T = TypeVar("T")

# Raise a number when the stage's code gives another result for the same inputs: its old results are then left aside.
VERSIONS = {
    "task": 1,
    "fingerprints": 2,  # long numbers in names
    "audit": 2,  # running names
    "answers": 2,  # more forms of a final answer are read
    "mistakes": 3,  # indented lines have sentences too
    "skills": 1,
    "pool_skills": 1,
    "index": 1,
    "selection": 1,  # one method alone: `Selector.version`
    "tuning": 1,
    "evaluation": 2,  # more forms of a final answer are read
}


def run_experiment(config: ExperimentConfig) -> Path:
    """Run what is missing of one cell and write its run directory; returns the directory.

    Raises:
        ValueError: a budget above the pool, data that cannot be used, or a finished run of other code or data.
    """
    from delamo.runs.write import write_results
    from delamo.tracking.loggers import log_finished, open_logger

    folder = run_folder(config)
    with attempt(folder, config) as this:
        cell = open_experiment(config)
        audit = remove_leaks(cell)
        plan = plan_experiment(cell)
        plan.audit = audit
        if this.begin(plan.evaluation.digest, force=config.force):
            with open_logger(config, folder, this.number) as cell.logger:
                write_results(folder, cell, plan)
        else:
            log_finished(config, folder, this.number)
    return folder


def plan_experiment(cell: Experiment) -> Plan:
    """The loop of the paper (section 3): collect errors, find mistakes, name skills, retrieve, tune; then evaluate."""
    pretrained = evaluate(cell, None)
    plan = Plan(keep_task(cell), pretrained, pretrained)
    adapter: Step | None = None
    for iteration in range(cell.config.iterations if cell.selector.tunes else 0):
        inputs = {need: INPUTS[need](cell, adapter) for need in cell.selector.needs if need in INPUTS}
        selection = select(cell, inputs, iteration)
        adapter = tune(cell, [*(done.selection for done in plan.rounds), selection], adapter)
        plan.rounds.append(Round(inputs, selection, adapter))
        plan.evaluation = evaluate(cell, adapter)
    if "missing_skills" in cell.selector.needs and cell.config.answers_after:
        plan.answers_after = collect_answers(cell, adapter)
    return plan


def missing_skills(cell: Experiment, adapter: Step | None) -> Step:
    """What the student lacks, by its errors on the validation samples."""
    if cell.config.skills.source is SkillSource.all_samples:
        return name_needed_skills(cell)
    answers = collect_answers(cell, adapter)
    mistakes = find_mistakes(cell, answers)
    return name_skills(cell, mistakes)


def index_of_pool(cell: Experiment, adapter: Step | None) -> Step:
    """What the pool can teach: the same for every task, budget and iteration."""
    pool_skills = annotate_pool(cell)
    return build_index(cell, pool_skills)


INPUTS: dict[str, Callable[[Experiment, Step | None], Step]] = {
    "missing_skills": missing_skills,
    "index": index_of_pool,
    **STEPS,
}
"""The steps behind the names that a selector declares in `needs`; `validation` is no step, the samples are at hand."""


def keep_task(cell: Experiment) -> Step:
    """The task's samples as they were read, so that look-ups need neither the reader nor its data."""
    task = cell.task

    def make(draft: ResultWriter) -> None:
        write_rows(draft.path / "validation.jsonl", task.validation)
        write_rows(draft.path / "test.jsonl", task.test)
        num_ok = len(task.validation) + len(task.test)
        draft.finish(RowCounts(num_in=num_ok + len(task.quarantined), num_ok=num_ok, quarantined=task.quarantined))

    # The samples' digests cover the bytes of their pictures, the task's digest does not.
    return step(cell, "task", cell.config.task.name, {"task": task.digest, "samples": cell.samples_digests}, {}, make)


def remove_leaks(cell: Experiment) -> Step | None:
    """Audit the pool against the task, and leave what meets it out of the candidates; None where nothing is to be audited.

    It is computed before the cell is planned: without leaks, cells of several tasks share what they select and tune.
    """
    audit = audit_step(cell)
    if audit:
        leave_out(cell, audit)
    return audit


def audit_step(cell: Experiment) -> Step | None:
    """The audit, not computed yet; None where nothing is to be audited."""
    if not cell.selector.tunes or cell.selector.own_pool or not cell.config.audit.enabled:
        return None
    return audit_pool(cell, fingerprint_pool(cell))


def leave_out(cell: Experiment, audit: Step) -> None:
    """Make the candidates what the audit leaves of the pool. Raises ValueError where that is less than the budget, or nothing."""
    from delamo.data.leakage import removed_ids
    from delamo.selectors.budget import require_left

    leaks = audit.result().rows(Leak, "leaks")
    removed = removed_ids(leaks)
    cell.candidates = Candidates(cell.pool, removed) if removed else None
    num_samples = None if cell.selector.takes_all else cell.config.budget.num_samples
    require_left(num_samples, len(cell.pool) - len(removed), leaks, audit.stage.path / "leaks.jsonl")


def fingerprint_pool(cell: Experiment) -> Step:
    """What the pool's samples are told apart by: once for a pool, whatever the target."""
    near = cell.config.audit.perceptual_distance is not None

    def make(draft: ResultWriter) -> None:
        from delamo.data.leakage import fingerprints

        fingerprints(cell.pool, len(cell.pool), near=near).save(draft.path)
        draft.finish(RowCounts(num_in=len(cell.pool), num_ok=len(cell.pool)))

    return step(cell, "fingerprints", cell.label("pool"), {"pool": cell.pool.digest, "near": near}, {}, make)


def audit_pool(cell: Experiment, prints: Step) -> Step:
    """The pool samples that meet a validation or test sample of the task, so that no selector may choose them."""
    options = arguments(cell.config.audit)
    options.pop("enabled")

    def make(draft: ResultWriter) -> None:
        from delamo.data.leakage import Fingerprints, find_leaks, removed_ids

        splits = {"validation": cell.task.validation, "test": cell.task.test}
        leaks = find_leaks(cell.pool, Fingerprints.load(prints.stage.path), splits, **options)
        write_rows(draft.path / "leaks.jsonl", leaks)
        removed = len(removed_ids(leaks))
        account = RowCounts(num_in=len(cell.pool), num_ok=len(cell.pool) - removed, skipped={"meets the task": removed})
        draft.finish(account)

    reads = {"audit": identity_of(cell.config.audit), "samples": cell.samples_digests}
    return step(cell, "audit", cell.label("task", "pool"), reads, {"fingerprints": prints}, make)


def collect_answers(cell: Experiment, adapter: Step | None) -> Step:
    """Error collection: the student's rationale and answer for every validation sample (paper, section 3.2)."""

    def make(draft: ResultWriter) -> None:
        from delamo.stages.answers import collect_answers

        student, options = cell.student(adapter), generation(cell)
        in_shards(
            draft,
            "answers",
            cell.task.validation,
            Answer,
            work=lambda batch: collect_answers(student, batch, batch_size=cell.config.student.batch_size, **options),
            shard_size=cell.config.student.shard_size,
            notes=lambda: {"numerics": student.facts},
        )

    return ask_student(cell, "answers", "validation", adapter, make)


def find_mistakes(cell: Experiment, answers: Step) -> Step:
    """The step at which each wrong rationale goes wrong (paper, section 3.3)."""
    finder, method = FINDERS[type(cell.config.mistakes)], arguments(cell.config.mistakes)
    include_unparsed = method.pop("include_unparsed")

    def make(draft: ResultWriter) -> None:
        rows = answers.stage.rows(Answer)
        cases = error_cases(cell.task.validation, rows, include_unparsed=include_unparsed)
        teacher = cell.teacher if finder.templates else None
        meter = Meter(teacher)
        found, bad = finder.find(cases, teacher, **method)
        write_rows(draft.path / "mistakes.jsonl", found)
        skipped = {"no error": len(rows) - len(cases)}
        account = RowCounts(num_in=len(rows), num_ok=len(found), quarantined=bad, skipped=skipped)
        draft.finish(account, spent=meter.total())

    reads = {"mistakes": identity_of(cell.config.mistakes)}
    reads |= cell.teacher_reads(*finder.templates) if finder.templates else {}
    reads |= {f"{name} content": cell.content_digest(Path(method[name])) for name in finder.files}
    names = ("task", "student", "teacher") if finder.templates else ("task", "student", "mistakes")
    return step(cell, "mistakes", cell.label(*names), reads, {"answers": answers}, make)


def name_skills(cell: Experiment, mistakes: Step) -> Step:
    """The one skill that each mistake shows to be missing (paper, section 3.4), or the mistake step in its place."""
    if cell.config.skills.query is Query.mistake_step:
        return quote_mistakes(cell, mistakes)
    teacher = cell.config.teacher
    options = {"max_new_tokens": teacher.skill_max_new_tokens}

    def make(draft: ResultWriter) -> None:
        from delamo.stages.skills import name_skills

        rows = mistakes.stage.rows(Mistake)
        images = {sample.id: sample.image for sample in cell.task.validation} if teacher.sees_images else None
        meter = Meter(cell.teacher)
        skills, bad = name_skills(rows, cell.teacher, images=images, **options)
        write_rows(draft.path / "skills.jsonl", skills)
        draft.finish(RowCounts(num_in=len(rows), num_ok=len(skills), quarantined=bad), spent=meter.total())

    reads = cell.teacher_reads("skill") | options | {"sees_images": teacher.sees_images}
    return step(cell, "skills", cell.label("task", "student", "teacher"), reads, {"mistakes": mistakes}, make)


def quote_mistakes(cell: Experiment, mistakes: Step) -> Step:
    """The mistake steps as queries, the teacher not asked (paper, Table 5, "w/o Skill Analysis")."""

    def make(draft: ResultWriter) -> None:
        from delamo.stages.skills import quote_mistakes

        rows = mistakes.stage.rows(Mistake)
        skills, bad = quote_mistakes(rows)
        write_rows(draft.path / "skills.jsonl", skills)
        draft.finish(RowCounts(num_in=len(rows), num_ok=len(skills), quarantined=bad))

    return step(
        cell, "skills", cell.label("task", "student", "skills"), {"query": "mistake step"}, {"mistakes": mistakes}, make
    )


def name_needed_skills(cell: Experiment) -> Step:
    """The skills that every validation sample needs, answered rightly or not (paper, Table 5, "w/o Error Collection")."""
    teacher = cell.config.teacher
    options = {"max_new_tokens": teacher.pool_skills_max_new_tokens}

    def make(draft: ResultWriter) -> None:
        from delamo.stages.skills import name_needed_skills

        samples, meter = cell.task.validation, Meter(cell.teacher)
        skills, bad = name_needed_skills(samples, cell.teacher, **options)
        write_rows(draft.path / "skills.jsonl", skills)
        account = RowCounts(num_in=len(samples), num_ok=len(samples) - len(bad), quarantined=bad)
        draft.finish(account, spent=meter.total())

    reads = cell.teacher_reads("pool_skills") | options | {"sees_images": teacher.sees_images}
    reads["samples"] = cell.samples_digests["validation"]
    return step(cell, "skills", cell.label("task", "teacher", "skills"), reads, {}, make)


def annotate_pool(cell: Experiment) -> Step:
    """The skills that each pool sample needs: once for a pool, a teacher and a prompt (paper, section 3.5)."""
    teacher = cell.config.teacher
    options = {"max_new_tokens": teacher.pool_skills_max_new_tokens}

    def make(draft: ResultWriter) -> None:
        from delamo.stages.skills import annotate_pool, prepare_pool

        meter = Meter(cell.teacher, draft.work / "spent.json")
        try:
            prepare_pool(cell.pool, cell.teacher, **options)
        finally:
            meter.save()  # replies that come in batch files are paid for in the run that reads them

        def annotate(batch: list[Sample]) -> tuple[list[PoolSkills], list[Quarantined]]:
            try:
                return annotate_pool(batch, cell.teacher, **options)
            finally:
                meter.save()

        in_shards(
            draft,
            "pool_skills",
            cell.pool,
            PoolSkills,
            work=annotate,
            shard_size=teacher.shard_size,
            notes=lambda: {"spent": meter.total()},
        )

    reads = cell.teacher_reads("pool_skills") | options | {"pool": cell.pool.digest, "sees_images": teacher.sees_images}
    return step(cell, "pool_skills", cell.label("pool", "teacher"), reads, {}, make, resumable=True)


def build_index(cell: Experiment, pool_skills: Step) -> Step:
    """BM25 over the pool: a sample's document is all of its skills, joined."""
    from delamo.retrieval.index import INDEX_VERSION
    from delamo.retrieval.tokenize import TOKENIZER_VERSION

    options = arguments(cell.config.retriever)
    backend = options.pop("backend")

    def make(draft: ResultWriter) -> None:
        from delamo.retrieval import RETRIEVERS

        rows = pool_skills.stage.rows(PoolSkills)
        RETRIEVERS[backend].build(((row.id, " ".join(row.skills)) for row in rows), draft.path / "index", **options)
        draft.finish(RowCounts(num_in=len(rows), num_ok=len(rows)))

    reads = {"retriever": identity_of(cell.config.retriever), "format": [TOKENIZER_VERSION, INDEX_VERSION]}
    return step(cell, "index", cell.label("pool", "teacher", "retriever"), reads, {"pool_skills": pool_skills}, make)


def select(cell: Experiment, inputs: dict[str, Step], iteration: int) -> Step:
    """Exactly N distinct samples, by the selector; see `delamo.selectors`."""
    method, pool, everything = cell.selector, cell.selectable, cell.selector.takes_all
    num_samples = len(pool) if everything else cell.config.budget.num_samples
    chance = None if everything else [cell.config.seeds.selection, iteration]

    def make(draft: ResultWriter) -> None:
        if everything:
            where = f"selector {cell.config.selector.name} takes all {num_samples:,} samples of pool {pool.name}"
            tqdm.write(f"{where}; the budget, {cell.config.budget.name}, does not count", file=sys.stderr)
        options, rng = arguments(cell.config.selector), np.random.default_rng(chance or 0)
        chosen = method.select(pool, given(cell, inputs), num_samples=num_samples, rng=rng, **options)
        write_rows(draft.path / "selection.jsonl", chosen)
        write_rows(draft.path / "selected_samples.jsonl", (pool.get(row.id) for row in chosen))
        skipped = {"not selected": len(pool) - len(chosen)}
        draft.finish(RowCounts(num_in=len(pool), num_ok=len(chosen), skipped=skipped), seed=chance)

    reads = {"pool": pool.digest, "selector": method_identity(cell.config.selector)}
    if not everything:
        reads |= {"num_samples": num_samples, "seed": chance}
    if "validation" in method.needs or method.own_pool:
        reads["validation"] = cell.samples_digests["validation"]
    if method.code:
        reads["code"] = method.code
    if method.version > 1:
        reads["method_version"] = method.version
    return step(cell, "selection", cell.label(*what_decides(cell, "pool")), reads, inputs, make)


def what_decides(cell: Experiment, *others: str) -> tuple[str, ...]:
    """The roles that a selection depends on, for a label."""
    method = cell.selector
    task = ("task",) if method.looks_at_the_task else ()
    return (*task, *others, "selector", *(() if method.takes_all else ("budget",)))


def tune(cell: Experiment, selections: Sequence[Step], adapter: Step | None) -> Step:
    """LoRA on the last selection from the last adapter, or on the union of all from the base (paper, section 3.6)."""
    restart = cell.config.iterate_from.value == "restart"
    chosen = selections if restart else selections[-1:]
    start_from = None if restart else adapter
    student, seed = cell.config.student, cell.config.seeds.training

    def make(draft: ResultWriter) -> None:
        from delamo.tuning.fit import tune

        samples = {row.id: row for selection in chosen for row in selection.stage.rows(Sample, "selected_samples")}
        start = start_from.stage.path / "adapter" if start_from else None
        options = arguments(cell.config.tuning)
        cell.release()
        result = tune(
            student.path,
            list(samples.values()),
            draft.path / "adapter",
            start_from=start,
            checkpoints=draft.work / "checkpoints",
            seed=seed,
            revision=student.revision,
            device=student.device,
            attn=student.attn.value,
            max_image_pixels=student.max_image_pixels,
            logger=cell.logger,
            **options,
        )
        num_ok = len(samples) - len(result.quarantined)
        notes = {"seed": seed, "steps": result.steps, "loss": result.loss, "trainable": result.trainable}
        notes |= {"padding": result.padding, "processes": result.num_processes, "numerics": result.facts}
        draft.finish(RowCounts(num_in=len(samples), num_ok=num_ok, quarantined=result.quarantined), **notes)

    inputs = {f"selection_{number}": selection for number, selection in enumerate(chosen)}
    if start_from:
        inputs["start_from"] = start_from
    reads = {
        "student": cell.student_digest,
        "tuning": identity_of(cell.config.tuning),
        "seed": seed,
        **picture_size(cell),
    }
    return step(cell, "tuning", cell.label(*what_decides(cell, "student")), reads, inputs, make, resumable=True)


def evaluate(cell: Experiment, adapter: Step | None) -> Step:
    """The student's answers to the test samples, which nothing before this has seen."""

    def make(draft: ResultWriter) -> None:
        from delamo.stages.evaluation import evaluate

        student, options = cell.student(adapter), generation(cell)
        in_shards(
            draft,
            "items",
            cell.task.test,
            ItemScore,
            work=lambda batch: evaluate(student, batch, batch_size=cell.config.student.batch_size, **options),
            shard_size=cell.config.student.shard_size,
            notes=lambda: {"numerics": student.facts},
        )

    return ask_student(cell, "evaluation", "test", adapter, make)


def ask_student(
    cell: Experiment, name: str, split: str, adapter: Step | None, make: Callable[[ResultWriter], None]
) -> Step:
    """A step in which the student, tuned or not, answers one split of the task."""
    student = cell.config.student
    numerics = {"dtype": student.dtype.value, "attn": student.attn.value, **picture_size(cell)}
    if student.engine is not Engine.transformers:
        numerics["engine"] = student.engine.value
    reads = {"student": cell.student_digest, "samples": cell.samples_digests[split], **numerics, **generation(cell)}
    inputs = {"adapter": adapter} if adapter else {}
    return step(cell, name, cell.label("task", "student"), reads, inputs, make, resumable=True)


def picture_size(cell: Experiment) -> dict[str, int]:
    """The cap on pictures, where there is one."""
    cap = cell.config.student.max_image_pixels
    return {} if cap is None else {"max_image_pixels": cap}


def generation(cell: Experiment) -> dict[str, Any]:
    """How the student decodes. A greedy reply does not depend on the seed, so that all seeds share it."""
    student = cell.config.student
    seed = cell.config.seeds.decoding if student.temperature > 0 else 0
    return {"max_new_tokens": student.max_new_tokens, "temperature": student.temperature, "seed": seed}


def error_cases(samples: Sequence[Sample], answers: Sequence[Answer], *, include_unparsed: bool) -> list[ErrorCase]:
    """The wrong answers and, flagged, those that could not be read (the paper is silent on them)."""
    by_id = {sample.id: sample for sample in samples}
    wrong = [row for row in answers if (include_unparsed if row.correct is None else not row.correct)]
    return [
        ErrorCase(
            id=row.id,
            question=by_id[row.id].instruction,
            options=by_id[row.id].options,
            gold=by_id[row.id].gold,
            answer=by_id[row.id].answer,
            wrong=row.prediction,
            rationale=row.rationale,
            unparsed=row.correct is None,
        )
        for row in wrong
    ]


def in_shards(
    draft: ResultWriter,
    name: str,
    items: Sequence[Sample],
    cls: type[T],
    *,
    work: Callable[[list[Sample]], tuple[list[T], list[Quarantined]]],
    shard_size: int,
    notes: Callable[[], dict[str, Any]] = dict,
) -> None:
    """Work through samples shard by shard, so that a kill loses one shard at most, and write the rows as `NAME.jsonl`.

    `notes` gives more for the manifest when all is done.
    """
    rows: list[T] = []
    bad: list[Quarantined] = []
    shards = append_shards(draft.work / name, items, cls, key=lambda item: item.id, work=work, shard_size=shard_size)
    with tqdm(total=len(items), desc=f"{name}: all shards", unit="sample", disable=len(items) <= shard_size) as bar:
        for good_of_shard, bad_of_shard in shards:
            rows += good_of_shard
            bad += bad_of_shard
            bar.update(len(good_of_shard) + len(bad_of_shard))
    write_rows(draft.path / f"{name}.jsonl", rows)
    draft.finish(RowCounts(num_in=len(items), num_ok=len(rows), quarantined=bad), **notes())


def step(
    cell: Experiment,
    name: str,
    label: str,
    reads: dict[str, Any],
    inputs: dict[str, Step],
    make: Callable[[ResultWriter], None],
    *,
    resumable: bool = False,
) -> Step:
    """A step of this cell's graph; see `Graph.step`."""
    return cell.graph.step(name, label, reads, inputs, make, version=VERSIONS[name], resumable=resumable)
