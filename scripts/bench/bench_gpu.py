"""Time answers and LoRA tuning at full size on one GPU, with random weights.

    python scripts/bench/bench_gpu.py [--out docs/bench_gpu.json]     # a GPU of 80 GB, under 10 minutes, no network
    python scripts/bench/bench_gpu.py --tiny                          # the same code on a CPU with tiny shapes

Batches of answers are compared with one answer at a time, and tuning with transformers' Trainer. Both trainings have
the same weights, LoRA, samples, collator, batch, number format and attention, and run one after the other in this
process; images are decoded and resized as in use. The share of the peak takes the least arithmetic of a step
(`gpu_shapes.flops`), the same for both. The last line is JSON, and `--out` keeps it.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_shapes import NUM_WORDS, SHAPES, Counts, Lengths, count, flops
from PIL import Image

import delamo
from delamo.models.hf.collator import IGNORED, Collator
from delamo.models.hf.processors import load_processor
from delamo.models.students.local import Student
from delamo.records import Sample
from delamo.tuning.batches import padding_fraction
from delamo.tuning.config import Precision, TuningConfig
from delamo.tuning.fit import prepare, quiet_lightning
from delamo.tuning.job import TuningJob
from delamo.tuning.trainable import make_trainable

PEAKS = {"H200": 989.4e12, "H100 80GB HBM3": 989.4e12, "GH200": 989.4e12, "A100": 312e12, "L40S": 362.05e12}
"""Dense bf16 operations per second by NVIDIA's data sheets; for another device a large matrix product is timed."""
PACKAGES = ("torch", "transformers", "peft", "pytorch-lightning", "accelerate", "numpy", "pillow")
QUESTION_WORDS, REPLY_WORDS = (20, 90), (40, 200)
"""Least and most words: with the image's 576 tokens, about Vision-Flan's lengths."""


@dataclass(slots=True)
class Setup:
    """One shape, ready: everything that a measurement needs."""

    args: argparse.Namespace
    name: str
    config: Any
    processor: Any
    samples: list[Sample]
    folder: Path
    device: str

    collator: Collator = field(init=False)

    def __post_init__(self) -> None:
        self.collator = Collator(self.processor, None)

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the frozen weights."""
        return torch.bfloat16 if self.device == "cuda" else torch.float32

    def build(self) -> Any:
        """Make the model on the device, its weights those of one seed."""
        from transformers import AutoModelForImageTextToText, GenerationConfig

        reset(self.device)  # of the model before
        torch.manual_seed(0)
        with torch.device(self.device):
            model = AutoModelForImageTextToText.from_config(self.config, dtype=self.dtype, attn_implementation="sdpa")
        tokenizer = self.processor.tokenizer
        with torch.no_grad():  # a reply then ends at its limit alone, and all sides write as many tokens
            model.get_output_embeddings().weight[tokenizer.eos_token_id] = 0
        ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
        model.generation_config = GenerationConfig(do_sample=False, **ends)
        return model.to(self.device).eval()

    def tuning(self) -> TuningConfig:
        """Return LLaVA's LoRA recipe, with the batch of the command line."""
        args = self.args
        config = delamo.compose("tuning=llava_lora").tuning
        config = dataclasses.replace(
            config,
            batch_size=args.micro_batch * args.accumulation,
            micro_batch_size=args.micro_batch,
            max_length=2048,
            gradient_checkpointing=args.gradient_checkpointing,
            resume="never",
            num_workers=args.workers,
        )
        if not args.tiny:
            return config
        on_cpu = {"dtype": type(config.dtype).float32, "precision": Precision.fp32}
        return dataclasses.replace(config, lora_rank=4, lora_alpha=8, **on_cpu)


def measure(setup: Setup, has_time: Callable[[], bool]) -> dict[str, Any]:
    """Measure one shape; a part for which no time is left is None."""
    lengths = [lengths_of(setup, sample) for sample in setup.samples]
    result: dict[str, Any] = {"mean_tokens": round(float(np.mean([sample.all for sample in lengths])), 1)}
    result["answers"] = time_answers(setup) if has_time() else None
    ours = train_ours(setup, lengths) if has_time() else None
    theirs = train_theirs(setup, lengths) if ours and has_time() else None
    result |= {"delamo": ours, "transformers_trainer": theirs}
    if theirs:
        result["ratio_to_trainer"] = round(ours["samples_per_s"] / theirs["samples_per_s"], 3)
    return result


