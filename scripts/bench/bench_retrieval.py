"""Time BM25 over a large pool: the default retriever against rank-bm25, both from the same raw text, in one run.

    python scripts/bench/bench_retrieval.py                    # 1,552,000 documents: several minutes, 3 GB of memory
    python scripts/bench/bench_retrieval.py --docs 50000

Each side runs in a process of its own, so that its peak memory is its own, and starts with nothing, compiled code
included. Cold: tokenize and index the raw text, then answer all queries. Warm: open the index from disk, then answer
all queries; rank-bm25 has no index on disk, so its warm time is that of the queries alone, on structures already in
memory. rank-bm25 is given our tokens (its own splitting would be slower) and is timed on `--timed-queries` of the
queries, scaled to all.

The last line is JSON: `cold_ratio`, `warm_ratio` (rank-bm25's seconds over ours) and what they are made of.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

WORDS_PER_DOC = 22  # mean of the paper's pool as annotated: a handful of short skills
WORDS_PER_QUERY = (4, 9)


def main() -> None:
    args = parse_args()
    if args.side:
        return print(json.dumps(measure(args)))
    with tempfile.TemporaryDirectory(prefix="bench_retrieval_") as folder:
        args.folder = Path(folder)
        write_corpus(args)
        print(json.dumps(compare(args)))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docs", type=int, default=1_552_000)
    parser.add_argument("--queries", type=int, default=350)
    parser.add_argument("--top", type=int, default=300)
    parser.add_argument("--timed-queries", type=int, default=10, help="queries that rank-bm25 answers; scaled to all")
    parser.add_argument("--vocabulary", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=("cold", "warm", "rank_bm25"), help=argparse.SUPPRESS)
    return parser.parse_args()


def write_corpus(args: argparse.Namespace) -> None:
    """Write `docs.tsv` (id, text) and `queries.txt`: words drawn by Zipf's law, document lengths by Poisson's."""
    rng = np.random.default_rng(args.seed)
    words = np.array(make_words(args.vocabulary))
    mass = 1 / np.arange(3, args.vocabulary + 3)
    cumulated = np.cumsum(mass / mass.sum())
    with open(args.folder / "docs.tsv", "w") as file:
        for first in tqdm(range(0, args.docs, 10_000), desc="write corpus", unit="10K docs"):
            lengths = np.maximum(rng.poisson(WORDS_PER_DOC, min(10_000, args.docs - first)), 1)
            drawn = words[np.searchsorted(cumulated, rng.random(lengths.sum()))].tolist()
            ends = np.cumsum(lengths).tolist()
            spans = enumerate(zip([0, *ends], ends, strict=False), first)
            file.writelines(f"pool_{i:08d}\t{' '.join(drawn[start:end])}\n" for i, (start, end) in spans)
    lengths = rng.integers(*WORDS_PER_QUERY, args.queries)
    queries = [" ".join(words[np.searchsorted(cumulated, rng.random(n))]) for n in lengths]
    (args.folder / "queries.txt").write_text("\n".join(queries))


def make_words(count: int) -> list[str]:
    """Return distinct words of consonant-vowel syllables, short ones first, as in Zipf's law."""
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]

    def word(number: int) -> str:
        return syllables[number % 70] + (word(number // 70 - 1) if number >= 70 else "")

    return [word(number) for number in range(count)]


def read_docs(folder: Path) -> Iterator[tuple[str, str]]:
    with open(folder / "docs.tsv") as file:
        for line in file:
            id, text = line.rstrip("\n").split("\t", 1)
            yield id, text


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Measure one side in this process: seconds of each part, peak memory, and the lists of the first queries."""
    import delamo

    backend = "rank_bm25" if args.side == "rank_bm25" else "bm25s"
    config = delamo.compose(f"retriever={backend}").retriever
    queries = (args.folder / "queries.txt").read_text().split("\n")
    start = time.perf_counter()
    from delamo.retrieval import RETRIEVERS

    retriever = RETRIEVERS[config.backend]
    timed = queries[: args.timed_queries] if args.side == "rank_bm25" else queries
    folder = args.folder / backend
    index = retriever.load(folder) if args.side == "warm" else retriever.build(read_docs(args.folder), folder, config)
    ready = time.perf_counter()
    step = 1 if args.side == "rank_bm25" else len(timed)
    lists = []
    for first in tqdm(range(0, len(timed), step), desc=f"{args.side}: search", disable=step > 1):
        lists += index.search(timed[first : first + step], args.top)
    end = time.perf_counter()
    return {
        "index_s": ready - start,
        "search_s": (end - ready) * len(queries) / len(timed),
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "lists": lists[: args.timed_queries],
    }


def compare(args: argparse.Namespace) -> dict[str, object]:
    sides = {side: run_side(side, args) for side in ("cold", "warm", "rank_bm25")}
    reference = sides["rank_bm25"]["lists"]
    agreement = {side: sum(map(list.__eq__, sides[side].pop("lists"), reference)) for side in ("cold", "warm")}
    sides["rank_bm25"].pop("lists")
    seconds = {side: result["index_s"] + result["search_s"] for side, result in sides.items()}
    print(f"lists of {len(reference)} queries equal to rank-bm25's, scores and ties included: {agreement}")
    return {
        "cold_ratio": round(seconds["rank_bm25"] / seconds["cold"], 1),
        "warm_ratio": round(sides["rank_bm25"]["search_s"] / seconds["warm"], 1),
        "agreement": min(agreement.values()) / max(len(reference), 1),
        "docs": args.docs,
        "queries": args.queries,
        "top": args.top,
        "rank_bm25_timed_queries": min(args.timed_queries, args.queries),
        **{side: {key: round(value, 3) for key, value in result.items()} for side, result in sides.items()},
    }


def run_side(side: str, args: argparse.Namespace) -> dict[str, object]:
    """Run `measure` in a fresh process, whose compiled code lives and dies with this run."""
    options = {"--docs": args.docs, "--queries": args.queries, "--top": args.top, "--timed-queries": args.timed_queries}
    command = [sys.executable, __file__, "--side", side, "--folder", str(args.folder)]
    command += [str(part) for option in options.items() for part in option]
    root = str(Path(__file__).resolve().parents[2])
    env = os.environ | {
        "NUMBA_CACHE_DIR": str(args.folder / "compiled"),
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
    }
    result = json.loads(subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])
    index_s, search_s, memory = (result[key] for key in ("index_s", "search_s", "peak_memory_gib"))
    print(
        f"{side:9} index {index_s:8.2f} s, {args.queries} queries {search_s:9.2f} s, peak {memory:.2f} GiB", flush=True
    )
    return result


if __name__ == "__main__":
    main()
