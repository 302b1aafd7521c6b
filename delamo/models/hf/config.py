"""Choices that the schemas of students, local teachers and tuning share."""

from __future__ import annotations

from enum import Enum


class Dtype(Enum):
    """Number format of a model's weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Attention(Enum):
    """Attention implementation, as transformers names them."""

    sdpa = "sdpa"
    eager = "eager"
    flash_attention_2 = "flash_attention_2"
