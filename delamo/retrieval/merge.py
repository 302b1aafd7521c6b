"""Merge the ranked lists of many errors into one selection of exactly N samples.

The paper (section 3.5) says only that the top K are taken. The lists may be merged in two ways:

- `round_robin` (default): the errors take turns in ascending order of id, and each takes the best sample of its list
  that nobody has taken. Every error is served alike, however common the words of its skill are.
- `score`: samples in order of their best score in any list. BM25 scores of different queries are not on one scale
  (longer and rarer queries score higher), so that a few errors may take it all: the control.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from itertools import islice

import numpy as np

from delamo.records import FILL, Selected, Skill
from delamo.retrieval.index import Hit, Index


class Merge(Enum):
    """How the errors' ranked lists become one selection."""

    round_robin = "round_robin"
    score = "score"


class Fill(Enum):
    """What happens when the ranked lists run dry before the budget is spent."""

    random = "random"
    error = "error"


Turn = tuple[Skill, Hit]
"""A hit and the error whose list it came from."""


class RankedLists:
    """The hits of several queries, fetched as deep as they are read: a list that goes on is doubled."""

    def __init__(self, index: Index, queries: Sequence[str], *, depth: int, together: bool = True) -> None:
        """Search for the first `depth` hits of each query.

        Args:
            index: to search.
            queries: distinct.
            depth: hits of a list at first.
            together: double all lists that go on at once, for queries that are read alike; else only the one that is
                read, since a list that takes nearly all would make every other as deep as itself.
        """
        self._index = index
        self._together = together
        self._depths = dict.fromkeys(queries, depth)
        self._lists = dict(zip(queries, index.search(queries, depth), strict=True))

    def get(self, query: str, rank: int) -> Hit | None:
        """Return the hit at the 0-based `rank` of a query's list, None past its end."""
        while rank >= len(self._lists[query]) and self._goes_on(query):
            self._deepen([other for other in self._lists if self._goes_on(other)] if self._together else [query])
        hits = self._lists[query]
        return hits[rank] if rank < len(hits) else None

    def _goes_on(self, query: str) -> bool:
        return len(self._lists[query]) == self._depths[query]

    def _deepen(self, queries: Sequence[str]) -> None:
        """Double the depth of lists that have one depth."""
        depth = 2 * self._depths[queries[0]]
        self._depths.update(dict.fromkeys(queries, depth))
        self._lists.update(zip(queries, self._index.search(queries, depth), strict=True))


def merge_lists(
    skills: Sequence[Skill],
    index: Index,
    pool_ids: Sequence[str],
    *,
    num_samples: int,
    merge: Merge,
    fill: Fill,
    excluded: AbstractSet[str],
    rng: np.random.Generator,
) -> list[Selected]:
    """Select exactly `num_samples` distinct samples of the pool, in the order in which they were taken.

    Args:
        skills: one missing skill for each error, the text being its query; their order does not matter.
        index: over the skills of the pool's samples.
        pool_ids: all ids of the pool, ascending.
        num_samples: N, at most the pool's size.
        merge: how the lists become one.
        fill: what to do where all the lists together hold fewer than N samples: `random` draws the rest from the pool
            (reason `fill`, to be counted in the report), `error` refuses. The paper is silent.
        excluded: ids that the index may hold and that must not be taken.
        rng: draws the fill; not touched otherwise.

    Raises:
        ValueError: the lists run dry under `error`, or the index holds a sample that the pool lacks.
    """
    ordered = sorted(skills, key=lambda skill: (skill.val_id, skill.skill))
    queries = list(dict.fromkeys(skill.skill for skill in ordered))
    # Twice an even share leaves room for samples that other errors took first.
    depth = 2 * num_samples // max(len(queries), 1) + 8
    lists = RankedLists(index, queries, depth=depth, together=merge is Merge.round_robin) if queries else None
    turns = islice(MERGES[merge](ordered, lists, excluded), num_samples) if lists else ()
    selected = [_selected(rank, skill, hit) for rank, (skill, hit) in enumerate(turns)]
    taken = {row.id for row in selected}
    rest = [id for id in pool_ids if id not in taken]
    if len(rest) != len(pool_ids) - len(taken):
        raise ValueError("the retrieval index holds samples that the pool lacks: build the index of this pool")
    missing = num_samples - len(selected)
    if missing and fill is Fill.error:
        raise ValueError(
            f"budget.num_samples is {num_samples}, but the {len(queries)} missing skills share a word with only "
            f"{len(taken)} samples: choose at most that, or selector.fill=random"
        )
    drawn = rng.choice(len(rest), missing, replace=False).tolist() if missing else []
    return selected + [Selected(id=rest[i], rank=rank, reason=FILL) for rank, i in enumerate(drawn, len(selected))]


def _round_robin(skills: Sequence[Skill], lists: RankedLists, excluded: AbstractSet[str]) -> Iterator[Turn]:
    """Let the errors take turns. Errors with equal queries share a list and the rank reached in it."""
    seen = set(excluded)
    ranks = dict.fromkeys((skill.skill for skill in skills), 0)
    waiting = list(skills)
    while waiting:
        served = []
        for skill in waiting:
            while (hit := lists.get(skill.skill, ranks[skill.skill])) and hit.id in seen:
                ranks[skill.skill] += 1
            if hit:
                seen.add(hit.id)
                served.append(skill)
                yield skill, hit
        waiting = served


def _by_score(skills: Sequence[Skill], lists: RankedLists, excluded: AbstractSet[str]) -> Iterator[Turn]:
    """Merge the sorted lists. A sample that several errors hit equally well goes to the first of them."""
    seen = set(excluded)
    first_with = {skill.skill: skill for skill in reversed(skills)}
    heads: list[tuple[float, str, int, int]] = []
    owners = sorted(first_with.values(), key=skills.index)

    def push(owner: int, rank: int) -> None:
        if hit := lists.get(owners[owner].skill, rank):
            heapq.heappush(heads, (-hit.score, hit.id, owner, rank))

    for owner in range(len(owners)):
        push(owner, 0)
    while heads:
        _, id, owner, rank = heapq.heappop(heads)
        if id not in seen:
            seen.add(id)
            yield owners[owner], lists.get(owners[owner].skill, rank)
        push(owner, rank + 1)


MERGES: dict[Merge, Callable[[Sequence[Skill], RankedLists, AbstractSet[str]], Iterator[Turn]]] = {
    Merge.round_robin: _round_robin,
    Merge.score: _by_score,
}


def _selected(rank: int, skill: Skill, hit: Hit) -> Selected:
    return Selected(
        id=hit.id,
        rank=rank,
        score=hit.score,
        skill=skill.skill,
        val_id=skill.val_id,
        matched_terms=hit.terms,
        reason="retrieved",
    )
