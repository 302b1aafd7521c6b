"""A teacher behind an API: prompts to requests, completions to probabilities and texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from delamo.models.api.batches import Batches
from delamo.models.api.client import ApiClient, note
from delamo.models.api.requests import Completion, Request
from delamo.models.api.transport import TeacherUnavailableError
from delamo.models.teachers.base import OptionScores, PrefixPrompt, Refusal, Teacher
from delamo.models.teachers.capabilities import Capabilities, TokenIds, probe
from delamo.models.teachers.config import Api, LiteLLMTeacherConfig, Readout, TeacherMode
from delamo.models.teachers.option_probabilities import (
    answer_position,
    read_options,
    read_samples,
    read_token_ids,
    spellings,
)
from delamo.models.usage import Usage
from delamo.records import LETTERS

MAX_TOKEN_IDS = 128  # of one request, in vLLM
MIN_DRAW_TOKENS = 8
ESTIMATED_FROM = 1_000  # prompts


@dataclass(slots=True)
class LiteLLMTeacher(Teacher):
    """Any model that litellm reaches; `load_teacher` makes one from a config."""

    client: ApiClient
    config: LiteLLMTeacherConfig
    _capabilities: Capabilities | None = field(default=None, init=False, repr=False)
    _token_ids: TokenIds = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._token_ids = TokenIds(self.client)

    @property
    def prompts(self) -> str:
        """See `Teacher.prompts`."""
        return self.config.prompts.value

    @property
    def sees_images(self) -> bool:
        """See `Teacher.sees_images`."""
        return self.config.sees_images

    @property
    def usage(self) -> Usage:
        """See `Teacher.usage`."""
        return self.client.usage

    # Option probabilities.

    def option_probabilities(self, prompts: Sequence[PrefixPrompt]) -> list[OptionScores | Refusal]:
        """See `Teacher.option_probabilities`; one request for each prefix, or `num_draws` of them. No image goes along.

        Raises:
            TeacherUnavailableError: the service gives no log-probabilities, and draws were not asked for.
        """
        if not prompts:
            return []
        readout = self._readout()
        requests = [
            self._requests(text, prompt.num_options, readout) for prompt in prompts for text in prompt.prefixes()
        ]
        answers = iter(self.client.ask(list(chain.from_iterable(requests)), label="read rationales"))
        rows = (self._usable(list(islice(answers, len(of_prefix)))) for of_prefix in requests)
        return [
            self._scores(list(islice(rows, len(prompt.steps) + 1)), prompt.num_options, readout) for prompt in prompts
        ]

    def _readout(self) -> Readout:
        """Return where option probabilities come from: the config's choice, as far as the service can do it."""
        capabilities, chosen = self._probe(), self.config.readout
        if chosen is Readout.samples:
            return Readout.samples
        if capabilities.readout is None:
            raise TeacherUnavailableError(
                f"teacher.model {self.client.service.model} gives no log-probabilities ({capabilities.detail}): choose "
                "a model that does, or ask for draws with teacher.readout=samples"
            )
        if chosen is Readout.token_ids and capabilities.readout is not Readout.token_ids:
            raise TeacherUnavailableError(
                f"teacher.readout is token_ids, but {self.client.service.model} does not take `logprob_token_ids` "
                "(vLLM does from 0.30 on): use teacher.readout=auto"
            )
        return capabilities.readout if chosen is Readout.auto else chosen

    def _requests(self, text: str, num_options: int, readout: Readout) -> list[Request]:
        """Make the requests of one prefix."""
        config = self.config
        if readout is Readout.samples:
            draw = {
                "text": text,
                "max_tokens": max(MIN_DRAW_TOKENS, config.answer_max_tokens),
                "temperature": config.sample_temperature,
                "stop": self._stop,
            }
            return [Request(**draw, sample=number) for number in range(1, config.num_draws + 1)]
        if readout is Readout.token_ids:
            ids = tuple(chain.from_iterable(self._option_tokens(num_options)))
            return [Request(text=text, max_tokens=config.answer_max_tokens, top_logprobs=len(ids), token_ids=ids)]
        return [Request(text=text, max_tokens=config.answer_max_tokens, top_logprobs=config.top_logprobs)]

    def _option_tokens(self, num_options: int) -> list[list[int]]:
        """Return the ids of the tokens that spell each option letter; beyond 16 options, capital letters alone."""
        texts = [spellings(letter) for letter in LETTERS[:num_options]]
        if sum(map(len, texts)) > MAX_TOKEN_IDS:
            texts = [
                [text for text in of_letter if text.endswith(letter)]
                for letter, of_letter in zip(LETTERS, texts, strict=False)
            ]
        return [self._token_ids.of(letter, of_letter) for letter, of_letter in zip(LETTERS, texts, strict=False)]

    @staticmethod
    def _usable(answers: list[Completion | Refusal]) -> list[Completion] | Refusal:
        """Return the completions of one prefix; a refusal where there is none."""
        completions = [answer for answer in answers if isinstance(answer, Completion)]
        return completions or next(answer for answer in answers if isinstance(answer, Refusal))

    def _scores(
        self, rows: list[list[Completion] | Refusal], num_options: int, readout: Readout
    ) -> OptionScores | Refusal:
        scores = []
        for row in rows:
            if isinstance(row, Refusal):
                return row
            score = self._read(row, num_options, readout)
            if score is None:
                return Refusal("no log-probabilities", "the reply lacks option tokens that were asked for by id")
            scores.append(score)
        return OptionScores(tuple(row for row, _ in scores), tuple(outside for _, outside in scores))

    def _read(
        self, completions: list[Completion], num_options: int, readout: Readout
    ) -> tuple[tuple[float, ...], float] | None:
        """Return (option probabilities, mass outside) of one prefix; None where option tokens are missing."""
        if readout is Readout.samples:
            return read_samples([completion.text for completion in completions], num_options)
        positions = completions[0].positions
        if readout is Readout.token_ids:
            options = self._option_tokens(num_options)
            rows = [read_token_ids(pairs, options) for pairs in positions]
            return next((row for row in rows if row is not None and row[1] <= 0.5), rows[0])
        return read_options(positions[answer_position(positions, num_options)], num_options)

    def _probe(self) -> Capabilities:
        if self._capabilities is None:
            config = self.config
            self._capabilities = probe(self.client, self._token_ids, config.top_logprobs, with_image=config.sees_images)
        return self._capabilities

    # Completions.

    def complete(
        self, prompts: Sequence[str], *, max_new_tokens: int, images: Sequence[str | None] | None = None
    ) -> list[str | Refusal]:
        """See `Teacher.complete`. Equal requests are sent once.

        Raises:
            ValueError: images were given to a teacher that sees none.
        """
        if images is not None and any(images) and not self.sees_images:
            raise ValueError("images were given to a teacher with teacher.sees_images=false")
        pairs = zip(prompts, images or [None] * len(prompts), strict=True)
        requests = [self._completion(text, image, max_new_tokens) for text, image in pairs]
        answers = self.client.ask(requests, label="ask the teacher", keep_refusals=self._by_batch)
        return [answer if isinstance(answer, Refusal) else answer.text.strip() for answer in answers]

    def _completion(self, text: str, image: str | None, max_new_tokens: int) -> Request:
        return Request(text=text, image=image, max_tokens=max_new_tokens, stop=self._stop)

    @property
    def _stop(self) -> tuple[str, ...]:
        """A bare text goes on for ever: one line is asked for. A chat model ends its turn."""
        return ("\n",) if self.client.service.api is Api.completions else ()

    @property
    def _by_batch(self) -> bool:
        """Whether the pool is annotated through batch files."""
        return self.config.mode is TeacherMode.batch

    # The pool.

    def prepare(
        self, prompts: Callable[[int], Iterable[tuple[str, str | None]]], total: int, *, max_new_tokens: int
    ) -> None:
        """Say what many completions will cost, before the first; in batch mode, exchange files until all are answered.

        Args:
            prompts: called with n to go through every n-th (text, image) pair; none of them is kept.
            total: how many there are.
            max_new_tokens: of each.

        Raises:
            BatchPendingError: files wait for upload or for their output.
        """
        note(self._estimate(prompts, total, max_new_tokens))
        if self._by_batch:
            requests = (self._completion(text, image, max_new_tokens) for text, image in prompts(1))
            Batches(self.client).fetch(requests, total=total)

    def _estimate(
        self, prompts: Callable[[int], Iterable[tuple[str, str | None]]], total: int, max_new_tokens: int
    ) -> str:
        budget, every = self.client.budget, max(1, total // ESTIMATED_FROM)
        sizes = [
            budget.estimated_tokens(self._completion(text, image, max_new_tokens)) for text, image in prompts(every)
        ]
        tokens, most = round(total * sum(sizes) / max(1, len(sizes))), total * max_new_tokens
        cap = ""
        if budget.max_usd is not None:
            cap = f"; teacher.max_usd is {budget.max_usd:g}, of which {budget.paid():.2f} are spent"
        return (
            f"{self.client.service.model}: {total:,} calls, about {_count(tokens)} tokens of prompts and at most "
            f"{_count(most)} of replies: {self._price(tokens, most)}; the {self.client.transcripts.num_replies():,} "
            f"replies kept cost nothing{cap}"
        )

    def _price(self, prompt_tokens: int, completion_tokens: int) -> str:
        prices = self.client.budget.prices
        if prices is None:
            return "at an unknown price"
        batch_usd = prices.cost(prompt_tokens, completion_tokens, batch=True)
        if self._by_batch:
            return f"about {batch_usd:,.2f} USD by batch"
        price = f"about {prices.cost(prompt_tokens, completion_tokens):,.2f} USD"
        return f"{price}, {batch_usd:,.2f} with teacher.mode=batch" if prices.prompt else price


def _count(number: int) -> str:
    return f"{number:,}" if number < 1_000_000 else f"{number / 1e6:,.1f} M"
