"""Tuning on a tiny LLaVA: what is learned, what is saved, what is refused, and that a kill changes nothing."""

import gc
import json
from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.configs import node
from support.recipes import RECIPE
from support.recipes import tune as tune_tiny
from support.tiny_models import save_tiny_llava
from transformers import LlavaForConditionalGeneration

from delamo.models.hf.adapter import check_adapter, load_adapter
from delamo.models.hf.collator import IGNORED, Collator
from delamo.models.hf.loading import load_base
from delamo.models.students.local import Student
from delamo.records import Sample
from delamo.tuning import checkpoints
from delamo.tuning import fit as tuning


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny_llava(tmp_path_factory.mktemp("student") / "tiny")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Ten pictured samples and two of text alone."""
    folder = tmp_path_factory.mktemp("pictures")
    rows = []
    for number in range(12):
        path = folder / f"{number}.png"
        Image.new("RGB", (16, 16), (20 * number, 10, 200)).save(path)
        picture = str(path) if number < 10 else None
        question = f"What digit is in the middle? {'Which? ' * (number % 4)}"
        rows.append(Sample(id=f"p{number}", instruction=question, answer=f"It is {number}.", image=picture))
    return rows


def tune(base, samples, out, **changes):
    return tune_tiny(base, samples, out, seed=3, **{**RECIPE, **changes})


def load(path):
    return load_base(str(path), revision=None, dtype="float32", device="cpu", attn="sdpa")


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_the_loss_is_on_the_reply_and_its_end_alone(base, samples):
    _, processor = load(base)
    batch = Collator(processor, None)(samples[:3])
    for row, sample in zip(batch["labels"], samples, strict=False):
        assert processor.tokenizer.decode(row[row != IGNORED]).strip() == f"{sample.answer}</s>"
    assert batch["pixel_values"].shape[0] == 3


def test_the_adapter_loads_with_plain_peft_and_changes_the_model(base, samples, tmp_path):
    from peft import PeftModel

    result = tune(base, samples, tmp_path / "adapter")
    model, _ = load(base)
    inputs = {"input_ids": torch.tensor([[5, 6, 7]])}
    before = model(**inputs).logits
    tuned = PeftModel.from_pretrained(model, tmp_path / "adapter")
    assert (tuned(**inputs).logits - before).abs().max() > 1e-3
    assert set(result.trainable) == {"language_model"}
    assert result.steps == 6 and result.quarantined == []
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        base
    )
    assert sorted(f.name for f in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    merged = Student.load(node("student", "micro", path=str(base)), adapter=tmp_path / "adapter")
    assert (merged.model(**inputs).logits - tuned(**inputs).logits).abs().max() < 1e-4


def test_nothing_of_the_model_is_left_when_tuning_is_over(base, samples, tmp_path):
    """It is loaded next, and twice may not fit."""

    def alive():
        return sum(type(thing) is LlavaForConditionalGeneration for thing in gc.get_objects())

    gc.collect()
    before = alive()
    tune(base, samples[:4], tmp_path / "adapter", epochs=1)
    assert alive() == before


def test_one_seed_gives_one_adapter(base, samples, tmp_path):
    for name in ("a", "b"):
        tune(base, samples, tmp_path / name)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))


class Kill(pl.Callback):
    def __init__(self, batch=6):
        self.batch = batch

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if batch_idx == self.batch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_killed_run_goes_on_to_the_same_adapter(base, samples, tmp_path, monkeypatch, num_workers):
    """In mid-epoch and between two steps of the optimiser, dropout and all."""
    tune(base, samples, tmp_path / "whole", lora_dropout=0.1)
    again = {"lora_dropout": 0.1, "num_workers": num_workers, "checkpoints": tmp_path / "ckpt"}
    monkeypatch.setattr(checkpoints, "EVERY_N_STEPS", 1)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        tune(base, samples, tmp_path / "killed", callbacks=[Kill()], **again)
    assert list((tmp_path / "ckpt").glob("*.ckpt")) and not (tmp_path / "killed").exists()
    resumed = tune(base, samples, tmp_path / "killed", **{**again, "resume": "must"})
    assert resumed.steps == 6
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert not (tmp_path / "ckpt").exists()


def test_the_last_two_checkpoints_are_kept_and_the_older_one_serves_when_the_newer_is_torn(
    base, samples, tmp_path, monkeypatch
):
    """Over two kills: what a run was resumed from is not kept for good, nor saved again in the middle of a step."""
    tune(base, samples, tmp_path / "whole", lora_dropout=0.1, epochs=4)
    again = {"lora_dropout": 0.1, "epochs": 4, "checkpoints": tmp_path / "ckpt"}
    monkeypatch.setattr(checkpoints, "EVERY_N_STEPS", 1)

    def kept():
        return sorted(path.stem for path in (tmp_path / "ckpt").iterdir())

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        tune(base, samples, tmp_path / "killed", callbacks=[Kill(10)], **again)
    assert kept() == ["step=00000004", "step=00000005"]
    (tmp_path / "ckpt" / "step=00000005.ckpt").write_bytes(b"torn")
    with pytest.warns(UserWarning, match="falling back"), pytest.raises((KeyboardInterrupt, SystemExit)):
        tune(base, samples, tmp_path / "killed", callbacks=[Kill(17)], **again)
    assert kept() == ["step=00000007", "step=00000008"]
    resumed = tune(base, samples, tmp_path / "killed", **{**again, "resume": "must"})
    assert resumed.steps == 12
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def test_what_does_not_fit_is_counted_before_the_first_step(base, samples, tmp_path):
    long = replace(samples[0], id="long", instruction="word " * 600)
    broken = replace(samples[0], id="broken", image=str(tmp_path / "missing.png"))
    result = tune(base, [*samples[:4], long, broken], tmp_path / "adapter", epochs=1)
    assert [(row.id, row.reason) for row in result.quarantined] == [("long", "too long"), ("broken", "image missing")]
    with pytest.raises(ValueError, match="none of the 1 selected samples"):
        tune(base, [long], tmp_path / "none")


def test_a_selection_that_shrinks_for_its_length_is_said_aloud(base, samples, tmp_path, capsys):
    _, lengths, _, _ = tuning.check_samples(Collator(load(base)[1], None), samples, 1e9)
    most = sorted(lengths)[-2] - 1
    assert sum(length > most for length in lengths) / len(samples) > 0.1
    result = tune(base, samples, tmp_path / "few", epochs=1, max_length=most)
    said = capsys.readouterr().err
    assert f"leaves out {len(result.quarantined)} of 12 selected samples, each longer than {most} tokens" in said
    assert "tuning.max_length=null" in said
    long = [replace(samples[0], id=f"long{number}", instruction="word " * 600) for number in range(2)]
    tune(base, [*samples, *long], tmp_path / "context", epochs=1)
    said = capsys.readouterr().err
    assert "leaves out 2 of 14" in said and "(the model's context)" in said and "tuning.max_length=" not in said
    tune(base, [*samples, long[0]], tmp_path / "one", epochs=1)
    assert "leaves out" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_modules": "no_such_module"}, "tuning.target_modules is no_such_module"),
        ({"batch_size": 3}, "tuning.batch_size is 3"),
    ],
)
def test_bad_recipes_name_the_key(base, samples, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        tune(base, samples, tmp_path / "adapter", **changes)


def test_an_adapter_can_be_continued(base, samples, tmp_path):
    tune(base, samples, tmp_path / "first", epochs=1)
    tune(base, samples, tmp_path / "second", epochs=1, start_from=tmp_path / "first")
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert first.keys() == second.keys() and not same(first, second)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: {k: torch.full_like(v, torch.nan) for k, v in t.items()}, "not finite"),
        (lambda t: {k: torch.zeros_like(v) for k, v in t.items()}, "changes nothing"),
        (lambda t: {k.replace("layers.0", "layers.7"): v for k, v in t.items()}, "does not fit"),
        (lambda t: dict(list(t.items())[: len(t) // 2]), "does not fit"),
    ],
)
def test_an_adapter_that_would_pass_for_the_base_is_an_error(base, samples, tmp_path, spoil, message):
    tune(base, samples[:4], tmp_path / "adapter", epochs=1)
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file(spoil(load_file(file)), file)
    model, _ = load(base)
    with pytest.raises(ValueError, match=message):
        load_adapter(model, tmp_path / "adapter")


def test_full_tuning_trains_all_but_the_vision_tower_and_loads_by_the_same_path(base, samples, tmp_path):
    full = {"method": "full", "projector_learning_rate": 1e-3, "learning_rate": 1e-3}
    result = tune(base, samples, tmp_path / "first", epochs=1, **full)
    model, _ = load(base)
    frozen = sum(p.numel() for name, p in model.named_parameters() if "vision_tower" in name)
    assert set(result.trainable) == {"embed_tokens", "language_model", "lm_head", "projector"}
    assert sum(result.trainable.values()) + frozen == sum(p.numel() for p in model.parameters())
    assert sorted(f.name for f in (tmp_path / "first").iterdir()) == ["trained.json", "trained.safetensors"]
    tuned = Student.load(node("student", "micro", path=str(base)), adapter=tmp_path / "first").model.state_dict()
    stored = load_file(tmp_path / "first" / "trained.safetensors")
    assert all(torch.equal(tuned[name], value) for name, value in stored.items())
    tune(base, samples, tmp_path / "second", epochs=1, start_from=tmp_path / "first", **full)
    assert not same(stored, load_file(tmp_path / "second" / "trained.safetensors"))
    with pytest.raises(ValueError, match=r"tuning.method is lora, and .*first was made by another"):
        tune(base, samples, tmp_path / "third", start_from=tmp_path / "first")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: {k: torch.full_like(v, torch.nan) for k, v in t.items()}, "not finite"),
        (lambda t: dict(list(t.items())[1:]), "does not fit"),
    ],
)
def test_trained_weights_are_checked_as_adapters_are(base, samples, tmp_path, spoil, message):
    tune(base, samples[:4], tmp_path / "full", epochs=1, method="full", projector_learning_rate=1e-3)
    file = tmp_path / "full" / "trained.safetensors"
    save_file(spoil(load_file(file)), file)
    with pytest.raises(ValueError, match=message):
        Student.load(node("student", "micro", path=str(base)), adapter=tmp_path / "full")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "qlora"}, "tuning.method is qlora: 4-bit weights need"),
        ({"method": "full", "projector_learning_rate": 1e-5, "dtype": "bfloat16"}, "tuning.dtype is bfloat16: full"),
        ({"method": "full"}, "tuning.projector_learning_rate is null: full"),
        ({"strategy": "fsdp", "dtype": "bfloat16"}, "tuning.dtype is bfloat16: shards hold one number format"),
        ({"strategy": "fsdp"}, "tuning.strategy is fsdp, and this is one process: start it as torchrun"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="qlora can be had here")
def test_choices_that_do_not_go_together_are_refused_before_anything_is_loaded(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        tune("/nowhere", [], tmp_path / "adapter", **changes)


def test_frozen_weights_in_16_bits_carry_an_adapter_in_32(base, samples, tmp_path):
    halves = {"dtype": "bfloat16", "precision": "bf16", "projector_learning_rate": 1e-3}
    result = tune(base, samples[:4], tmp_path / "adapter", **halves)
    assert {value.dtype for value in weights(tmp_path / "adapter").values()} == {torch.float32}
    assert set(result.trainable) == {"language_model", "projector"} and result.facts["dtype"] == "bfloat16"


def test_a_merge_is_exact_where_input_and_output_embeddings_are_one(samples, tmp_path):
    tied = save_tiny_llava(tmp_path / "tied", tied=True)
    tune(tied, samples[:4], tmp_path / "adapter", epochs=1)
    model, _ = load(tied)
    inputs = {"input_ids": torch.tensor([[5, 6, 7]])}
    before = model(**inputs).logits
    adapted = load_adapter(model, tmp_path / "adapter")(**inputs).logits
    merged = Student.load(node("student", "micro", path=str(tied)), adapter=tmp_path / "adapter")
    assert (merged.model(**inputs).logits - adapted).abs().max() < 1e-4 < (adapted - before).abs().max()
    with pytest.raises(ValueError, match="input and output embeddings are one matrix"):
        tune(tied, samples[:4], tmp_path / "other", target_modules=r".*(lm_head|q_proj)")


def test_gradient_checkpointing_changes_no_weight(base, samples, tmp_path):
    for name, value in (("on", True), ("off", False)):
        tune(base, samples[:4], tmp_path / name, epochs=1, gradient_checkpointing=value)
    on, off = weights(tmp_path / "on"), weights(tmp_path / "off")
    assert all(torch.allclose(on[key], off[key], atol=1e-6) for key in on)


def test_a_folder_without_an_adapter_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"adapter_config.json is missing"):
        check_adapter(tmp_path)
