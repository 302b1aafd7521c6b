"""The whole loop on a tiny random instance of every architecture with a preset: answer, tune, evaluate, save, load, merge."""

import math

import numpy as np
import pytest
import torch
from delamo.stages.evaluation import evaluate
from PIL import Image
from support.recipes import tune
from support.tiny_architectures import ARCHITECTURES, save

from delamo.models.hf.adapter import load_adapter
from delamo.models.hf.collator import IGNORED, Collator
from delamo.models.hf.components import component, language_model
from delamo.models.hf.processors import whole
from delamo.models.students.local import Student, load_base
from delamo.records import Sample
from delamo.stages.answers import collect_answers

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
DECODING = {"max_new_tokens": 6, "batch_size": 3}


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
    return Student.load(str(base))


def test_the_loop(base, student, samples, tmp_path):
    answers, bad = collect_answers(student, samples, **DECODING)
    assert [row.id for row in answers] == [row.id for row in samples] and bad == []
    alone = [student.generate([sample], max_new_tokens=6, batch_size=1)[0].text for sample in samples]
    assert [answer.text for answer in answers] == alone

    result = tune(str(base), samples, tmp_path / "adapter", seed=1, **RECIPE)
    assert result.steps == 2 and result.quarantined == [] and set(result.trainable) == {"language_model", "projector"}

    model, processor = load_base(str(base), revision=None, dtype="float32")
    batch = Collator(processor)(samples[:3])
    labels = batch.pop("labels")
    with torch.inference_mode():
        untuned = model(**batch).logits
        tuned = load_adapter(model, tmp_path / "adapter")
        adapted = tuned(**batch).logits
        assert (adapted - untuned).abs().max() > 1e-2 and (labels != IGNORED).any()
        merged = Student.load(str(base), adapter=tmp_path / "adapter")
        assert (merged.model(**batch).logits - adapted).abs().max() < 1e-4
    items, bad = evaluate(merged, samples, **DECODING)
    assert len(items) == len(samples) and bad == []
    losses = [dict(model.reply_scores(samples, batch_size=2)) for model in (student, merged)]
    assert sum(losses[1][i].loss for i in range(4)) < sum(losses[0][i].loss for i in range(4))


def test_every_tensor_of_the_processor_reaches_the_model(student, samples):
    for sample in (samples[0], samples[3]):
        prompt, picture = student._read(sample)
        bare = student.processor(text=[prompt], images=[picture] if picture else None, return_tensors="pt")
        assert set(student._encode([(prompt, picture)])) == set(bare)
        assert set(Collator(student.processor)([sample])) == set(bare) | {"labels"}
    if getattr(student.processor, "return_mm_token_type_ids", False):
        with pytest.raises(ValueError, match="no mm_token_type_ids"):
            whole(student.processor, {key: bare[key] for key in bare if key != "mm_token_type_ids"})


def test_the_loss_is_on_the_reply_and_its_end_alone(student, samples):
    batch, tokenizer = Collator(student.processor)(samples[:3]), student.processor.tokenizer
    for row, sample in zip(batch["labels"], samples, strict=False):
        assert tokenizer.decode(row[row != IGNORED]).strip() == f"{sample.answer}{tokenizer.eos_token}"
    with torch.inference_mode():
        whole_loss = student.model(**batch).loss.item()
    scores = dict(student.reply_scores(samples[:3], batch_size=2))
    total = sum(score.log_likelihood for score in scores.values()) / sum(score.num_tokens for score in scores.values())
    assert whole_loss == pytest.approx(-total, rel=1e-4)


def test_scores_and_hidden_states_do_not_depend_on_the_batch(student, samples):
    options = [dict(student.option_scores(samples, batch_size=size)) for size in (1, 8)]
    states = [dict(student.hidden_states(samples, batch_size=size)) for size in (1, 4)]
    for i in range(4):
        assert len(options[0][i]) == 2 and all(math.isfinite(score.loss) for score in options[0][i])
        for one, other in zip(options[0][i], options[1][i], strict=True):
            assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-3)
        assert states[0][i].shape == (32,) and np.allclose(states[0][i], states[1][i], atol=1e-4)


def test_the_projector_stays_where_it_is_unless_asked(base, samples, tmp_path):
    result = tune(str(base), samples[:2], tmp_path / "adapter", seed=1, **{**RECIPE, "projector_learning_rate": None})
    model, _ = load_base(str(base), revision=None, dtype="float32")
    name = language_model(model)
    linears = [
        module
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and component(path, name) == "language_model"
    ]
    expected = sum(4 * (module.in_features + module.out_features) for module in linears)
    assert result.trainable == {"language_model": expected} and len(linears) == 14  # 2 layers of 4 + 3
