"""Run the whole loop on real input: NLVR's human-written statements as the target, the embedded models and pool.

    git clone https://github.com/lil-lab/nlvr
    python scripts/nlvr.py nlvr/nlvr                                    # all of dev (989) and of test (990)
    python scripts/nlvr.py nlvr/nlvr --validation 100 --test 200 --budget 200
    python scripts/nlvr.py nlvr/nlvr --set tuning.epochs=1              # any override, for all of it

Runs the pretrained student, random selection with several seeds and error-driven selection at one budget, and prints
the report. The commands are printed first: they are nothing but `delamo` on the command line. Finished experiments are
found again.

The embedded student has seen neither such images nor such sentences: what comes out is reported as it is.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

# `delamo` of this interpreter, installed or not
DELAMO = [sys.executable, "-c", "from delamo.cli.app import main; main()"]


def main() -> None:
    args = parse_args()
    for command in commands(args):
        print("$", shlex.join(["delamo", *command]), flush=True)
        process = subprocess.run([*DELAMO, *command], check=False)
        if process.returncode:
            raise SystemExit(process.returncode)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="the folder that holds dev/dev.json and test/test.json")
    parser.add_argument("--budget", type=int, default=500, help="samples to tune on")
    parser.add_argument("--pool", type=int, default=10_000, help="samples of the embedded pool to select from")
    parser.add_argument("--validation", type=int, help="validation samples, drawn from a seed; all by default")
    parser.add_argument("--test", type=int, help="test samples, drawn from a seed; all by default")
    parser.add_argument("--seeds", type=int, default=3, help="runs of random selection")
    parser.add_argument("--runs", type=Path, default=Path("runs/nlvr"))
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a config override; may be repeated"
    )
    return parser.parse_args(argv)


def commands(args: argparse.Namespace) -> list[list[str]]:
    """Return the arguments of `delamo`, one list for each command."""
    experiment = [
        "task=nlvr",
        f"task.root={quoted(args.root.resolve())}",
        f"task.num_val_samples={args.validation or 'null'}",
        f"task.num_test_samples={args.test or 'null'}",
        f"pool.size={args.pool}",
        "budget=custom",
        f"budget.num_samples={args.budget}",
        f"paths.runs={quoted(args.runs)}",
        *args.set,
    ]
    seeds = ",".join(map(str, range(args.seeds)))
    return [
        ["run", "-m", *experiment, "selector=none,error_driven"],
        ["run", "-m", *experiment, "selector=random", f"seed={seeds}"],
        ["report", f"runs={quoted(args.runs)}"],
    ]


def quoted(path: Path) -> str:
    """Quote a path for Hydra's grammar, in which a comma would start a sweep."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


if __name__ == "__main__":
    main()
