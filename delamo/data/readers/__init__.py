"""One file for each published format that a task or a pool is read from.

A file holds the schemas of its format, the functions that read it, and the calls of `add_task` and `add_pool` that
declare both. A new one: its file, a YAML file in `conf/task` or `conf/pool`, and one line below.
"""

from delamo.data.readers import (
    caltech101_living,
    coco_caption_match,
    coco_classification,
    hf_dataset,
    llava_json,
    micro,
    mmbench,
    nlvr,
    parquet,
    scienceqa,
    vision_flan,
    visual7w,
)

__all__ = [
    "caltech101_living",
    "coco_caption_match",
    "coco_classification",
    "hf_dataset",
    "llava_json",
    "micro",
    "mmbench",
    "nlvr",
    "parquet",
    "scienceqa",
    "vision_flan",
    "visual7w",
]