def lengths_of(setup: Setup, sample: Sample) -> Lengths:
    """Count a sample's tokens, as the collator makes them."""
    batch = setup.collator([sample])
    image = int((batch["input_ids"] == setup.config.image_token_id).sum())
    grid, vision = batch.get("image_grid_thw"), setup.config.vision_config
    patches = int(grid.prod()) if grid is not None else (vision.image_size // vision.patch_size) ** 2 + 1
    return Lengths(int(batch["attention_mask"].sum()), int((batch["labels"] != IGNORED).sum()), image, patches)


def time_answers(setup: Setup) -> dict[str, Any]:
    """Time replies in batches, and one at a time on some of the same samples."""
    args = setup.args
    student = Student(setup.build(), setup.processor, "bench", "paper", None)
    options = {"max_new_tokens": args.max_new_tokens, "temperature": 0.0, "seed": 0}
    seconds = {}
    for name, size, number in (("batched", args.batch_size, args.answers), ("single", 1, args.single)):
        student.generate(setup.samples[: min(size, 2)], batch_size=size, **options)  # warm-up
        with timed(setup.device) as clock:
            replies = student.generate(setup.samples[:number], batch_size=size, **options)
        if any(reply.num_tokens != args.max_new_tokens for reply in replies):
            raise SystemExit("replies of unequal length: the two sides would not do the same work")
        seconds[name] = clock.seconds / number
    return {
        "per_s_batched": round(1 / seconds["batched"], 3),
        "per_s_single": round(1 / seconds["single"], 3),
        "ratio": round(seconds["single"] / seconds["batched"], 2),
        "batch_size": args.batch_size,
        "tokens_each": args.max_new_tokens,
        "peak_memory_gib": peak_memory(setup.device),
    }


def train_ours(setup: Setup, lengths: Sequence[Lengths]) -> dict[str, Any]:
    """Time tuning as `delamo run` does it."""
    from pytorch_lightning.callbacks import Callback

    config, stamps = setup.tuning(), []

    class Clock(Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if (batch_idx + 1) % config.accumulation(1) == 0:
                stamps.append(now(setup.device))

    job = TuningJob(
        student=delamo.compose(
            "student=hf", f"student.path='{setup.folder}'", f"student.device={setup.device}"
        ).student,
        config=config,
        samples=setup.samples,
        lengths=[sample.all for sample in lengths],
        reply_tokens=[sample.reply for sample in lengths],
        out_dir=setup.folder / "adapter",
        seed=0,
    )
    model = setup.build()
    reset(setup.device)
    with quiet_lightning():
        run = prepare(job, model, setup.processor, None, [Clock()])
        run.trainer.fit(run.module, datamodule=run.data)
    rates = training_rates(setup, stamps, run.module.model, lengths)
    padding = round(padding_fraction([part.samples for part in run.plan], job.lengths), 4)
    return rates | {"padding": padding, "loss": run.module.final_loss()}


def train_theirs(setup: Setup, lengths: Sequence[Lengths]) -> dict[str, Any]:
    """Time transformers' Trainer with its own sampler, loss and optimizer, on the same model with the same LoRA."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    config, stamps = setup.tuning(), []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **more: Any) -> None:
            stamps.append(now(setup.device))

    model = make_trainable(setup.build(), None, config)
    arguments = TrainingArguments(
        output_dir=str(setup.folder / "trainer"),
        per_device_train_batch_size=config.micro_batch_size,
        gradient_accumulation_steps=config.accumulation(1),
        num_train_epochs=1,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        max_grad_norm=config.gradient_clip,
        weight_decay=config.weight_decay,
        bf16=setup.device == "cuda",
        use_cpu=setup.device == "cpu",
        gradient_checkpointing=config.gradient_checkpointing,
        dataloader_num_workers=config.num_workers,
        remove_unused_columns=False,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=0,
    )
    reset(setup.device)
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=setup.samples,
        data_collator=setup.collator,
        callbacks=[Clock()],
    )
    loss = trainer.train().training_loss
    return training_rates(setup, stamps, model, lengths) | {"loss": loss}


def training_rates(setup: Setup, stamps: Sequence[float], model: Any, lengths: Sequence[Lengths]) -> dict[str, Any]:
    """Return samples per second after the warm-up, and what share of the peak that is."""
    warmup, batch = setup.args.warmup_steps, setup.args.micro_batch * setup.args.accumulation
    seconds = (stamps[-1] - stamps[warmup - 1]) / (len(stamps) - warmup)
    each = float(np.mean([flops(counts_of(model), sample) for sample in lengths]))
    achieved = each * batch / seconds
    return {
        "samples_per_s": round(batch / seconds, 3),
        "seconds_per_step": round(seconds, 4),
        "steps_timed": len(stamps) - warmup,
        "teraflops_per_sample": each / 1e12,
        "teraflops_per_s": achieved / 1e12,
        "share_of_peak": achieved / setup.args.peak,
        "peak_memory_gib": peak_memory(setup.device),
    }


def counts_of(model: Any) -> Counts:
    """Count the weights of the model below its adapter, as its config alone makes it, and of the adapter."""
    from transformers import AutoModelForImageTextToText

    lora = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
    with torch.device("meta"):
        bare = AutoModelForImageTextToText.from_config(model.config)
    return count(bare, lora)


def make_samples(folder: Path, number: int, tiny: bool) -> list[Sample]:
    """Make questions and replies of random words, each with an image of its own."""
    rng = np.random.default_rng(0)
    width, height = (40, 32) if tiny else (640, 480)

    def words(bounds: tuple[int, int]) -> str:
        n = int(rng.integers(*(bound // 10 + 1 for bound in bounds) if tiny else bounds))
        return " ".join(f"w{i}" for i in rng.integers(0, NUM_WORDS, n))

    samples = []
    for index in range(number):
        path = folder / f"{index:05d}.jpg"
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path, quality=85)
        fields = {"instruction": words(QUESTION_WORDS), "answer": words(REPLY_WORDS)}
        samples.append(Sample(id=f"s{index:05d}", image=str(path), **fields))
    return samples


@dataclass(slots=True)
class Clock:
    """The time that `timed` measured."""

    seconds: float = 0.0


@contextmanager
def timed(device: str) -> Iterator[Clock]:
    """Measure wall time, the device's work included."""
    reset(device)
    clock, start = Clock(), now(device)
    yield clock
    clock.seconds = now(device) - start


def now(device: str) -> float:
    """Return the time when the device has finished its work."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def reset(device: str) -> None:
    """Free models that are no longer used, and reset the peak of memory."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory(device: str) -> float | None:
    """Return the peak of GPU memory since the last reset in GiB; None on a CPU."""
    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if device == "cuda" else None


def product_rate(device: str, size: int, dtype: torch.dtype) -> float:
    """Return the operations per second of a product of two square matrices."""
    left = torch.randn(size, size, device=device, dtype=dtype)
    for _ in range(3):
        left @ left
    start, repeats = now(device), 20
    for _ in range(repeats):
        left @ left
    return repeats * 2 * size**3 / (now(device) - start)


def machine(device: str) -> dict[str, Any]:
    """Return what the numbers depend on."""
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
            checkpoint = Path(folder)
            config = SHAPES[name](checkpoint, tiny=args.tiny)
            samples = make_samples(checkpoint, args.train_samples, args.tiny)
            processor = load_processor(str(checkpoint), revision=None)
            setup = Setup(args, name, config, processor, samples, checkpoint, device)
            numbers = measure(setup, lambda: time.perf_counter() - started < args.limit_s)
        result["shapes"][name] = numbers
        print(f"{name}: {json.dumps(numbers)}", flush=True)
    result["seconds"] = round(time.perf_counter() - started, 1)
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
