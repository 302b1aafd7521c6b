"""Time answers and LoRA tuning at full size on one GPU, with random weights, against one at a time and against transformers' Trainer.

    python scripts/bench_gpu.py [--out docs/bench_gpu.json]     # one GPU of 80 GB or more, under 10 minutes, no network
    python scripts/bench_gpu.py --tiny                          # the same code on a CPU with tiny shapes

Both trainings have the same weights, LoRA, samples, collator, batch, number format and attention, and run one after the other in
this process; pictures are decoded and resized as in life. The share of the peak takes the least arithmetic of a step
(`gpu_shapes.flops`), the same for both. The last line is JSON, and `--out` keeps it.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from delamo.tuning.recipe import Recipe
from gpu_shapes import NUM_WORDS, SHAPES, Counts, Lengths, count, flops
from PIL import Image

from delamo.models.hf.collator import IGNORED, Collator
from delamo.models.hf.processors import load_processor
from delamo.models.students.local import Student
from delamo.records import Sample
from delamo.tuning import fit as tuning
from delamo.tuning.job import Job
from delamo.tuning.trainable import make_trainable

PEAKS = {"H200": 989.4e12, "H100 80GB HBM3": 989.4e12, "GH200": 989.4e12, "A100": 312e12, "L40S": 362.05e12}
"""Dense bf16 operations a second by NVIDIA's data sheets; of another device a large product of matrices is timed instead."""
PACKAGES = ("torch", "transformers", "peft", "pytorch-lightning", "accelerate", "numpy", "pillow")
WORDS_ASKED, WORDS_REPLIED = (20, 90), (40, 200)
"""Least and most words of a question and of a reply: with the picture's 576 tokens, about Vision-Flan's lengths."""


@dataclass(slots=True)
class Stand:
    """One shape, ready: everything that a measurement needs."""

    args: argparse.Namespace
    name: str
    config: Any
    processor: Any
    samples: list[Sample]
    folder: Path
    device: str

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.device == "cuda" else torch.float32

    def build(self) -> Any:
        """The model with the weights of one seed, made on the device."""
        from transformers import AutoModelForImageTextToText, GenerationConfig

        reset(self.device)  # the model before
        torch.manual_seed(0)
        with torch.device(self.device):
            model = AutoModelForImageTextToText.from_config(self.config, dtype=self.dtype, attn_implementation="sdpa")
        tokenizer = self.processor.tokenizer
        with torch.no_grad():  # a reply then ends at its limit alone, and all sides write as many tokens
            model.get_output_embeddings().weight[tokenizer.eos_token_id] = 0
        ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
        model.generation_config = GenerationConfig(do_sample=False, **ends)
        return model.to(self.device).eval()

    def recipe(self) -> Recipe:
        """LLaVA's LoRA recipe (conf/tuning/llava_lora.yaml)."""
        args = self.args
        return Recipe(
            lora_rank=4 if args.tiny else 128,
            lora_alpha=8 if args.tiny else 256,
            lora_dropout=0.05,
            learning_rate=2e-4,
            projector_learning_rate=2e-5,
            batch_size=args.micro_batch * args.accumulation,
            micro_batch_size=args.micro_batch,
            epochs=1,
            warmup_ratio=0.03,
            weight_decay=0.0,
            gradient_clip=1.0,
            max_length=2048,
            dtype="bfloat16" if self.device == "cuda" else "float32",
            precision="bf16" if self.device == "cuda" else "32",
            gradient_checkpointing=args.gradient_checkpointing,
            target_modules="language_model",
            resume="never",
            num_workers=args.workers,
        )


def measure(stand: Stand, left: Any) -> dict[str, Any]:
    """All numbers of one shape; a part for which no time is left is None."""
    lengths = [lengths_of(stand, sample) for sample in stand.samples]
    result: dict[str, Any] = {"mean_tokens": round(float(np.mean([one.all for one in lengths])), 1)}
    result["answers"] = answers(stand) if left() else None
    ours = train_ours(stand, lengths) if left() else None
    theirs = train_theirs(stand, lengths) if ours and left() else None
    result |= {"delamo": ours, "transformers_trainer": theirs}
    if theirs:
        result["ratio_to_trainer"] = round(ours["samples_per_s"] / theirs["samples_per_s"], 3)
    return result


