"""Time a pool of Vision-Flan's size: opened from its JSON, written as Parquet, opened from that.

    python scripts/bench/bench_pool.py --rows 1664261 --images 2000

Rows are generated in Vision-Flan's published format (`id` not unique, `image`, `task_name`, one human and one gpt
turn), with texts as long as the real ones; many rows share an image, so that no 36 GB of them are needed. Each step is
a process of its own, so that its peak memory is its own. The last line is JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = "the a of picture street kitchen person holding red which option describes not".split()
NUM_TASKS = 187
LEFT_OUT = "task_7+visual_question_answering"
NUM_READS = 1000


def generate(folder: Path, num_rows: int, num_images: int) -> None:
    """Write annotation.json and task_imgs/ below `folder`."""
    from PIL import Image

    (folder / "task_imgs").mkdir(parents=True)
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(out, "JPEG")
    for number in range(num_images):
        (folder / "task_imgs" / f"COCO_train2014_{number:012d}.jpg").write_bytes(out.getvalue())
    rng = random.Random(0)
    with (folder / "annotation.json").open("w") as file:
        for number in range(num_rows):
            file.write(("[\n" if number == 0 else ",\n") + json.dumps(row(rng, number, num_images)))
        file.write("\n]\n")


def row(rng: random.Random, number: int, num_images: int) -> dict:
    question = " ".join(rng.choices(WORDS, k=rng.choice((8, 20, 40, 90)))) + f" {number}?"
    answer = " ".join(rng.choices(WORDS, k=rng.choice((1, 2, 4, 30))))
    task = f"task_{rng.randrange(NUM_TASKS)}+visual_question_answering"
    return {
        "id": f"{task}_{number // 2}",
        "image": f"./task_imgs/COCO_train2014_{rng.randrange(num_images):012d}.jpg",
        "task_name": task,
        "conversations": [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}],
    }


def measure(step: str, folder: Path) -> dict:
    """Return seconds and peak memory of one step, in this process."""
    import delamo
    from delamo.data.readers.parquet import write_pool
    from delamo.experiment.experiment import read_pool

    if step == "open_parquet":
        choice = ["pool=parquet", f"pool.folder='{folder / 'parquet'}'", f"pool.exclude_tasks=['{LEFT_OUT}']"]
    else:
        choice = ["pool=vision_flan", f"pool.annotation='{folder / 'annotation.json'}'", "pool.exclude_tasks=[]"]
    config = delamo.compose(*choice).pool
    start = time.perf_counter()
    pool = read_pool(config)
    if step == "convert":
        start = time.perf_counter()
        write_pool(pool, folder / "parquet")
    seconds = time.perf_counter() - start
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # before anything else is read
    ids = random.Random(0).sample(list(pool.ids()), min(NUM_READS, len(pool)))
    start = time.perf_counter()
    for id in ids:
        pool.get(id)
    get_ms = 1000 * (time.perf_counter() - start) / len(ids)
    return {
        "samples": len(pool),
        "seconds": round(seconds, 2),
        "peak_gib": round(peak_gib, 2),
        "get_ms": round(get_ms, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_664_261)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        print(json.dumps(measure(args.step, args.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder, result = Path(temporary) / "flan", {"rows": args.rows}
        generate(folder, args.rows, args.images)
        for step in ("open_json", "convert", "open_parquet"):
            command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
            process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            result[step] = json.loads(process.stdout.splitlines()[-1])
            print(f"{step}: {result[step]}")
        result["json_mib"] = round((folder / "annotation.json").stat().st_size / 2**20)
        result["parquet_mib"] = round((folder / "parquet" / "samples.parquet").stat().st_size / 2**20)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
