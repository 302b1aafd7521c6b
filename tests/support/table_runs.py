"""Run directories of the cells of the paper's tables, made by hand from the presets' own values."""

import json

import yaml

from delamo.config import conf
from delamo.paper.numbers import paper_table
from support.fake_runs import write_run

GOOD, FAIR, POOR = "1" * 36 + "0000", "1" * 24 + "0" * 16, "1" * 12 + "0" * 27 + "?"


def nested(dotted):
    """{"a.b": 1} -> {"a": {"b": 1}}"""
    found = {}
    for key, value in dotted.items():
        *path, last = key.split(".")
        node = found
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return found


def write_cell(root, table, row, column=0, *, bits=FAIR, seed=0, scale="micro", settings=None, **more):
    """A finished run of one cell; `settings` are dotted config values that differ from the preset's.

    Returns its folder.
    """
    choices = paper_table(table).choices(row, column, scale)
    values = conf.values(choices, scale) | (settings or {})
    seed = choices.get("seed", seed)
    cell = {role: values.get(f"{role}.name") for role in ("task", "student", "teacher", "pool", "selector", "budget")}
    digest = f"{abs(hash((table, row, column, repr(settings)))):x}"[:10]
    path = write_run(
        root,
        task=cell["task"],
        selector=cell["selector"],
        seed=seed,
        bits=bits,
        budget=cell["budget"],
        num_samples=values["budget.num_samples"],
        digest=digest,
        **more,
    )
    # as a run writes it: JSON's 2e-05 is a string in YAML
    (path / "config.yaml").write_text(yaml.safe_dump(nested({**values, "seed": seed})))
    metrics = json.loads((path / "metrics.json").read_text())
    metrics["cell"] |= {role: cell[role] for role in ("student", "teacher", "pool")}
    metrics["selection"]["num_samples"] = 0 if cell["selector"] == "none" else values["budget.num_samples"]
    (path / "metrics.json").write_text(json.dumps(metrics))
    return path


def write_table1(root, *, scale="micro", columns=(0, 1), **more):
    """Part of Table 1: two targets, the untouched student, and at the first budget random three times and ours."""
    for column in columns:
        write_cell(root, "table1", 0, column, bits=POOR, scale=scale, **more)
        for seed in range(3):
            write_cell(
                root, "table1", 1, column, bits="0" * seed + POOR[: -seed or None], seed=seed, scale=scale, **more
            )
        write_cell(root, "table1", 4, column, bits=GOOD if column == 0 else POOR, scale=scale, **more)
    return root