def lengths_of(stand: Stand, sample: Sample) -> Lengths:
    """A sample's tokens, as the collator makes them."""
    batch = Collator(stand.processor, None)([sample])
    picture = int((batch["input_ids"] == stand.config.image_token_id).sum())
    grid, vision = batch.get("image_grid_thw"), stand.config.vision_config
    patches = int(grid.prod()) if grid is not None else (vision.image_size // vision.patch_size) ** 2 + 1
    return Lengths(int(batch["attention_mask"].sum()), int((batch["labels"] != IGNORED).sum()), picture, patches)


def answers(stand: Stand) -> dict[str, Any]:
    """Replies a second in batches, and one at a time on some of the same samples."""
    args = stand.args
    student = Student(stand.build(), stand.processor, "bench", "paper", max_image_pixels=None)
    options = {"max_new_tokens": args.max_new_tokens, "temperature": 0.0, "seed": 0}
    seconds = {}
    for name, size, number in (("batched", args.batch_size, args.answers), ("single", 1, args.single)):
        student.generate(stand.samples[: min(size, 2)], batch_size=size, **options)  # warm-up
        with timed(stand.device) as clock:
            replies = student.generate(stand.samples[:number], batch_size=size, **options)
        if any(reply.num_tokens != args.max_new_tokens for reply in replies):
            raise SystemExit("replies of unequal length: the two sides would not do the same work")
        seconds[name] = clock.seconds / number
    return {
        "per_s_batched": round(1 / seconds["batched"], 3),
        "per_s_single": round(1 / seconds["single"], 3),
        "ratio": round(seconds["single"] / seconds["batched"], 2),
        "batch_size": args.batch_size,
        "tokens_each": args.max_new_tokens,
        "peak_memory_gib": peak_memory(stand.device),
    }


def train_ours(stand: Stand, lengths: Sequence[Lengths]) -> dict[str, Any]:
    """Tuning as `delamo run` does it."""
    from pytorch_lightning.callbacks import Callback

    how, stamps = stand.recipe(), []

    class Clock(Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if (batch_idx + 1) % how.accumulation() == 0:
                stamps.append(now(stand.device))

    job = Job(
        student_path=str(stand.folder),
        revision=None,
        device=stand.device,
        attn="sdpa",
        max_image_pixels=None,
        seed=0,
        start_from=None,
        out_dir=stand.folder / "adapter",
        checkpoints=None,
        resume_from=None,
        how=how,
        samples=stand.samples,
        lengths=[one.all for one in lengths],
    )
    model = stand.build()
    reset(stand.device)
    module, _, batches = tuning._fit(job, model, stand.processor, None, [Clock()])
    found = rates(stand, stamps, module.model, lengths)
    return found | {"padding": round(tuning.padding_share(batches, job.lengths), 4), "loss": module.final_loss()}


def train_theirs(stand: Stand, lengths: Sequence[Lengths]) -> dict[str, Any]:
    """transformers' Trainer with its own sampler, loss and optimiser, on the same model with the same LoRA."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    how, stamps = stand.recipe(), []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **more: Any) -> None:
            stamps.append(now(stand.device))

    model = make_trainable(stand.build(), None, how)
    arguments = TrainingArguments(
        output_dir=str(stand.folder / "trainer"),
        per_device_train_batch_size=how.micro_batch_size,
        gradient_accumulation_steps=how.accumulation(),
        num_train_epochs=1,
        learning_rate=how.learning_rate,
        lr_scheduler_type="cosine",
        max_grad_norm=how.gradient_clip,
        weight_decay=how.weight_decay,
        bf16=stand.device == "cuda",
        use_cpu=stand.device == "cpu",
        gradient_checkpointing=how.gradient_checkpointing,
        dataloader_num_workers=how.num_workers,
        remove_unused_columns=False,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=0,
    )
    reset(stand.device)
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=stand.samples,
        data_collator=Collator(stand.processor, None),
        callbacks=[Clock()],
    )
    loss = trainer.train().training_loss
    return rates(stand, stamps, model, lengths) | {"loss": loss}


def rates(stand: Stand, stamps: Sequence[float], model: Any, lengths: Sequence[Lengths]) -> dict[str, Any]:
    """Samples a second after the warm-up, and what share of the peak that is."""
    warmup, batch = stand.args.warmup_steps, stand.args.micro_batch * stand.args.accumulation
    seconds = (stamps[-1] - stamps[warmup - 1]) / (len(stamps) - warmup)
    each = float(np.mean([flops(counts_of(model), one) for one in lengths]))
    achieved = each * batch / seconds
    return {
        "samples_per_s": round(batch / seconds, 3),
        "seconds_per_step": round(seconds, 4),
        "steps_timed": len(stamps) - warmup,
        "teraflops_per_sample": each / 1e12,
        "teraflops_per_s": achieved / 1e12,
        "share_of_peak": achieved / stand.args.peak,
        "peak_memory_gib": peak_memory(stand.device),
    }


def counts_of(model: Any) -> Counts:
    """Of the model below its adapter, as its config alone makes it, and of the adapter."""
    from transformers import AutoModelForImageTextToText

    lora = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
    with torch.device("meta"):
        bare = AutoModelForImageTextToText.from_config(model.config)
    return count(bare, lora)


def make_samples(folder: Path, number: int, tiny: bool) -> list[Sample]:
    """Questions and replies of random words, each with a picture of its own."""
    rng = np.random.default_rng(0)
    width, height = (40, 32) if tiny else (640, 480)

    def words(bounds: tuple[int, int]) -> str:
        n = int(rng.integers(*(bound // 10 + 1 for bound in bounds) if tiny else bounds))
        return " ".join(f"w{i}" for i in rng.integers(0, NUM_WORDS, n))

    samples = []
    for index in range(number):
        path = folder / f"{index:05d}.jpg"
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path, quality=85)
        fields = {"instruction": words(WORDS_ASKED), "answer": words(WORDS_REPLIED)}
        samples.append(Sample(id=f"s{index:05d}", image=str(path), **fields))
    return samples


@dataclass(slots=True)
class Clock:
    """What `timed` measured."""

    seconds: float = 0.0


@contextmanager
def timed(device: str) -> Iterator[Clock]:
    """Wall time, the device's work included."""
    reset(device)
    clock, start = Clock(), now(device)
    yield clock
    clock.seconds = now(device) - start


def now(device: str) -> float:
    """The time when all that was asked of the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def reset(device: str) -> None:
    """Forget models that are no longer used, and the peak of memory."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory(device: str) -> float | None:
    """GiB on the GPU since the last reset; None on a CPU."""
    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if device == "cuda" else None


def product_rate(device: str, size: int, dtype: torch.dtype) -> float:
    """Operations a second of a product of two square matrices."""
    left = torch.randn(size, size, device=device, dtype=dtype)
    for _ in range(3):
        left @ left
    start, repeats = now(device), 20
    for _ in range(repeats):
        left @ left
    return repeats * 2 * size**3 / (now(device) - start)


def machine(device: str) -> dict[str, Any]:
    """What the numbers depend on."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    return {"gpu": gpu, "cuda": torch.version.cuda, "python": platform.python_version(), "versions": versions}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="tiny shapes on a CPU: whether it runs, not how fast")
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--batch-size", type=int, default=32, help="of answers")
    parser.add_argument("--answers", type=int, default=64)
    parser.add_argument("--single", type=int, default=6, help="answers one at a time")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--train-samples", type=int, default=256)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--accumulation", type=int, default=2)
    parser.add_argument("--warmup-steps", type=int, default=3)
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--limit-s", type=float, default=480, help="no part is begun after that many seconds")
    args = parser.parse_args()
    if args.tiny:
        vars(args).update(batch_size=4, answers=4, single=2, max_new_tokens=4, workers=0)
        vars(args).update(train_samples=12, micro_batch=2, accumulation=1, warmup_steps=2)
    return args


def main() -> None:
    args, started = parse(), time.perf_counter()
    device = "cpu" if args.tiny else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA GPU: this measures one; --tiny runs the same code on a CPU")
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    measured = product_rate(device, 8192 if device == "cuda" else 128, dtype)
    facts = machine(device)
    args.peak = next((peak for name, peak in PEAKS.items() if name in (facts["gpu"] or "")), measured)
    result = {"command": " ".join(["python", *sys.argv]), "tiny": args.tiny, **facts}
    result |= {"peak_teraflops": args.peak / 1e12, "product_teraflops": measured / 1e12, "shapes": {}}
    for name in args.shapes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            config = SHAPES[name](place, tiny=args.tiny)
            samples = make_samples(place, args.train_samples, args.tiny)
            stand = Stand(args, name, config, load_processor(str(place), revision=None), samples, place, device)
            found = measure(stand, lambda: time.perf_counter() - started < args.limit_s)
        result["shapes"][name] = found
        print(f"{name}: {json.dumps(found)}", flush=True)
    result["seconds"] = round(time.perf_counter() - started, 1)
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
