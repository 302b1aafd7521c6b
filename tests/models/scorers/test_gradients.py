"""Gradients of single samples, on a tiny LLaVA.

They are autograd's, Adam moves them as torch does, the projection has no bias, and a batch changes nothing.
"""

from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from support.configs import node
from support.recipes import RECIPE, recipe, tune
from support.tiny_models import save_tiny_llava
from support.toy_pool import ToyPool

from delamo.data.candidates import Candidates
from delamo.experiment.experiment import open_experiment
from delamo.experiment.models import Models
from delamo.models.hf.collator import Collator
from delamo.models.scorers.gradients import AdamFormula, Moments, Projection, SampleGradients, sample_gradients
from delamo.models.students.local import Student
from delamo.models.students.training_sample import training_sample
from delamo.pipeline import plan_experiment
from delamo.records import Sample, Selected
from delamo.retrieval.corpus import pack_ids
from delamo.retrieval.rows import SampleVectors
from delamo.selectors import less
from delamo.stages.gradients import WarmUp
from delamo.tuning.fit import fit
from delamo.tuning.optimizer_state import SaveOptimizerState, checkpoint_folders, epoch_ends

DIM = 256


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Nine pictured samples of unequal length and three of text alone."""
    folder = tmp_path_factory.mktemp("pictures")
    rows = []
    for number in range(12):
        path = folder / f"{number}.png"
        Image.new("RGB", (16, 16), (20 * number, 10, 200)).save(path)
        question = f"What digit is in the middle? {'Look again. ' * (5 * number % 4)}"
        picture = str(path) if number % 4 else None
        rows.append(Sample(id=f"p{number:02}", instruction=question, answer=f"It is {number}.", image=picture))
    return rows


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny_llava(tmp_path_factory.mktemp("student") / "tiny")


@pytest.fixture(scope="module")
def warm(base, samples, tmp_path_factory):
    """A warm-up of two epochs of three steps, with its checkpoints."""
    folder, changes = tmp_path_factory.mktemp("warmup"), RECIPE | {"learning_rate": 1e-3}
    keep = SaveOptimizerState(folder, "base", recipe(**changes))
    tune(base, samples, folder / "adapter", seed=3, callbacks=[keep], **changes)
    return folder


@pytest.fixture(scope="module")
def gradients(base, warm):
    student = Student.load(node("student", "micro", path=str(base)))
    return SampleGradients(student, checkpoint_folders(warm), projection_dim=DIM, seed=0)


def rows_of(gradients, samples, *, adam=AdamFormula.paper, batch_size=4):
    found = dict(gradients.rows(samples, adam=adam, batch_size=batch_size))
    return np.stack([found[index] for index in range(len(samples))])


def by_hand(model, layers, batch):
    """One sample's gradients, by backward through the model's own loss."""
    model.zero_grad()
    model(**batch).loss.backward()
    return {name: module.weight.grad.clone() for name, module in layers.items()}


def test_each_sample_of_a_batch_has_the_gradient_that_it_has_alone_by_autograd(gradients, samples):
    collator, model = Collator(gradients.student.processor, None), gradients.student.model
    batch = collator(samples[1:4])
    labels = batch.pop("labels")
    together = sample_gradients(model, gradients.layers, batch, labels)
    assert len(together) == 2 * 7 * 2  # A and B of seven linear layers in two blocks
    for place, sample in enumerate(samples[1:4]):
        alone = by_hand(model, gradients.layers, collator([sample]))
        for name, expected in alone.items():
            assert expected.abs().max() > 0
            torch.testing.assert_close(
                together[name][place], expected, rtol=1e-3, atol=1e-6 * float(expected.abs().max()) + 1e-7
            )


def test_adams_direction_is_where_torchs_adam_goes():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
    adam = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.0, eps=1e-3)
    for gradient in ([0.5, 0.0, -1.0], [0.25, -0.5, 2.0]):
        weight.grad = torch.tensor(gradient)
        adam.step()
    state = adam.state[weight]
    before, gradient = weight.detach().clone(), torch.tensor([-0.3, 0.1, 0.0])
    moments = Moments(
        weights={},
        first={"w": state["exp_avg"].clone()},
        second={"w": state["exp_avg_sq"].clone()},
        step=int(state["step"]),
        betas=(0.9, 0.999),
        eps=1e-3,
        learning_rate=0.1,
    )
    direction = moments.direction("w", gradient[None], AdamFormula.paper)[0]
    weight.grad = gradient
    adam.step()
    torch.testing.assert_close(before - 0.1 * direction, weight.detach(), rtol=1e-6, atol=1e-7)
    # The first weight by hand: m = .9(.9 x .05 + .1 x .25) + .1 x -.3, v likewise, both corrected for three steps.
    mean = (0.9 * (0.9 * 0.05 + 0.1 * 0.25) + 0.1 * -0.3) / (1 - 0.9**3)
    square = (0.999 * (0.999 * 0.001 * 0.25 + 0.001 * 0.0625) + 0.001 * 0.09) / (1 - 0.999**3)
    assert float(direction[0]) == pytest.approx(mean / (square**0.5 + 1e-3), rel=1e-5)


def test_the_warm_up_keeps_an_adapter_and_adams_state_after_each_epoch(warm, samples):
    first, last = (Moments.load(folder) for folder in checkpoint_folders(warm))
    assert (first.step, last.step) == (3, 6)
    assert first.learning_rate > last.learning_rate > 0  # means over the epochs of a falling rate
    assert any(not torch.equal(first.weights[name], last.weights[name]) for name in first.weights)
    assert all(float(square.min()) >= 0 for square in last.second.values())
    assert epoch_ends(7, 2) == [4, 7] and epoch_ends(1, 4) == [1]


def test_inner_products_survive_the_projection():
    chance = torch.Generator().manual_seed(0)
    sizes = {"small": 100, "large": 3000}
    one = torch.randn(40, 3100, generator=chance) + 0.5  # not centred: without signs, sums would add up
    other = 0.5 * one + torch.randn(40, 3100, generator=chance)
    one[:, 7] = 30  # a heavy weight
    one, other = (torch.nn.functional.normalize(rows, dim=1) for rows in (one, other))
    errors = []
    for seed in range(20):
        project = Projection(sizes, DIM, seed)
        parts = [project(zip(sizes, rows.split([100, 3000], dim=1), strict=True), 40) for rows in (one, other)]
        assert parts[0].shape == (40, DIM)
        errors.append((parts[0] * parts[1]).sum(dim=1) - (one * other).sum(dim=1))
    errors = torch.stack(errors)
    spread = (2 / DIM) ** 0.5  # of unit vectors, at most
    assert float(errors.abs().max()) < 4 * spread
    assert float(errors.mean().abs()) < 3 * spread / len(errors) ** 0.5  # pairs of one seed are not independent
    assert 0.3 * DIM**-0.5 < float(errors.std()) < 1.2 * spread


def test_the_seed_decides_the_projection_and_nothing_else_does():
    rows = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    alone = Projection({"a": 50}, 8, 1)([("a", rows)], 2)
    assert torch.equal(alone, Projection({"b": 9, "a": 50}, 8, 1)([("a", rows)], 2))
    assert not torch.equal(alone, Projection({"a": 50}, 8, 2)([("a", rows)], 2))
    with pytest.raises(ValueError, match=r"selector.projection_dim is 0"):
        Projection({"a": 50}, 0, 1)


def test_rows_are_of_length_one_and_do_not_depend_on_their_batch(gradients, samples):
    rows = rows_of(gradients, samples)
    assert rows.shape == (12, 2 * DIM) and gradients.width == 2 * DIM
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    for batch_size, order in ((1, slice(None)), (12, slice(None)), (5, slice(None, None, -1))):
        np.testing.assert_allclose(rows_of(gradients, samples[order], batch_size=batch_size)[order], rows, atol=2e-4)
    plain = rows_of(gradients, samples, adam=None)
    assert np.abs(plain - rows).max() > 0.01
    assert np.abs(plain @ plain.T - np.eye(12)).max() > 0.01  # neither all alike
    assert (plain @ plain.T)[~np.eye(12, dtype=bool)].max() < 0.999


def test_the_parts_of_a_row_weigh_as_the_learning_rates(gradients, warm, samples):
    rates = [Moments.load(folder).learning_rate for folder in checkpoint_folders(warm)]
    lengths = np.linalg.norm(rows_of(gradients, samples[:3]).reshape(3, 2, DIM), axis=2)
    np.testing.assert_allclose(lengths**2, np.tile(np.array(rates) / sum(rates), (3, 1)), rtol=1e-4)


def test_a_sample_that_cannot_be_read_is_named_and_the_others_are_there(gradients, samples):
    broken = replace(samples[1], image="/nowhere/at/all.png")
    found = dict(gradients.rows([samples[0], broken, samples[2]], adam=AdamFormula.paper, batch_size=3))
    assert isinstance(found[1], Exception) and found[1].reason == "image missing"
    assert found[0].shape == found[2].shape == (2 * DIM,)


def stored(ids, rows):
    return SampleVectors(pack_ids(ids), rows.astype(np.float16))


def test_pool_samples_equal_to_validation_samples_come_first(gradients, samples):
    asked = [
        Sample(
            id=f"v{i}",
            instruction=f"Which number is larger? {i}",
            options=("one", "two"),
            gold=i % 2,
            answer="two",
            image=samples[5 + i].image,
        )
        for i in range(2)
    ]
    as_tuned = [training_sample(sample, "micro") for sample in asked]
    pool = ToyPool([*samples, *(replace(sample, id=f"copy{i}") for i, sample in enumerate(as_tuned))])
    inputs = SimpleNamespace(
        validation=lambda: asked,
        validation_gradients=lambda: stored([s.id for s in asked], rows_of(gradients, as_tuned, adam=None)),
        gradients=lambda: stored(pool.ids(), rows_of(gradients, list(pool))),
    )
    selected = less.select(pool, inputs, None, num_samples=5, rng=np.random.default_rng(0))
    assert {row.id for row in selected[:2]} == {"copy0", "copy1"}
    assert selected[0].score >= selected[1].score > selected[2].score and selected[0].reason == "nearest"


def test_a_subtask_counts_by_its_mean_and_the_best_subtask_wins():
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], np.float32)
    means = less.subtask_means(rows, ["b", "a", "b"])
    np.testing.assert_allclose(means, [[0.0, 1.0], [0.8, 0.4]])
    validation = [Sample(id=f"v{i}", instruction="?", answer="!", source=source) for i, source in enumerate("bab")]
    pool = ToyPool([Sample(id=id, instruction="?", answer="!") for id in ("x", "y", "z")])
    inputs = SimpleNamespace(
        validation=lambda: validation,
        validation_gradients=lambda: stored(["v0", "v1", "v2"], rows),
        gradients=lambda: stored(["x", "y", "z"], np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])),
    )
    selected = less.select(pool, inputs, None, num_samples=3, rng=np.random.default_rng(0))
    assert [row.id for row in selected] == ["y", "x", "z"]
    assert [row.score for row in selected] == pytest.approx([1.0, 0.8, 0.0], abs=1e-3)


CELL = (
    *("selector=less", "pool.size=40", "task.num_val_samples=3", "task.num_test_samples=2", "budget=custom"),
    *("budget.num_samples=5", "selector.warmup_share=0.2", "selector.warmup_epochs=1", "selector.projection_dim=64"),
    *("audit=none", "student.device=cpu", "tuning.precision=fp32"),
)


@pytest.fixture
def opened(experiment_config, tmp_path):
    return lambda *more: open_experiment(experiment_config(*CELL, *more, f"paths.store={tmp_path / 'store'}"))


def planned(experiment):
    return plan_experiment(experiment, None, experiment.pool).rounds[0].selection


def digests(experiment):
    return {stage.name: stage.digest for stage in planned(experiment).walk()}


class WatchedModels(Models):
    """Notes how many students are held while one is tuned."""

    beside: ClassVar[list[int]] = []

    @property
    def fit(self):
        return lambda job, **options: (self.beside.append(self._student is not None), fit(job, **options))[1]


def test_an_experiment_selects_by_gradients_and_the_student_is_left_as_it_was(experiment_config, tmp_path):
    config = experiment_config(*CELL, f"paths.store={tmp_path / 'store'}")
    models = WatchedModels(config)
    experiment = open_experiment(config, models)
    before = {name: weight.clone() for name, weight in models.student(None).model.state_dict().items()}
    selection = planned(experiment)
    chosen = selection.result().rows(Selected)
    assert len({row.id for row in chosen}) == 5 and all(row.reason == "nearest" for row in chosen)
    assert -1 <= chosen[-1].score <= chosen[0].score <= 1
    assert models.beside == [False]  # the warm-up loads the student, and has the memory to itself
    after = models.student(None).model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    stored = selection.needs["gradients"].result()
    vectors = SampleVectors.load(stored.path).values
    assert vectors.dtype == np.float16 and vectors.shape == (40, 64)
    accounting = WarmUp(experiment, experiment.pool).result().manifest()["accounting"]
    assert accounting == {"in": 40, "ok": 8, "failed": {}, "skipped": {"not drawn": 32, "meets the task": 0}}


def test_warm_up_and_gradients_of_the_pool_are_one_for_all_tasks_budgets_and_seeds(opened):
    first, other = digests(opened()), digests(opened("task=micro/frames", "seed=5", "budget.num_samples=7"))
    assert first["warm_up"] == other["warm_up"] and first["gradients"] == other["gradients"]
    assert first["validation_gradients"] != other["validation_gradients"]
    assert digests(opened("selector.seed=1"))["warm_up"] != first["warm_up"]


def test_a_sample_that_overlaps_the_task_is_left_out_of_the_warm_up(opened):
    experiment = opened()
    pool = experiment.pool
    plain = WarmUp(experiment, pool)
    drawn, _ = plain.draw()
    rest = [id for id in pool.ids() if id not in drawn]
    same = WarmUp(experiment, Candidates(pool, frozenset(rest[:2])))
    assert same.draw() == (drawn, set()) and same.digest == plain.digest
    other = WarmUp(experiment, Candidates(pool, frozenset(drawn[:1])))
    assert other.draw() == (drawn, {drawn[0]}) and other.digest != plain.digest


def test_a_share_that_is_none_is_refused(opened):
    with pytest.raises(ValueError, match=r"selector.warmup_share is 1.5: choose a part of the pool"):
        experiment = opened("selector.warmup_share=1.5")
        WarmUp(experiment, experiment.pool).draw()


def test_the_released_formula_is_that_of_the_released_code():
    """No correction for the start, epsilon inside the root: by hand, and far from the other for small gradients."""
    moments = Moments(
        weights={},
        first={"w": torch.tensor([1e-5, -2e-5])},
        second={"w": torch.tensor([1e-10, 4e-10])},
        step=3,
        betas=(0.9, 0.999),
        eps=1e-8,
        learning_rate=1.0,
    )
    gradient = torch.tensor([[2e-5, 3e-4]])
    found = moments.direction("w", gradient, AdamFormula.released)[0]
    mean = [0.9 * 1e-5 + 0.1 * 2e-5, 0.9 * -2e-5 + 0.1 * 3e-4]
    square = [0.999 * 1e-10 + 0.001 * 4e-10, 0.999 * 4e-10 + 0.001 * 9e-8]
    assert found.tolist() == pytest.approx([m / (s + 1e-8) ** 0.5 for m, s in zip(mean, square, strict=True)], rel=1e-4)
    other = moments.direction("w", gradient, AdamFormula.paper)[0]
    assert torch.nn.functional.cosine_similarity(found, other, dim=0) < 0.99
