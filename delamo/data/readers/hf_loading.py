"""Load a split with `datasets`: where its Arrow files are, its columns and class names."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUILDERS = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv", ".tsv": "csv", ".arrow": "arrow"}
"""For a single file, by its suffix."""
CSV = {"keep_default_na": False, "na_values": [""]}
"""pandas would take an option worded "None" or "NA" for an empty field; only an empty field is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One split on disk."""

    name: str
    """For messages: path, subset and split."""
    split: str
    files: list[str]
    num_rows: int
    columns: list[str]
    classes: dict[str, list[str]]
    """Column -> class names, of columns of class labels."""
    folders: list[Path]
    """Where its image files may lie."""


def load(path: str, *, subset: str | None, revision: str | None, split: str, cache_dir: Any, key: str) -> Loaded:
    """Open a split, which `datasets` downloads and converts where it has not yet; no code of a data set is run.

    Raises:
        ValueError: `datasets` is not installed; no such data set, subset or split; a split that is not whole or not on disk.
    """
    if importlib.util.find_spec("datasets") is None:
        raise ValueError(f"{key}=hf_dataset needs Hugging Face datasets: pip install 'delamo[datasets]'")
    if "[" in split:
        raise ValueError(f"{key} takes whole splits, not {split!r}: budgets and num_*_samples draw from them")
    name = "/".join(part for part in (path, subset) if part) + f", split {split}"
    dataset = _open(path, subset, revision, split, str(cache_dir) if cache_dir else None, f"{key}.path is {path}")
    if dataset._indices is not None:
        raise ValueError(f"{name} was saved with an index over its rows: call flatten_indices() and save it again")
    files = [file["filename"] for file in dataset.cache_files]
    if not files:
        raise ValueError(
            f"{name} is empty" if not len(dataset) else f"{name} is not on disk: datasets kept it in memory"
        )
    return Loaded(
        name=name,
        split=split,
        files=files,
        num_rows=len(dataset),
        columns=dataset.column_names,
        classes={column: f.names for column, f in dataset.features.items() if hasattr(f, "names")},
        folders=_folders(path, cache_dir),
    )


def _open(path: str, subset: str | None, revision: str | None, split: str, cache_dir: str | None, what: str) -> Any:
    import datasets

    local = Path(path)
    try:
        if local.is_dir() and ((local / "state.json").is_file() or (local / "dataset_dict.json").is_file()):
            dataset = datasets.load_from_disk(path)
            return _split_of(dataset, split) if isinstance(dataset, datasets.DatasetDict) else dataset
        if local.is_file():
            format = BUILDERS.get(local.suffix)
            if format is None:
                raise ValueError(f"{what}: expected a file ending in {', '.join(BUILDERS)}")
            only = "train" if split == "all" else split  # `all` is every split, and no name of one
            text = CSV | ({"sep": "\t"} if local.suffix == ".tsv" else {}) if format == "csv" else {}
            return datasets.load_dataset(format, data_files={only: path}, split=split, cache_dir=cache_dir, **text)
        builder = _load_builder(path, subset, revision=revision, cache_dir=cache_dir)
        builder.download_and_prepare()
        return builder.as_dataset(split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as problem:
        raise ValueError(f"{what}: {_chain(problem)}") from problem


def _load_builder(path: str, subset: str | None, **source: str | None) -> Any:
    """Load the builder of a folder or of a data set on the hub; CSV files are read by `CSV`, unless the data set says how."""
    from datasets import load_dataset_builder
    from datasets.packaged_modules.csv.csv import CsvConfig

    try:
        builder = load_dataset_builder(path, subset, **source)
    except ValueError as problem:
        try:  # without a network, a cached data set is found by the very arguments that it was read with
            return load_dataset_builder(path, subset, **source, **CSV)
        except (OSError, ValueError):
            raise problem from None
    config = builder.config
    if isinstance(config, CsvConfig) and config.keep_default_na and config.na_values is None:
        return load_dataset_builder(path, subset, **source, **CSV)
    return builder


def _split_of(splits: Any, split: str) -> Any:
    if split not in splits:
        raise ValueError(f"there is no split {split!r}, there are {sorted(splits)}")
    return splits[split]


def _folders(path: str, cache_dir: Any) -> list[Path]:
    """Return the data set's own folder; for one from the hub, the caches that it was downloaded to."""
    local = Path(path)
    if local.exists():
        return [local if local.is_dir() else local.parent]
    from datasets.config import HF_DATASETS_CACHE
    from huggingface_hub.constants import HF_HUB_CACHE

    return [Path(HF_HUB_CACHE), Path(cache_dir or HF_DATASETS_CACHE)]


def _chain(problem: BaseException) -> str:
    """Join the messages of an error and of its cause: `datasets` wraps what a user can mend in what he cannot."""
    messages = [str(problem)] + ([str(problem.__cause__)] if problem.__cause__ else [])
    return "; ".join(" ".join(message.split())[:300] for message in messages if message)
