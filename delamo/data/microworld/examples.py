"""One example of the microworld from its address; two calls with one address give the same example.

An address is what a sample's `image` locator holds:

    micro:pool/SEED/INDEX                 a pool sample
    micro:TARGET/SPLIT/SEED/INDEX         a validation (`val`) or test sample of a target

The scene and the question come from one random stream, the wording from another, so that `surface_overlap` changes
words and nothing else.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from random import Random

from delamo.data.microworld.catalogue import FAMILIES, TARGETS, Family
from delamo.data.microworld.questions import KINDS, Kind, QuestionDraft
from delamo.data.microworld.scene import Scene

LETTERS = "ABCDEFGHIJ"
WORLD_VERSION = 2
"""Raised with every change of the example at an address, so that stored results of the old world are not used."""


@dataclass(frozen=True, slots=True)
class Example:
    """A scene, one question about it, and the worked answer."""

    kind: Kind
    draft: QuestionDraft
    family: str
    options: tuple[str, ...]
    """Shuffled; empty when the question is open."""

    @property
    def scene(self) -> Scene:
        """The scene that the question is about."""
        return self.draft.scene

    @property
    def gold(self) -> int | None:
        """Index of the right option; None when the question is open."""
        return self.options.index(self.draft.answer) if self.options else None


def example_at(locator: str) -> Example:
    """Return the example at an address.

    Raises:
        ValueError: the address is none of the microworld's.
    """
    match locator.removeprefix("micro:").split("/"):
        case ["pool", seed, index]:
            return pool_example(int(seed), int(index))
        case [target, split, seed, index] if target in TARGETS and split in ("val", "test"):
            return target_example(target, split, int(seed), int(index))
    raise ValueError(
        f"{locator!r} is no address of the microworld: micro:pool/SEED/INDEX or micro:TARGET/val|test/SEED/INDEX"
    )


def split_of(locator: str) -> str:
    """Return the split of an address: `pool`, `val` or `test`."""
    head = locator.removeprefix("micro:").split("/")
    return "pool" if head[0] == "pool" else head[1]


def pool_example(seed: int, index: int) -> Example:
    """Return the example of a pool sample."""
    rng = Random(f"pool/{seed}/{index}")
    name = _draw_family(rng)
    family = FAMILIES[name]
    return _draw(rng, family.kind, name, family.multiple_choice)


def target_example(target: str, split: str, seed: int, index: int) -> Example:
    """Return the example of a target's validation or test sample."""
    rng = Random(f"{target}/{split}/{seed}/{index}")
    spec = TARGETS[target]
    kind = rng.choices(list(spec.shares), list(spec.shares.values()))[0]
    return _draw(rng, kind, target, spec.multiple_choice)


@lru_cache(maxsize=1)
def _family_table() -> tuple[list[str], list[float]]:
    return list(FAMILIES), list(accumulate(family.weight for family in FAMILIES.values()))


def _draw_family(rng: Random) -> str:
    names, cumulative = _family_table()
    return names[bisect(cumulative, rng.random() * cumulative[-1])]


def _draw(rng: Random, kind_name: str, family: str, multiple_choice: bool) -> Example:
    kind = KINDS[kind_name]
    draft = kind.draw(rng)
    return Example(kind, draft, family, draw_options(rng, draft) if multiple_choice else ())


def draw_options(rng: Random, draft: QuestionDraft) -> tuple[str, ...]:
    """Return the options of a question.

    A small set of answers (big, small) is given whole, in its own order; of a larger one, the answer among others,
    shuffled.
    """
    domain = tuple(dict.fromkeys(draft.domain))
    if len(domain) <= draft.max_options:
        return domain
    wrong = [text for text in domain if text != draft.answer]
    options = [draft.answer, *rng.sample(wrong, draft.max_options - 1)]
    return tuple(rng.sample(options, len(options)))


# Words.


def target_question(example: Example, locator: str) -> str:
    """Return the question as its target asks it, setting first."""
    rng = Random(f"words/{locator}")
    return f"{TARGETS[example.family].setting} {ask(rng, example, plain=True)}"


def pool_instruction(example: Example, locator: str, surface_overlap: float) -> str:
    """Return the pool sample's whole user turn, options inline.

    Args:
        example: of the sample.
        locator: its address, which seeds the wording.
        surface_overlap: in [0, 1]. At 1 the samples that train a target's skill are worded as the target is; at 0
            they come in other words, and samples that train something else wear the target's setting.
    """
    rng = Random(f"words/{locator}")
    family = FAMILIES[example.family]
    setting, plain = _wording(rng, family, surface_overlap)
    return f"{setting} {ask(rng, example, plain)}" + options_line(example.options)


def _wording(rng: Random, family: Family, surface_overlap: float) -> tuple[str, bool]:
    draw = rng.random()
    if family.related is not None and draw < surface_overlap:
        return TARGETS[family.related].setting, True
    if family.decoy is not None and draw >= surface_overlap:
        return TARGETS[family.decoy].setting, True
    return family.setting, False


def ask(rng: Random, example: Example, plain: bool) -> str:
    """Draw a wording of the question: one of the targets' (`plain`), or one of the pool's own families'."""
    wordings = example.kind.plain if plain else example.kind.other
    return rng.choice(wordings).format(**example.draft.words)


def options_line(options: tuple[str, ...]) -> str:
    """Return the line `Options: (A) red (B) blue`, after a line break; nothing for an open question."""
    if not options:
        return ""
    return "\nOptions:" + "".join(f" ({letter}) {text}" for letter, text in zip(LETTERS, options, strict=False))


def worked_answer(example: Example) -> str:
    """Return the reply that tuning imitates: scan, reasoning, answer, a walk over the options, final answer."""
    draft = example.draft
    sentences = [*draft.scene.scan(), *draft.reasoning]
    if draft.answer:
        sentences.append(f"So the answer is {draft.answer}.")
        sentences += [verdict(i, text, text == draft.answer) for i, text in enumerate(example.options)]
        final = draft.answer if example.gold is None else f"({LETTERS[example.gold]})"
        sentences.append(f"The final answer is {final}.")
    return " ".join(sentences)


def verdict(index: int, text: str, fits: bool) -> str:
    """Return one step of the walk, in the words of the options line, so that finding the letter is copying."""
    return f"({LETTERS[index]}) {text} {'fits' if fits else 'does not fit'}."
