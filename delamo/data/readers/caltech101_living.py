"""Caltech101 (Fei-Fei et al. 2004) as a task: does the picture show a living thing?

Format: `101_ObjectCategories/CLASS/image_0001.jpg`. Two options, as in the paper's Living Thing task; which classes live is
listed here, and a class that is in neither list is quarantined.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING

from delamo.data import Task, TaskConfig, add_task
from delamo.data.image_paths import ImageRoot
from delamo.data.quarantine import BadRow, quarantined
from delamo.data.readers.splits import Item, as_task, draw_both
from delamo.records import Quarantined, Sample


@dataclass(slots=True, kw_only=True)
class CaltechTaskConfig(TaskConfig):
    """Living or non-living, from the class folders of Caltech101."""

    root: str = MISSING
    num_val_samples: int = MISSING
    num_test_samples: int = MISSING
    seed: int = MISSING


QUESTION = "Is the thing in the picture living or non-living?"
OPTIONS = ("living", "non-living")
LIVING = frozenset(
    [
        "ant",
        "bass",
        "beaver",
        "bonsai",
        "brontosaurus",
        "butterfly",
        "cougar_body",
        "cougar_face",
        "crab",
        "crayfish",
        "crocodile",
        "crocodile_head",
        "dalmatian",
        "dolphin",
        "dragonfly",
        "elephant",
        "emu",
        "faces",
        "faces_easy",
        "flamingo",
        "flamingo_head",
        "gerenuk",
        "hawksbill",
        "hedgehog",
        "ibis",
        "joshua_tree",
        "kangaroo",
        "leopards",
        "llama",
        "lobster",
        "lotus",
        "mayfly",
        "nautilus",
        "octopus",
        "okapi",
        "panda",
        "pigeon",
        "platypus",
        "rhino",
        "rooster",
        "scorpion",
        "sea_horse",
        "starfish",
        "stegosaurus",
        "strawberry",
        "sunflower",
        "tick",
        "trilobite",
        "water_lilly",
        "wild_cat",
    ]
)
NON_LIVING = frozenset(
    [
        "accordion",
        "airplanes",
        "anchor",
        "barrel",
        "binocular",
        "brain",
        "buddha",
        "camera",
        "cannon",
        "car_side",
        "ceiling_fan",
        "cellphone",
        "chair",
        "chandelier",
        "cup",
        "dollar_bill",
        "electric_guitar",
        "euphonium",
        "ewer",
        "ferry",
        "garfield",
        "gramophone",
        "grand_piano",
        "headphone",
        "helicopter",
        "inline_skate",
        "ketch",
        "lamp",
        "laptop",
        "mandolin",
        "menorah",
        "metronome",
        "minaret",
        "motorbikes",
        "pagoda",
        "pizza",
        "pyramid",
        "revolver",
        "saxophone",
        "schooner",
        "scissors",
        "snoopy",
        "soccer_ball",
        "stapler",
        "stop_sign",
        "umbrella",
        "watch",
        "wheelchair",
        "windsor_chair",
        "wrench",
        "yin_yang",
    ]
)
NOT_A_CLASS = frozenset({"background_google"})  # clutter, which is neither


def read_task(config: CaltechTaskConfig) -> Task:
    """Read the task of a folder of class folders; disjoint validation and test samples are drawn from its images.

    Raises:
        NotADirectoryError: no such folder.
        ValueError: fewer usable images than asked for.
    """
    root = Path(config.root)
    images = ImageRoot(root, "task.root")
    bad_rows: list[Quarantined] = []
    items: dict[str, Item] = {}
    files = sorted(path for path in root.glob("*/*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    for number, path in enumerate(files, 1):
        name, group = path.relative_to(root).as_posix(), path.parent.name.casefold()
        if group in NOT_A_CLASS:
            continue
        try:
            if group not in LIVING | NON_LIVING:
                raise BadRow("unknown class", "folder", path.parent.name, "neither living nor non-living")
            file = images.locate(name)
            answer = OPTIONS[group in NON_LIVING]
            sample = Sample(
                id=f"caltech101-{path.parent.name}-{path.stem}",
                instruction=QUESTION,
                answer=answer,
                options=OPTIONS,
                gold=OPTIONS.index(answer),
                image=file.path,
                source=path.parent.name,
            )
            if sample.id in items:
                raise BadRow("duplicate id", "file", name, "another suffix of the same name is used")
            items[sample.id] = Item.of(sample, file)
        except BadRow as bad:
            bad_rows.append(quarantined(bad, id=name, stage="task", file=root, record=number))
    key = f"task.num_val_samples + task.num_test_samples, {root}"
    parts = draw_both(items, config.num_val_samples, config.num_test_samples, config.seed, key, bad_rows)
    return as_task("caltech101_living", parts, bad_rows)


add_task("caltech101_living", CaltechTaskConfig, read_task)
