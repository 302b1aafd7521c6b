"""Measures how often the reports would call a method better or worse than itself, and which differences they find.

    python scripts/calibrate_verdicts.py                            # the runs of random selection kept with the tests
    python scripts/calibrate_verdicts.py runs --simulate --rules    # runs of one's own, simulated ones, other rules

Real nulls are runs of random selection on one target, split into two sides: whatever is said of one side against the
other is false. All splits of a size are judged, or `--draws` of them drawn at random where there are more. Simulated
nulls are runs whose accuracies vary from seed to seed by a known standard deviation, on items of known difficulty; with
a difference added to one side they give the power.

The last output is JSON. The exit status is 1 where more than 7 % of the verdicts on any null are false at a nominal
5 %, by the rule that the reports use.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, stdtr

from delamo.metrics.comparison import ALPHA, MethodRuns, compare
from delamo.reports.methods import RANDOM
from delamo.runs.read import finished_runs
from delamo.store import write_text

LIMIT = 0.07
DESIGNS = ((3, 3), (5, 5), (1, 3))
"""Runs of one side and of the other."""
GAPS = (3, 5, 10)
"""Points that one side is better by, for the power."""
KEPT = Path(__file__).parents[1] / "tests" / "golden" / "null_runs.json.gz"
NINE = (72.8, 74.0, 89.2, 70.5, 75.5, 75.8, 72.0, 82.0, 77.5)
"""Accuracies of random selection on micro/numbers over nine seeds: a heavy upper tail."""
LEAST_CHANCE, MOST_CHANCE = 0.02, 0.98
"""Between them lies the expected accuracy of a simulated run."""

Rule = Callable[[np.ndarray, np.ndarray], float]
"""Outcomes of two sides, run by item, to the p of no difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Where simulated runs come from: logit of a right answer = accuracy of the run + item + item for the method."""

    seeds: str
    """How the accuracies of runs are distributed: `normal`, `t3` (Student's t, 3 degrees of freedom), `nine`."""
    seed_sd: float
    """Of the first side's runs, points; for `nine` it is that of the nine."""
    other_sd: float
    """Of the second side's."""
    items: int
    difficulty_sd: float
    """Of the items, in logits."""
    taste_sd: float
    """Of what an item has for one method and not for the other, in logits."""

    def targets(self, num_runs: int, sd: float, rng: np.random.Generator) -> np.ndarray:
        """Draw the expected accuracies of runs that vary by so many points."""
        if self.seeds == "nine":
            return rng.choice(np.array(NINE) / 100, num_runs)
        noise = rng.standard_t(3, num_runs) / math.sqrt(3) if self.seeds == "t3" else rng.standard_normal(num_runs)
        return np.mean(NINE) / 100 + sd / 100 * noise

    def draw(self, sizes: tuple[int, int], gap: float, rng: np.random.Generator) -> list[np.ndarray]:
        """Draw the outcomes of both sides, run by item; the first is better by `gap`, a fraction of 1."""
        items_I = rng.normal(0, self.difficulty_sd, self.items)  # noqa: N806 -- I items
        sides = []
        for size, sd, more in zip(sizes, (self.seed_sd, self.other_sd), (gap, 0.0), strict=True):
            own_I = items_I + rng.normal(0, self.taste_sd, self.items)  # noqa: N806 -- I items
            targets_R = np.clip(self.targets(size, sd, rng) + more, LEAST_CHANCE, MOST_CHANCE)  # noqa: N806 -- R runs
            logits_R = self._logits(targets_R)  # noqa: N806 -- R runs
            sides.append(rng.random((size, self.items)) < expit(logits_R[:, None] + own_I))
        return sides

    def _logits(self, targets_R: np.ndarray) -> np.ndarray:  # noqa: N803 -- R runs
        """Find the logits that give these expected accuracies over all items there might be."""
        spread = math.hypot(self.difficulty_sd, self.taste_sd)
        nodes, weights = np.polynomial.hermite_e.hermegauss(15)
        grid = np.linspace(-9, 9, 181)
        return np.interp(targets_R, expit(grid[:, None] + spread * nodes) @ (weights / weights.sum()), grid)


def crossed(first: np.ndarray, second: np.ndarray) -> float:
    """Compute the p of the reports: runs and items both are draws."""
    found = compare(*(MethodRuns(outcomes=[dict(enumerate(run)) for run in side.tolist()]) for side in (first, second)))
    return found.inference.p if found.inference else 1.0


def welch(first: np.ndarray, second: np.ndarray) -> float:
    """Compute the p of Welch's test on the accuracies of runs; a single run borrows the other side's variance."""
    parts, borrowed = [], 0.0
    for side, other in ((first, second), (second, first)):
        if len(side) > 1:
            parts.append((side.mean(axis=1).var(ddof=1) / len(side), len(side) - 1))
        else:
            borrowed = other.mean(axis=1).var(ddof=1)
    variance = sum(part for part, _ in parts) + borrowed
    freedom = variance**2 / sum(part**2 / free for part, free in parts) if len(parts) == 2 else parts[0][1]
    return _student(first.mean() - second.mean(), variance, freedom)


def pooled(first: np.ndarray, second: np.ndarray) -> float:
    """Compute the p of Student's test on the accuracies of runs, with one variance for both sides."""
    freedom = len(first) + len(second) - 2
    squares = sum(((side.mean(axis=1) - side.mean()) ** 2).sum() for side in (first, second))
    variance = squares / freedom * (1 / len(first) + 1 / len(second))
    return _student(first.mean() - second.mean(), variance, freedom)


def permutation(first: np.ndarray, second: np.ndarray) -> float:
    """Compute the p of all ways to call as many of the runs the first side's."""
    shares = np.concatenate([first.mean(axis=1), second.mean(axis=1)])
    k, total = len(first), len(shares)
    sums = np.array([shares[list(chosen)].sum() for chosen in itertools.combinations(range(total), k)])
    gaps = np.abs(sums / k - (shares.sum() - sums) / (total - k))
    return float((gaps >= abs(first.mean() - second.mean()) - 1e-12).mean())


def items_only(first: np.ndarray, second: np.ndarray) -> float:
    """Compute the p of a paired test over the items: what two fixed sets of models would be judged by."""
    gaps = first.mean(axis=0) - second.mean(axis=0)
    return _student(gaps.mean(), gaps.var(ddof=1) / len(gaps), len(gaps) - 1)


def pigeonhole(first: np.ndarray, second: np.ndarray) -> float:
    """Compute a p by bootstrapping runs and items (Owen 2007): twice the share of draws beyond 0."""
    rng, num_draws = np.random.default_rng(0), 1000
    items = rng.multinomial(first.shape[1], np.full(first.shape[1], 1 / first.shape[1]), num_draws) / first.shape[1]
    means = []
    for side in (first, second):
        runs = rng.multinomial(len(side), np.full(len(side), 1 / len(side)), num_draws) / len(side)
        means.append(((items @ side.T) * runs).sum(axis=1))
    gaps = means[0] - means[1]
    return float(min(1.0, 2 * min((gaps <= 0).mean(), (gaps >= 0).mean())))


RULES: dict[str, Rule] = {"crossed": crossed}
"""The rule of the reports, the one that is held to the limit."""
OTHER_RULES: dict[str, Rule] = {
    "welch": welch,
    "pooled": pooled,
    "permutation": permutation,
    "pigeonhole": pigeonhole,
    "items_only": items_only,
}


def _student(gap: float, variance: float, freedom: float) -> float:
    if variance <= 0:
        return 1.0 if gap == 0 else 0.0
    return float(2 * stdtr(freedom, -abs(gap) / math.sqrt(variance)))


def read_nulls(source: Path) -> dict[str, np.ndarray]:
    """Read runs of random selection: target -> outcomes, run by item.

    Args:
        source: a folder of runs, of which those of random selection at one budget are taken, or a file that `--save`
            wrote.

    Raises:
        ValueError: no run of random selection, or runs of one target with different items, settings or budgets.
    """
    if source.is_file():
        kept = json.loads(gzip.decompress(source.read_bytes()))["targets"]
        return {task: np.array([[bit == "1" for bit in run] for run in runs]) for task, runs in kept.items()}
    runs: dict[str, dict[int, dict[str, bool]]] = {}
    budgets = set()
    for run in finished_runs(source).runs:
        if run.cell["selector"] == RANDOM:
            budgets.add((run.cell["student"], run.cell["budget"]))
            runs.setdefault(run.cell["task"], {})[run.cell["seed"]] = dict(run.outcomes)
    if len(budgets) != 1:
        raise ValueError(f"{source} has random runs of {len(budgets)} students and budgets: name a folder with one")
    for task, seeds in runs.items():
        if len({tuple(sorted(outcomes)) for outcomes in seeds.values()}) > 1:
            raise ValueError(f"{source}, {task}: the runs answered different items")
    return {
        task: np.array([[seeds[seed][id] for id in sorted(seeds[seed])] for seed in sorted(seeds)])
        for task, seeds in sorted(runs.items())
    }


def save(nulls: dict[str, np.ndarray], file: Path) -> None:
    """Write outcomes compactly, a digit for each item; the same outcomes give the same bytes."""
    plain = {task: ["".join("01"[right] for right in run) for run in runs.tolist()] for task, runs in nulls.items()}
    text = json.dumps({"selector": RANDOM, "targets": plain}, indent=1)
    file.write_bytes(gzip.compress(text.encode(), mtime=0))


def splits(num_runs: int, sizes: tuple[int, int], num_draws: int, rng: np.random.Generator) -> Iterator[Sequence[int]]:
    """List the ways to split runs into two sides of these sizes, or draw some: the first side's runs, then the other's.

    Mirrored splits of equal sizes count once: a test says the same of both.
    """
    first, second = sizes
    total = math.comb(num_runs, first) * math.comb(num_runs - first, second)
    if total > 2 * num_draws:
        for _ in range(num_draws):
            yield rng.choice(num_runs, first + second, replace=False).tolist()
        return
    for chosen in itertools.combinations(range(num_runs), first):
        rest = [run for run in range(num_runs) if run not in chosen]
        for other in itertools.combinations(rest, second):
            if first != second or chosen < other:
                yield [*chosen, *other]


def real(nulls: dict[str, np.ndarray], rules: dict[str, Rule], num_draws: int, rng: np.random.Generator) -> list[Any]:
    """Count false verdicts on runs that were really made, target by target."""
    rows = []
    for task, runs in nulls.items():
        for sizes in DESIGNS:
            if sum(sizes) > len(runs):
                continue
            p_values: dict[str, list[float]] = {name: [] for name in rules}
            for split in splits(len(runs), sizes, num_draws, rng):
                first, second = runs[split[: sizes[0]]], runs[split[sizes[0] :]]
                for name, rule in rules.items():
                    p_values[name].append(rule(first, second))
            rates = {name: float(np.mean(np.array(p) < ALPHA)) for name, p in p_values.items()}
            counts = {"runs": len(runs), "items": runs.shape[1], "splits": len(p_values["crossed"])}
            sd = 100 * float(runs.mean(axis=1).std(ddof=1))
            rows.append({"target": task, "sizes": list(sizes), **counts, "sd_points": sd, "false": rates})
            _print(f"{task}, sd {sd:.1f}", sizes, rates)
    return rows


def worlds() -> list[World]:
    """List the simulated worlds."""
    seeds = [("normal", sd) for sd in (0.0, 1.0, 2.0, 3.4, 5.0)] + [("t3", 3.4), ("nine", float(np.std(NINE, ddof=1)))]
    alike = [
        World(seeds=kind, seed_sd=sd, other_sd=sd, items=items, difficulty_sd=difficulty, taste_sd=taste)
        for kind, sd in seeds
        for items in (100, 400)
        for difficulty, taste in ((0.5, 0.0), (2.0, 0.0), (2.0, 1.0))
    ]
    unlike = [
        World(seeds="normal", seed_sd=first, other_sd=second, items=400, difficulty_sd=2.0, taste_sd=0.0)
        for first, second in ((5.0, 1.0), (1.0, 5.0), (5.0, 2.5))
    ]
    return alike + unlike


def simulated(rules: dict[str, Rule], num_draws: int, rng: np.random.Generator) -> list[Any]:
    """Count false verdicts on simulated runs, and found differences on those with one; power at a single difficulty."""
    rows = []
    for world in worlds():
        for sizes in DESIGNS:
            is_plain = world.items == 400 and world.difficulty_sd == 2.0 and world.taste_sd == 0
            has_power = is_plain and world.seed_sd == world.other_sd
            rates = {gap: _rate(world, sizes, gap, rules, num_draws, rng) for gap in (0, *(GAPS if has_power else ()))}
            settings = {field: getattr(world, field) for field in World.__slots__}
            power = {name: {gap: rates[gap][name] for gap in GAPS} for name in rules} if has_power else None
            rows.append({**settings, "sizes": list(sizes), "draws": num_draws, "false": rates[0], "power": power})
            sds = f"{world.seed_sd:.1f}/{world.other_sd:.1f}"
            title = f"{world.seeds} {sds}, {world.items} items {world.difficulty_sd}/{world.taste_sd}"
            _print(title, sizes, rates[0])
            if power:
                found = {name: "/".join(f"{100 * share:.0f}" for share in power[name].values()) for name in rules}
                print(f"    power at {'/'.join(map(str, GAPS))} points: {found}", flush=True)
    return rows


def _rate(
    world: World, sizes: tuple[int, int], gap: int, rules: dict[str, Rule], num_draws: int, rng: np.random.Generator
) -> dict[str, float]:
    p_values: dict[str, list[float]] = {name: [] for name in rules}
    for _ in range(num_draws):
        first, second = world.draw(sizes, gap / 100, rng)
        for name, rule in rules.items():
            p_values[name].append(rule(first, second))
    return {name: float(np.mean(np.array(p) < ALPHA)) for name, p in p_values.items()}


def _print(title: str, sizes: tuple[int, int], rates: dict[str, float]) -> None:
    shown = "  ".join(f"{name} {100 * rate:.1f}" for name, rate in rates.items())
    print(f"{title}, {sizes[0]} against {sizes[1]}: false verdicts %: {shown}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and say by the exit status whether the limit holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", type=Path, default=KEPT, help="folder of runs, or a file of --save")
    parser.add_argument("--simulate", action="store_true", help="simulated runs besides")
    parser.add_argument("--rules", action="store_true", help="other rules besides that of the reports")
    parser.add_argument("--draws", type=int, default=1000, help="splits of real runs, and simulated pairs of sides")
    parser.add_argument("--seed", type=int, default=0, help="of splits and simulation")
    parser.add_argument("--save", type=Path, help="keep the outcomes of the runs in this file, .json.gz")
    parser.add_argument("--out", type=Path, help="write the JSON to this file besides")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    rules = {**RULES, **(OTHER_RULES if options.rules else {})}
    nulls = read_nulls(options.runs)
    if options.save:
        save(nulls, options.save)
    found = {
        "limit": LIMIT,
        "alpha": ALPHA,
        "real": real(nulls, rules, options.draws, rng),
        "simulated": simulated(rules, options.draws, rng) if options.simulate else [],
    }
    rows = [*found["real"], *found["simulated"]]
    found["largest"] = max((row["false"]["crossed"] for row in rows), default=None)
    found["broken"] = [row for row in rows if row["false"]["crossed"] > LIMIT]
    if options.out:
        write_text(options.out, json.dumps(found, indent=2) + "\n")
    print(json.dumps(found))
    if not rows or found["broken"]:
        print(f"{len(found['broken'])} of {len(rows)} nulls above the limit of {LIMIT:.0%}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
