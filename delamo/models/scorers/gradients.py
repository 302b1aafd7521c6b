"""Gradients of single samples with respect to a LoRA adapter, as directions of Adam's next step, projected.

The gradient features of LESS (Xia et al. 2024, sections 3 and 4): the influence of a training sample on a validation
sample is the cosine of the sample's Adam update with the validation sample's plain gradient, summed over checkpoints
of a warm-up with their learning rates as weights.

Legend of shapes: B samples of a batch, T tokens, P weights of the adapter, D projected dimensions, C checkpoints.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from delamo.data.quarantine import UnusableError
from delamo.models.scorers.losses import by_batches, scored_logits
from delamo.records import Sample

if TYPE_CHECKING:
    import numpy as np
    import torch

    from delamo.models.students.local import Student

MOMENTS, METADATA = "moments.safetensors", "moments.json"


class AdamFormula(Enum):
    """What stands for Adam's step in an influence.

    `paper`: both moments corrected for their start at zero, epsilon outside the root (LESS, section 3.1; Kingma and Ba
    2015, algorithm 1), the step that the warm-up's optimizer would make. `released`: neither moment corrected, epsilon
    inside the root (github.com/princeton-nlp/LESS, obtain_gradients_with_adam): where a squared gradient is below
    epsilon, 1e-8, the root is epsilon's, and the direction nearly the plain gradient's.
    """

    paper = "paper"
    released = "released"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """An adapter in the middle of its tuning: its weights, and Adam's moments of each."""

    weights: dict[str, torch.Tensor]
    """By the name of the linear layer that each belongs to."""
    first: dict[str, torch.Tensor]
    """Running mean of the gradients, not yet corrected for its start at zero."""
    second: dict[str, torch.Tensor]
    """Running mean of the squared gradients, not yet corrected for its start at zero."""
    step: int
    """Optimizer steps that Adam has made."""
    betas: tuple[float, float]
    eps: float
    learning_rate: float
    """Mean over the steps since the checkpoint before."""

    def save(self, folder: Path) -> None:
        """Write the moments into an existing folder."""
        from safetensors.torch import save_file

        parts = {"weights": self.weights, "first": self.first, "second": self.second}
        tensors = {f"{part}/{name}": tensor for part, row in parts.items() for name, tensor in row.items()}
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, folder / MOMENTS)
        names = ("step", "betas", "eps", "learning_rate")
        (folder / METADATA).write_text(json.dumps({name: getattr(self, name) for name in names}, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path, device: str | torch.device = "cpu") -> Moments:
        """Read the files of `save`."""
        from safetensors.torch import load_file

        parts: dict[str, dict[str, torch.Tensor]] = {"weights": {}, "first": {}, "second": {}}
        for key, tensor in load_file(folder / MOMENTS, device=str(device)).items():
            part, _, name = key.partition("/")
            parts[part][name] = tensor
        metadata = json.loads((folder / METADATA).read_text())
        return cls(**parts, **metadata | {"betas": tuple(metadata["betas"])})

    def direction(self, name: str, gradient: torch.Tensor, formula: AdamFormula) -> torch.Tensor:
        """Compute the direction of Adam's next step by this gradient alone.

        Args:
            name: of the linear layer.
            gradient: (B, ...).
            formula: of the step.

        Returns:
            (B, ...), not multiplied by the learning rate.
        """
        (beta1, beta2), step = self.betas, self.step + 1
        if formula is AdamFormula.released:
            square = beta2 * self.second[name] + (1 - beta2) * gradient.square()
            return (beta1 * self.first[name] + (1 - beta1) * gradient) / (square + self.eps).sqrt()
        mean = (beta1 * self.first[name] + (1 - beta1) * gradient) / (1 - beta1**step)
        square = (beta2 * self.second[name] + (1 - beta2) * gradient.square()) / (1 - beta2**step)
        return mean / (square.sqrt() + self.eps)


class Projection:
    """A random projection to `dim` numbers that keeps inner products: a signed random permutation, folded.

    Each weight falls with a random sign into one of `dim` sums. Inner products are unbiased, and their variance is at
    most (|a|^2 |b|^2 + <a, b>^2) / dim, that of the dense random signs which LESS uses (Charikar et al. 2002;
    Weinberger et al. 2009); the cost is P and not P x dim for each sample.

    Args:
        sizes: numbers in each named part; the draws of the parts do not depend on one another.
        dim: D.
        seed: of the draws.
        device: of the projected tensors.

    Raises:
        ValueError: `dim` is below 1.
    """

    def __init__(self, sizes: dict[str, int], dim: int, seed: int, device: str | torch.device = "cpu") -> None:
        import torch

        if dim < 1:
            raise ValueError(f"selector.projection_dim is {dim}: choose at least 1")
        self.dim = dim
        self._permutations: dict[str, torch.Tensor] = {}
        self._signs: dict[str, torch.Tensor] = {}
        for name, size in sizes.items():
            padded = -(-size // dim) * dim
            entropy = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(entropy[:8]) >> 1)
            self._permutations[name] = torch.randperm(padded, generator=generator).to(torch.int32).to(device)
            self._signs[name] = (torch.randint(2, (padded,), generator=generator) * 2 - 1).to(torch.int8).to(device)

    def __call__(self, parts: Iterator[tuple[str, torch.Tensor]], num_rows: int) -> torch.Tensor:
        """Project (name, (B, size)) of every part to (B, D)."""
        import torch

        total = torch.zeros(num_rows, self.dim)
        for name, values in parts:
            permutation, signs = self._permutations[name], self._signs[name]
            padded = torch.nn.functional.pad(values, (0, len(permutation) - values.shape[1]))
            total = total.to(values.device)
            total += (padded.index_select(1, permutation) * signs).view(num_rows, -1, self.dim).sum(dim=1)
        return total


class SampleGradients:
    """A student with the adapter of a warm-up on it, and the warm-up's checkpoints.

    As a context, it takes the adapter off at the end.

    Args:
        student: a `Student` without an adapter.
        checkpoints: folders with an adapter and its moments.
        projection_dim: D.
        seed: of the projection.

    Raises:
        ValueError: an adapter does not fit, or is not of linear layers alone.
    """

    def __init__(self, student: Student, checkpoints: Sequence[Path], *, projection_dim: int, seed: int) -> None:
        from delamo.models.hf.adapter import load_adapter

        student.model = load_adapter(student.model, checkpoints[-1]).eval().requires_grad_(False)
        self.student = student
        self.layers = lora_layers(student.model)
        self.moments = [Moments.load(folder, student.model.device) for folder in checkpoints]
        other = set(self.moments[-1].weights) - set(self.layers)
        if other:
            raise ValueError(
                f"selector.target_modules matches {min(other)}: gradients are taken of linear layers alone"
            )
        for layer in self.layers.values():
            layer.weight.requires_grad = True
        sizes = {name: layer.weight.numel() for name, layer in self.layers.items()}
        self.project = Projection(sizes, projection_dim, seed, student.model.device)
        rates = [moments.learning_rate for moments in self.moments]
        self.shares = [rate / sum(rates) for rate in rates]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.student.model = self.student.model.unload()

    @property
    def width(self) -> int:
        """Numbers of a row: C x D."""
        return len(self.moments) * self.project.dim

    def rows(
        self, samples: Sequence[Sample], *, adam: AdamFormula | None, batch_size: int
    ) -> Iterator[tuple[int, np.ndarray | UnusableError]]:
        """Yield (index, row (C x D,) of length 1, or what made the sample unusable).

        The checkpoints' projected directions, each of length 1, stand side by side, scaled so that the inner product
        of two rows is the mean of their cosines with the checkpoints' learning rates as weights.

        Args:
            samples: whose gradients are taken.
            adam: formula of Adam's direction, for training samples; None is the plain gradient, for validation samples.
            batch_size: samples of a forward and backward pass; no gradient depends on its neighbors.
        """

        def work(batch: dict[str, torch.Tensor]) -> list[np.ndarray]:
            import torch

            labels = batch.pop("labels")
            parts = []
            for moments, share in zip(self.moments, self.shares, strict=True):
                self._load_weights(moments)
                gradients = sample_gradients(self.student.model, self.layers, batch, labels)
                directions = ((name, moments.direction(name, g, adam) if adam else g) for name, g in gradients.items())
                projected = self.project(((name, g.flatten(1)) for name, g in directions), len(labels))
                parts.append(torch.nn.functional.normalize(projected, dim=1) * share**0.5)
            return list(torch.cat(parts, dim=1).cpu().numpy())

        return by_batches(self.student, samples, batch_size, work, gradients=True)

    def _load_weights(self, moments: Moments) -> None:
        for name, layer in self.layers.items():
            layer.weight.data.copy_(moments.weights[name])


def lora_layers(model: Any) -> dict[str, torch.nn.Linear]:
    """Return the adapter's linear layers by name."""
    from torch import nn

    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and (".lora_A." in name or ".lora_B." in name)
    }


