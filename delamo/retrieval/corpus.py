"""A corpus on its way into an index: read once as a stream, identified by a digest, turned into token ids.

A corpus is what an index keeps of its documents besides the scores: their ids, as one block of UTF-8, and the digest
of ids and texts. The texts themselves are not kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path

import numpy as np

from delamo.retrieval.tokenize import word_reader

CHUNK_DOCS = 50_000
"""Documents held as text at a time: about 10 MB of skills. Part of the digest's definition."""


@dataclass(frozen=True, slots=True)
class DocIds:
    """Ids in ascending order, compactly: 1.5 M ids of 20 characters take 42 MB, and none when memory-mapped."""

    text: np.ndarray
    """(num_bytes,) uint8: all ids in UTF-8, one after the other."""
    ends: np.ndarray
    """(num_docs + 1,) int64: id i is text[ends[i]:ends[i + 1]]."""

    def __len__(self) -> int:
        return len(self.ends) - 1

    def take(self, rows: np.ndarray) -> list[str]:
        """Return the ids of `rows`, in their order."""
        text = memoryview(self.text)
        starts, ends = self.ends[rows].tolist(), self.ends[rows + 1].tolist()
        return [str(text[start:end], "utf-8", "surrogatepass") for start, end in zip(starts, ends, strict=True)]

    def save(self, folder: Path) -> None:
        """Write both arrays."""
        np.save(folder / "ids.text.npy", self.text)
        np.save(folder / "ids.ends.npy", self.ends)

    @classmethod
    def load(cls, folder: Path, *, mmap: bool) -> DocIds:
        """Read what `save` wrote, or map it into memory."""
        mode = "r" if mmap else None
        return cls(*(np.load(folder / f"ids.{name}.npy", mmap_mode=mode) for name in ("text", "ends")))


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents as token ids, row i being the i-th id in ascending order."""

    ids: DocIds
    tokens: np.ndarray
    """(num_tokens,) int32 into `vocabulary`: the documents' tokens, one document after the other."""
    lengths: np.ndarray
    """(num_docs,) int32: tokens of each document."""
    vocabulary: dict[str, int]
    digest: str


def read_corpus(docs: Iterable[tuple[str, str]], *, stop_words: bool, stemming: bool) -> Corpus:
    """Tokenize a stream of (id, text) in strictly ascending order of id, holding `CHUNK_DOCS` texts at a time.

    Raises:
        ValueError: no documents, an id twice, or ids out of order (rows must be in id order, for ties break by id).
    """
    words, hasher = _Numbering(), _CorpusHash()
    id_parts, chunks = [], []
    for ids, texts in _chunks(docs):
        hasher.update(ids, texts)
        split = [text.split() for text in texts]
        counts = np.fromiter(map(len, split), np.int64, len(split))
        numbers = np.fromiter(map(words.__getitem__, chain.from_iterable(split)), np.int32, int(counts.sum()))
        chunks.append((numbers, counts))
        id_parts.append(_pack(ids))
    if not id_parts:
        raise ValueError("no documents to index: the pool's annotation is empty")
    tokens, lengths, vocabulary = _tokens_of_words(chunks, words, stop_words=stop_words, stemming=stemming)
    return Corpus(_join(id_parts), tokens, lengths, vocabulary, hasher.hexdigest())


def corpus_digest(docs: Iterable[tuple[str, str]]) -> str:
    """Return the digest that an index of `docs` records: of every id and text, in ascending order of id."""
    hasher = _CorpusHash()
    for ids, texts in _chunks(docs):
        hasher.update(ids, texts)
    return hasher.hexdigest()


class _Numbering(dict):
    """Number keys in the order in which they are first looked up."""

    def __missing__(self, key: str) -> int:
        self[key] = number = len(self)
        return number


class _CorpusHash:
    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        # The lengths make the joined text unambiguous, whatever characters it holds.
        for strings in (ids, texts):
            self._hash.update(np.fromiter(map(len, strings), np.int64, len(strings)).tobytes())
            self._hash.update("".join(strings).encode("utf-8", "surrogatepass"))

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _chunks(docs: Iterable[tuple[str, str]]) -> Iterator[tuple[list[str], list[str]]]:
    from tqdm import tqdm

    stream = iter(docs)
    last = None
    with tqdm(desc="read documents", unit="doc", unit_scale=True, delay=5) as bar:
        while chunk := list(islice(stream, CHUNK_DOCS)):
            ids, texts = map(list, zip(*chunk, strict=True))
            _require_ascending(ids if last is None else [last, *ids])
            last = ids[-1]
            yield ids, texts
            bar.update(len(ids))


def _require_ascending(ids: Sequence[str]) -> None:
    for before, after in pairwise(ids):
        if before >= after:
            problem = "stands twice" if before == after else f"comes after {before!r}"
            raise ValueError(
                f"documents must come in ascending order of distinct ids: {after!r} {problem}; sort them by id"
            )


def pack_ids(ids: Sequence[str]) -> DocIds:
    """Pack ids compactly, in their order."""
    return _join([_pack(ids)])


def _pack(ids: Sequence[str]) -> tuple[bytes, np.ndarray]:
    encoded = [id.encode("utf-8", "surrogatepass") for id in ids]
    return b"".join(encoded), np.fromiter(map(len, encoded), np.int64, len(encoded))


def _join(parts: Sequence[tuple[bytes, np.ndarray]]) -> DocIds:
    text = np.frombuffer(b"".join(text for text, _ in parts), np.uint8)
    return DocIds(text, np.concatenate([[0], *(sizes for _, sizes in parts)]).cumsum().astype(np.int64))


def _tokens_of_words(
    chunks: Sequence[tuple[np.ndarray, np.ndarray]], words: Iterable[str], **options: bool
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Replace every word number by the numbers of that word's tokens: none, one or several.

    Args:
        chunks: (word numbers of all documents, words of each document) for each chunk.
        words: every distinct word, in the order of its number.
        options: of `word_reader`.

    Returns:
        tokens (num_tokens,), lengths (num_docs,), vocabulary.
    """
    vocabulary, read = _Numbering(), word_reader(**options)
    of_word = [[vocabulary[token] for token in read(word)] for word in words]
    sizes = np.fromiter(map(len, of_word), np.int64, len(of_word))
    flat = np.fromiter(chain.from_iterable(of_word), np.int32, int(sizes.sum()))
    starts = np.cumsum(sizes) - sizes
    tokens, lengths = [], []
    for numbers, words_per_doc in chunks:
        ends = np.concatenate([[0], sizes[numbers].cumsum()])
        shift = np.repeat(starts[numbers] - ends[:-1], sizes[numbers])
        tokens.append(flat[shift + np.arange(ends[-1])])
        lengths.append(np.diff(ends[np.concatenate([[0], words_per_doc.cumsum()])]).astype(np.int32))
    return np.concatenate(tokens), np.concatenate(lengths), dict(vocabulary)
