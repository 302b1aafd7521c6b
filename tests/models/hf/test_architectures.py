"""The whole loop on a tiny random instance of every architecture: answer, tune, evaluate, save, load, merge."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from support.configs import node
from support.recipes import tune
from support.tiny_architectures import ARCHITECTURES, save

from delamo.models.hf.adapter import load_adapter
from delamo.models.hf.collator import IGNORED, Collator
from delamo.models.hf.components import component, language_model
from delamo.models.hf.loading import load_base
from delamo.models.hf.processors import check_batch
from delamo.models.scorers.losses import by_batches, scored_logits
from delamo.models.students.answers import ask
from delamo.models.students.local import Student
from delamo.records import Sample

RECIPE = {
    "lora_rank": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.0,
    "learning_rate": 1e-2,
    "projector_learning_rate": 1e-3,
    "batch_size": 2,
    "micro_batch_size": 2,
    "epochs": 1,
    "warmup_ratio": 0.0,
    "weight_decay": 0.0,
    "gradient_clip": 1.0,
    "max_length": None,
    "precision": "32",
    "gradient_checkpointing": True,
    "target_modules": "language_model",
    "resume": "never",
    "num_workers": 0,
}
MICRO = node("student", "micro", max_new_tokens=6, batch_size=3)
GREEDY = {"max_new_tokens": 6, "temperature": 0.0, "seed": 0}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Pictures of unequal size and shape, one sample of text alone."""
    folder = tmp_path_factory.mktemp("pictures")
    rows = []
    for number, size in enumerate([(40, 24), (16, 16), (20, 60), None]):
        if size:
            Image.new("RGB", size, (70 * number, 10, 200)).save(folder / f"{number}.png")
        rows.append(
            Sample(
                id=f"s{number}",
                instruction=f"Is it big? {'Look again. ' * number}",
                answer="yes it is" if number % 2 else "no",
                options=("yes", "no"),
                gold=number % 2,
                image=str(folder / f"{number}.png") if size else None,
            )
        )
    return rows


@pytest.fixture(scope="module", params=ARCHITECTURES)
def base(request, tmp_path_factory):
    return save(request.param, tmp_path_factory.mktemp("student") / request.param)


@pytest.fixture(scope="module")
def student(base):
    return Student.load(replace(MICRO, path=str(base)))


def load(path):
    return load_base(str(path), revision=None, dtype="float32", device="cpu", attn="sdpa")


def reply_losses(student, samples, *, batch_size):
    """(sum over the reply's tokens in nats, number of tokens) of each sample, without generation."""

    def work(batch):
        labels = batch.pop("labels")
        logits, tokens, rows = scored_logits(student.model, batch, labels)
        losses = torch.nn.functional.cross_entropy(logits, tokens, reduction="none").double()
        totals = torch.zeros(len(labels), dtype=torch.float64).index_add(0, rows, losses)
        return list(zip(totals.tolist(), torch.bincount(rows, minlength=len(labels)).tolist(), strict=True))

    scores = dict(by_batches(student, samples, batch_size, work))
    return [scores[index] for index in range(len(samples))]


def test_the_loop(base, student, samples, tmp_path):
    answers, bad = ask(student, samples, MICRO, stage="answers", seed=0)
    assert [row.id for row in answers] == [row.id for row in samples] and bad == []
    alone = [student.generate([sample], batch_size=1, **GREEDY)[0].text for sample in samples]
    assert [answer.text for answer in answers] == alone

    result = tune(str(base), samples, tmp_path / "adapter", seed=1, **RECIPE)
    assert result.steps == 2 and result.quarantined == [] and set(result.trainable) == {"language_model", "projector"}

    model, processor = load(base)
    batch = Collator(processor, None)(samples[:3])
    labels = batch.pop("labels")
    with torch.inference_mode():
        untuned = model(**batch).logits
        tuned = load_adapter(model, tmp_path / "adapter")
        adapted = tuned(**batch).logits
        assert (adapted - untuned).abs().max() > 1e-2 and (labels != IGNORED).any()
        merged = Student.load(replace(MICRO, path=str(base)), adapter=tmp_path / "adapter")
        assert (merged.model(**batch).logits - adapted).abs().max() < 1e-4
    answers, bad = ask(merged, samples, MICRO, stage="evaluation", seed=0)
    assert len(answers) == len(samples) and bad == []
    before, after = (
        sum(total / count for total, count in reply_losses(model, samples, batch_size=2)) for model in (student, merged)
    )
    assert after < before


def test_every_tensor_of_the_processor_reaches_the_model(student, samples):
    for sample in (samples[0], samples[3]):
        prompt, picture = student._read(sample)
        bare = student.processor(text=[prompt], images=[picture] if picture else None, return_tensors="pt")
        assert set(student._encode([(prompt, picture)])) == set(bare)
        assert set(Collator(student.processor, None)([sample])) == set(bare) | {"labels"}
    if getattr(student.processor, "return_mm_token_type_ids", False):
        with pytest.raises(ValueError, match="no mm_token_type_ids"):
            check_batch(student.processor, {key: bare[key] for key in bare if key != "mm_token_type_ids"})


def test_the_loss_is_on_the_reply_and_its_end_alone(student, samples):
    batch, tokenizer = Collator(student.processor, None)(samples[:3]), student.processor.tokenizer
    for row, sample in zip(batch["labels"], samples, strict=False):
        assert tokenizer.decode(row[row != IGNORED]).strip() == f"{sample.answer}{tokenizer.eos_token}"
    with torch.inference_mode():
        whole_loss = student.model(**batch).loss.item()
    totals, counts = zip(*reply_losses(student, samples[:3], batch_size=2), strict=True)
    assert whole_loss == pytest.approx(sum(totals) / sum(counts), rel=1e-4)


def test_losses_and_hidden_states_do_not_depend_on_the_batch(student, samples):
    losses = [reply_losses(student, samples, batch_size=size) for size in (1, 8)]
    pooled = [{"layer": -1, "pooling": "mean", "batch_size": size} for size in (1, 4)]
    states = [dict(student.hidden_states(samples, **options)) for options in pooled]
    for i in range(4):
        assert losses[0][i][0] == pytest.approx(losses[1][i][0], abs=1e-3) and losses[0][i][1] == losses[1][i][1]
        assert states[0][i].shape == (32,) and np.allclose(states[0][i], states[1][i], atol=1e-4)


def test_the_projector_stays_where_it_is_unless_asked(base, samples, tmp_path):
    result = tune(str(base), samples[:2], tmp_path / "adapter", seed=1, **{**RECIPE, "projector_learning_rate": None})
    model, _ = load(base)
    name = language_model(model)
    linears = [
        module
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and component(path, name) == "language_model"
    ]
    expected = sum(4 * (module.in_features + module.out_features) for module in linears)
    assert result.trainable == {"language_model": expected} and len(linears) == 14  # 2 layers of 4 + 3