def sample_gradients(
    model: Any, layers: dict[str, torch.nn.Linear], inputs: dict[str, torch.Tensor], labels: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Compute the gradients of each sample's own loss, the mean over its reply's tokens.

    One backward pass for all samples: a layer's gradient is the sum over tokens of (gradient at its output) x (its
    input), and neither mixes samples.

    Args:
        model: with the adapter on it.
        layers: by name.
        inputs: of the model.
        labels: (B, T), IGNORED where a token is not scored.

    Returns:
        (B, outputs, inputs) by the layers' names.

    Raises:
        ValueError: a layer that does not see tokens by sample, such as one of some vision towers.
    """
    import torch

    calls: list[tuple[str, torch.Tensor, torch.Tensor]] = []
    hooks = [layer.register_forward_hook(_record(calls, name)) for name, layer in layers.items()]
    try:
        logits, tokens, rows = scored_logits(model, inputs, labels)
    finally:
        for hook in hooks:
            hook.remove()
    losses = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    counts = torch.bincount(rows, minlength=len(labels))
    outputs = [output for _, _, output in calls]
    slopes = torch.autograd.grad((losses / counts[rows]).sum(), outputs, allow_unused=True, materialize_grads=True)
    gradients: dict[str, torch.Tensor] = {}
    for (name, tokens_in, _), slope in zip(calls, slopes, strict=True):
        if tokens_in.ndim != 3 or len(tokens_in) != len(labels):
            raise ValueError(
                f"selector.target_modules matches {name}, which sees {tuple(tokens_in.shape)} and not {len(labels)} "
                "samples of tokens: choose language_model"
            )
        part = torch.einsum("bto,bti->boi", slope.float(), tokens_in.detach().float())
        gradients[name] = gradients[name] + part if name in gradients else part
    return gradients


def _record(calls: list[tuple[str, torch.Tensor, torch.Tensor]], name: str) -> Any:
    def hook(module: Any, args: tuple[Any, ...], output: torch.Tensor) -> None:
        calls.append((name, args[0], output))

    return hook
