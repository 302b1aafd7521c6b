"""A teacher behind an API: prompts to requests, replies to probabilities and texts. The asking itself is in `delamo.models.api`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from delamo.models.api.batches import Batches
from delamo.models.api.client import Engine, note
from delamo.models.api.requests import Reply, Request
from delamo.models.api.transport import TeacherUnavailable
from delamo.models.teachers.base import OptionScores, PrefixPrompt, Refusal
from delamo.models.teachers.capabilities import Probe, TokenIds, probe
from delamo.models.teachers.option_probabilities import (
    answer_position,
    read_options,
    read_samples,
    read_token_ids,
    spellings,
)
from delamo.models.usage import Spent
from delamo.records import LETTERS

MAX_TOKEN_IDS = 128  # of one request, in vLLM
ESTIMATED_FROM = 1_000  # prompts


@dataclass(slots=True)
class LiteLLMTeacher:
    """Any model that litellm reaches; `load_teacher` makes one from a config."""

    engine: Engine
    prompts: str = "paper"
    sees_images: bool = False
    readout: str = "auto"
    """`auto` takes the best that the probe finds; `samples` only when it is asked for."""
    top_logprobs: int = 20
    num_samples: int = 10
    sample_temperature: float = 1.0
    answer_max_tokens: int = 1
    """Tokens of a reply among which the option letter is looked for."""
    batch: bool = False
    """The pool is annotated through batch files."""
    _found: Probe | None = field(default=None, init=False, repr=False)
    _token_ids: TokenIds = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._token_ids = TokenIds(self.engine)

    @property
    def spent(self) -> Spent:
        """See `Teacher.spent`."""
        return self.engine.spent

    # Option probabilities.

    def option_probabilities(self, prompts: Sequence[PrefixPrompt]) -> list[OptionScores | Refusal]:
        """See `Teacher.option_probabilities`; one request for each prefix, or `num_samples` of them. No picture goes along.

        Raises:
            TeacherUnavailable: the service gives no log-probabilities, and draws were not asked for.
        """
        if not prompts:
            return []
        how = self._readout()
        asked = [self._requests(text, prompt.num_options, how) for prompt in prompts for text in prompt.prefixes()]
        replies = iter(self.engine.ask([one for several in asked for one in several], label="read rationales"))
        rows = (self._row(list(islice(replies, len(several))), several) for several in asked)
        return [self._scores(list(islice(rows, len(prompt.steps) + 1)), prompt.num_options, how) for prompt in prompts]

    def _readout(self) -> str:
        found = self._probe()
        if self.readout == "samples":
            return "samples"
        if found.readout is None:
            raise TeacherUnavailable(
                f"teacher.model {self.engine.service.model} gives no log-probabilities ({found.detail}): choose a model that "
                "does, or ask for draws with teacher.readout=samples"
            )
        if self.readout == "token_ids" and found.readout != "token_ids":
            raise TeacherUnavailable(
                f"teacher.readout is token_ids, but {self.engine.service.model} does not take `logprob_token_ids` "
                "(vLLM does from 0.30 on): use teacher.readout=auto"
            )
        return found.readout if self.readout == "auto" else self.readout

    def _requests(self, text: str, num_options: int, how: str) -> list[Request]:
        stop = self._stop if how == "samples" else ()
        common = {"text": text, "max_tokens": self.answer_max_tokens, "stop": stop}
        if how == "samples":
            common |= {"temperature": self.sample_temperature, "max_tokens": max(8, self.answer_max_tokens)}
            return [Request(**common, sample=number) for number in range(1, self.num_samples + 1)]
        if how == "token_ids":
            ids = tuple(token for option in self._options(num_options) for token in option)
            return [Request(**common, top_logprobs=len(ids), token_ids=ids)]
        return [Request(**common, top_logprobs=self.top_logprobs)]

    def _options(self, num_options: int) -> list[list[int]]:
        """Ids of the tokens that spell each option letter; beyond 16 options, capital letters alone."""
        texts = [spellings(letter) for letter in LETTERS[:num_options]]
        if sum(map(len, texts)) > MAX_TOKEN_IDS:
            texts = [several[: len(several) // 2] for several in texts]
        return [self._token_ids.of(letter, several) for letter, several in zip(LETTERS, texts, strict=False)]

    @staticmethod
    def _row(replies: list[Reply | Refusal], requests: list[Request]) -> list[Reply] | Refusal:
        """The usable replies to one prefix; a refusal where there is none."""
        good = [reply for reply in replies if isinstance(reply, Reply)]
        return good or next(reply for reply in replies if isinstance(reply, Refusal))

    def _scores(self, rows: list[list[Reply] | Refusal], num_options: int, how: str) -> OptionScores | Refusal:
        read = []
        for row in rows:
            if isinstance(row, Refusal):
                return row
            found = self._read(row, num_options, how)
            if found is None:
                return Refusal("no log-probabilities", "the reply lacks option tokens that were asked for by id")
            read.append(found)
        return OptionScores(tuple(row for row, _ in read), tuple(outside for _, outside in read))

    def _read(self, replies: list[Reply], num_options: int, how: str) -> tuple[tuple[float, ...], float] | None:
        if how == "samples":
            return read_samples([reply.text for reply in replies], num_options)
        positions = replies[0].positions
        if how == "token_ids":
            options = self._options(num_options)
            rows = [read_token_ids(pairs, options) for pairs in positions]
            return next((row for row in rows if row is not None and row[1] <= 0.5), rows[0])
        return read_options(positions[answer_position(positions, num_options)], num_options)

    def _probe(self) -> Probe:
        if self._found is None:
            self._found = probe(self.engine, self._token_ids, self.top_logprobs, with_image=self.sees_images)
        return self._found

    # Completions.

    def complete(
        self, prompts: Sequence[str], *, max_new_tokens: int, images: Sequence[str | None] | None = None
    ) -> list[str | Refusal]:
        """See `Teacher.complete`. Equal requests are sent once.

        Raises:
            ValueError: pictures were given to a teacher that sees none.
        """
        if images is not None and any(images) and not self.sees_images:
            raise ValueError("pictures were given to a teacher with teacher.sees_images=false")
        pairs = zip(prompts, images or [None] * len(prompts), strict=True)
        asked = [self._completion(text, image, max_new_tokens) for text, image in pairs]
        replies = self.engine.ask(asked, label="ask the teacher", keep_refusals=self.batch)
        return [reply if isinstance(reply, Refusal) else reply.text.strip() for reply in replies]

    def _completion(self, text: str, image: str | None, max_new_tokens: int) -> Request:
        return Request(text=text, image=image, max_tokens=max_new_tokens, stop=self._stop)

    @property
    def _stop(self) -> tuple[str, ...]:
        """A bare text goes on for ever: one line is asked for. A chat model ends its turn."""
        return ("\n",) if self.engine.service.api == "completions" else ()

    # The pool.

    def prepare(
        self, prompts: Callable[[int], Iterable[tuple[str, str | None]]], total: int, *, max_new_tokens: int
    ) -> None:
        """Say what many completions will cost, before the first; in batch mode, exchange files until all are answered.

        Args:
            prompts: called with n to go through every n-th (text, picture) pair; none of them is kept.
            total: how many there are.

        Raises:
            BatchPending: files wait for upload or for their output.
        """
        note(self._estimate(prompts, total, max_new_tokens))
        if self.batch:
            requests = (self._completion(text, image, max_new_tokens) for text, image in prompts(1))
            Batches(self.engine).fetch(requests, total=total)

    def _estimate(
        self, prompts: Callable[[int], Iterable[tuple[str, str | None]]], total: int, max_new_tokens: int
    ) -> str:
        every = max(1, total // ESTIMATED_FROM)
        budget = self.engine.budget
        sizes = [
            budget.estimated_tokens(self._completion(text, image, max_new_tokens)) for text, image in prompts(every)
        ]
        tokens, most = round(total * sum(sizes) / max(1, len(sizes))), total * max_new_tokens
        price = "at an unknown price"
        if budget.prices is not None:
            price = f"about {budget.prices.cost(tokens, most, batch=self.batch):,.2f} USD{' by batch' if self.batch else ''}"
            if not self.batch and budget.prices.prompt:
                price += f", {budget.prices.cost(tokens, most, batch=True):,.2f} with teacher.mode=batch"
        cap = (
            ""
            if budget.max_usd is None
            else f"; teacher.max_usd is {budget.max_usd:g}, of which {budget.paid():.2f} are spent"
        )
        return (
            f"{self.engine.service.model}: {total:,} calls, about {_count(tokens)} tokens of prompts and at most "
            f"{_count(most)} of replies: {price}; the {self.engine.transcripts.num_replies():,} replies kept cost nothing{cap}"
        )


def _count(number: int) -> str:
    return f"{number:,}" if number < 1_000_000 else f"{number / 1e6:,.1f} M"
