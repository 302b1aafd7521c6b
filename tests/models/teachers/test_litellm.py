"""The API teacher: its requests, its option probabilities, and that it agrees with the same model loaded here."""

import json
import math
from dataclasses import replace

import pytest
from support.configs import experiment_config, node
from support.fake_service import FakeService, ask, failure, make_client, reply
from support.model_server import ModelServer

from delamo.models.api.budget import prices_of
from delamo.models.api.client import NotRecordedError
from delamo.models.api.transport import TeacherUnavailableError
from delamo.models.teachers.base import PrefixPrompt, Refusal
from delamo.models.teachers.config import Readout
from delamo.models.teachers.litellm import LiteLLMTeacher
from delamo.models.teachers.loading import load_teacher, teacher_digest
from delamo.models.teachers.local import LocalTeacher
from delamo.models.teachers.option_probabilities import (
    answer_position,
    letter_of,
    read_options,
    read_samples,
    read_token_ids,
)

CONFIG = experiment_config("teacher=litellm", "teacher.model=openai/fake").teacher
PROMPT = PrefixPrompt("Q", (" One.",), "\nThe answer is", 2)
LISTED = (("A", -1.0), (" B", -0.7))
RATIONALES = [
    PrefixPrompt(
        "Question: What size is the star?\nOptions: (A) big (B) small (C) tiny\nPrior: option B (small) is right with "
        "probability 60%.\nRationale:",
        (" The star is big.", " So the answer is big."),
        "\nThe answer is option",
        3,
    ),
    PrefixPrompt(
        "Question: Is it red?\nOptions: (A) yes (B) no\nRationale:", (" It is.",), "\nThe answer is option", 2
    ),
]


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setenv("FAKE_KEY", "not-a-key")
    made = FakeService()
    yield made
    made.close()


@pytest.fixture
def teacher(service, tmp_path):
    return LiteLLMTeacher(make_client(service, tmp_path), CONFIG)


@pytest.fixture(scope="module")
def micro():
    return LocalTeacher.load(node("teacher", "micro", device="cpu"))


@pytest.fixture
def config(experiment_config):
    """Overrides to a teacher's typed config."""
    return lambda *overrides, name="litellm": experiment_config(f"teacher={name}", *overrides).teacher


# Reading.


def test_spellings_count_together_and_a_missing_letter_is_unlikely_not_impossible():
    listed = [("A", 0.4), (" A", 0.2), ("(a", 0.1), ("(B", 0.1), (" a", 0.1)]
    row, outside = read_options([(token, math.log(p)) for token, p in listed], 3)
    assert row[0] / row[1] == pytest.approx(7)
    assert 0 < row[2] <= row[1] and sum(row) == pytest.approx(1)
    assert outside == pytest.approx(0.1)
    assert all(p > 0 for p in read_options([("A", 0.0), (" (B)", -9999.0)], 3)[0])  # nothing is left to share out


@pytest.mark.parametrize("token", ["B", " B", "(b", " b)", "(B", " (b", "B)", "B.", "\u2581B", "\u0120B", "**B"])
def test_a_token_that_names_an_option(token):
    assert letter_of(token, 2) == 1 and letter_of(token, 1) is None


@pytest.mark.parametrize("token", ["Be", "BB", "", "(", "1", "An", "a", " a", "\u2581a", "\u0120i", " b"])
def test_a_token_that_names_none(token):
    assert letter_of(token, 26) is None


def test_exact_tokens_leave_nothing_to_guess():
    pairs = [("token_id:5", math.log(0.6)), ("token_id:6", math.log(0.2)), ("token_id:7", math.log(0.1))]
    row, outside = read_token_ids(pairs, [[5], [6, 7]])
    assert row == pytest.approx((2 / 3, 1 / 3)) and outside == pytest.approx(0.1)
    assert read_token_ids(pairs, [[5], [8]]) is None


def test_draws_are_counted_and_none_is_impossible():
    row, outside = read_samples(["B", "The answer is (B).", "a dog", "I cannot say", "b"], 2)
    assert row == pytest.approx((0.5 / 4, 3.5 / 4)) and outside == pytest.approx(0.4)
    assert read_samples(["A violin is a good, so A"], 2)[0][0] > 0.5


def test_the_answer_is_read_where_it_stands():
    positions = [[("The", -0.1), ("A", -5.0)], [(" answer", -0.1)], [(" B", -0.2), (" A", -2.0)]]
    assert answer_position(positions, 2) == 2 and answer_position(positions[:2], 2) == 0


# Asking.


def test_probabilities_after_every_prefix(service, teacher):
    service.script = [reply(finish="length", top=LISTED)]  # so few tokens were asked for, so this is how it ends
    (result,) = teacher.option_probabilities([PROMPT])
    expected = math.exp(-1) / (math.exp(-1) + math.exp(-0.7))
    assert [row[0] for row in result.probabilities] == pytest.approx([expected] * 2)
    probe, *asked = service.requests
    assert {r["messages"][0]["content"] for r in asked} == {"Q\nThe answer is", "Q One.\nThe answer is"}
    assert all(r["logprobs"] and r["top_logprobs"] == 20 and r["temperature"] == 0 for r in [probe, *asked])
    assert len(service.requests) == 3 == teacher.usage.calls


def test_the_probe_is_one_call_that_says_what_it_found_and_is_kept(service, tmp_path, capsys):
    service.models = [{"id": "fake", "shutdown_date": "2027-01-14"}]
    service.script = [reply(top=LISTED)]
    for _ in range(2):
        LiteLLMTeacher(make_client(service, tmp_path), CONFIG).option_probabilities([PROMPT])
    assert len(service.requests) == 3
    told = capsys.readouterr().err
    assert told.count("option probabilities by top_logprobs (the 2 most probable tokens)") == 1
    assert told.count("shut down on 2027-01-14") == 1


def test_a_probe_that_an_earlier_version_recorded_is_read(service, tmp_path):
    service.script = [reply(top=LISTED)]
    client = make_client(service, tmp_path)
    row = {"readout": "top_logprobs", "detail": "the 2 most probable tokens", "num_listed": 2, "time": 1.0}
    client.transcripts.set_fact("probe", json.dumps(row))
    LiteLLMTeacher(client, CONFIG).option_probabilities([PROMPT])
    assert len(service.requests) == 2


def test_the_probe_shows_a_picture_to_a_teacher_that_sees_and_rationales_are_judged_without(service, tmp_path):
    service.script = [reply(top=LISTED)]
    teacher = LiteLLMTeacher(make_client(service, tmp_path), replace(CONFIG, sees_images=True))
    teacher.option_probabilities([PROMPT])
    kinds = [type(request["messages"][0]["content"]) for request in service.requests]
    assert kinds == [list, str, str]


def test_a_model_without_log_probabilities_is_refused_unless_draws_are_asked_for(service, tmp_path):
    service.script = lambda number, body: (
        failure(400, "logprobs are not supported") if body.get("logprobs") else reply("B." if number % 8 else "A")
    )
    with pytest.raises(TeacherUnavailableError, match=r"teacher\.readout=samples"):
        LiteLLMTeacher(make_client(service, tmp_path / "a"), CONFIG).option_probabilities([PROMPT])
    sent = len(service.requests)
    draws = replace(CONFIG, readout=Readout.samples, num_draws=4)
    teacher = LiteLLMTeacher(make_client(service, tmp_path / "b"), draws)
    (result,) = teacher.option_probabilities([PROMPT])
    assert len(service.requests) == sent + 2 + 2 * 4  # the probe without log-probabilities too, and k draws a prefix
    assert all(row[1] > row[0] > 0 for row in result.probabilities)
    assert all(request["temperature"] == 1.0 for request in service.requests[-8:])


def test_a_refused_prefix_refuses_its_rationale_alone(service, tmp_path):
    too_long = failure(400, "This model's maximum context length is 8 tokens.", "context_length_exceeded")
    service.script = lambda number, body: too_long if "One" in str(body["messages"]) else reply(top=LISTED)
    refused, good = LiteLLMTeacher(make_client(service, tmp_path), CONFIG).option_probabilities(
        [PROMPT, PrefixPrompt("Q", (" Two.",), "\nThe answer is", 2)]
    )
    assert isinstance(refused, Refusal) and refused.reason == "too long" and len(good.probabilities) == 2


def test_completions_keep_their_order_and_are_asked_once(service, teacher):
    service.script = lambda number, body: reply(f" about {body['messages'][0]['content']} ")
    assert teacher.complete(["one", "two", "one"], max_new_tokens=9) == ["about one", "about two", "about one"]
    assert len(service.requests) == 2


def test_a_teacher_that_sees_nothing_takes_no_picture(teacher):
    with pytest.raises(ValueError, match="sees_images"):
        teacher.complete(["one"], max_new_tokens=9, images=["micro:pool/0/1"])


def test_a_picture_travels_as_a_data_url_of_the_allowed_size(service, tmp_path):
    import base64
    import io

    from PIL import Image

    Image.new("RGB", (400, 100), "red").save(tmp_path / "wide.png")
    teacher = LiteLLMTeacher(make_client(service, tmp_path / "t"), replace(CONFIG, sees_images=True))
    (bad, _) = teacher.complete(
        ["one", "two"], max_new_tokens=9, images=[str(tmp_path / "none.png"), str(tmp_path / "wide.png")]
    )
    assert bad.reason == "image missing" and len(service.requests) == 1
    picture, text = service.requests[0]["messages"][0]["content"]
    head, _, data = picture["image_url"]["url"].partition(",")
    size = Image.open(io.BytesIO(base64.b64decode(data))).size
    assert head == "data:image/jpeg;base64" and text == {"type": "text", "text": "two"}
    assert size[0] * size[1] <= 4096 and size[0] / size[1] == pytest.approx(4, rel=0.1)


def test_reasoning_models_are_asked_without_reasoning(service, tmp_path, config):
    given = config(f"teacher.api_base={service.address}", "teacher.api_key_env=FAKE_KEY", name="gpt_6_luna")
    service.script = [reply(top=LISTED)]
    load_teacher(given, transcripts=tmp_path).option_probabilities([PROMPT])
    body = service.requests[-1]
    assert (body["reasoning_effort"], body["temperature"], body["top_logprobs"]) == ("none", 0.0, 20)
    assert "max_tokens" not in body and body["max_completion_tokens"] == 6


# The same model, loaded here and behind a server.


@pytest.mark.parametrize(
    ("model", "api", "takes_token_ids", "readout"),
    [
        ("hosted_vllm/micro", "completions", True, "token_ids"),
        ("hosted_vllm/micro", "chat", True, "token_ids"),
        ("hosted_vllm/micro", "completions", False, "top_logprobs"),
        ("openai/micro", "chat", False, "top_logprobs"),
    ],
)
def test_the_served_teacher_gives_the_probabilities_of_the_loaded_one(
    micro, tmp_path, capsys, model, api, takes_token_ids, readout, config
):
    expected = micro.option_probabilities(RATIONALES)
    with ModelServer(micro.model, micro.tokenizer, takes_token_ids=takes_token_ids) as server:
        settings = ["teacher.prompts=micro", "teacher.answer_max_tokens=1", f"teacher.api={api}"]
        given = config(f"teacher.model={model}", f"teacher.api_base={server.address}", *settings)
        found = load_teacher(given, transcripts=tmp_path).option_probabilities(RATIONALES)
        # in another order and one at a time: nothing depends on what else is asked
        again = load_teacher(given, transcripts=tmp_path / "again")
        singly = [again.option_probabilities([prompt])[0] for prompt in reversed(RATIONALES)][::-1]
    assert f"by {readout}" in capsys.readouterr().err
    for one, other in zip([*expected, *expected], [*found, *singly], strict=True):
        for row, same in zip(one.probabilities, other.probabilities, strict=True):
            assert row == pytest.approx(same, abs=1e-4)
        assert one.outside_mass == pytest.approx(other.outside_mass, abs=1e-4)
    spread = [row[0] for scores in expected for row in scores.probabilities]
    assert max(spread) - min(spread) > 0.01


def test_the_served_teacher_names_what_the_loaded_one_names(micro, tmp_path, config, experiment_config):
    from delamo.experiment.experiment import read_pool
    from delamo.stages.skills import annotate_pool

    samples = list(read_pool(experiment_config("pool.size=6").pool))
    with ModelServer(micro.model, micro.tokenizer) as server:
        given = config(
            "teacher.model=openai/micro",
            f"teacher.api_base={server.address}",
            "teacher.prompts=micro",
            "teacher.api=completions",
        )
        rows, bad = annotate_pool(samples, load_teacher(given, transcripts=tmp_path), max_new_tokens=32)
    expected, _ = annotate_pool(samples, micro, max_new_tokens=32)
    assert rows == [row for row in expected if row.id in {one.id for one in rows}] and len(rows) >= 4
    assert all(row.reason == "reply cut off" for row in bad)


# From configs, and from recordings.


def test_a_replayed_teacher_says_what_was_said_and_asks_nobody(service, tmp_path, config):
    service.script = lambda number, body: reply(f"skill {number}", top=LISTED if body.get("logprobs") else ())
    given = config("teacher.model=openai/fake", f"teacher.api_base={service.address}", "teacher.api_key_env=FAKE_KEY")
    recorded = load_teacher(given, transcripts=tmp_path)
    scores, skills = recorded.option_probabilities([PROMPT]), recorded.complete(["one"], max_new_tokens=9)
    (folder,) = tmp_path.iterdir()
    sent = len(service.requests)
    replayed = config(f"teacher.transcripts={folder}", name="replay")
    assert teacher_digest(replayed) != teacher_digest(given)
    teacher = load_teacher(replayed, transcripts=tmp_path)
    assert teacher.option_probabilities([PROMPT]) == scores and teacher.complete(["one"], max_new_tokens=9) == skills
    with pytest.raises(NotRecordedError, match="'two'"):
        teacher.complete(["two"], max_new_tokens=9)
    assert len(service.requests) == sent and teacher.usage.calls == 0


def test_a_folder_without_transcripts_is_named(config, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"teacher\.transcripts is nowhere"):
        load_teacher(config("teacher.transcripts=nowhere", name="replay"), transcripts=tmp_path)


def test_a_base_that_only_the_environment_names_is_another_teacher(monkeypatch, config):
    here = teacher_digest(config(name="gpt_4o_mini"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert teacher_digest(config(name="gpt_4o_mini")) != here


def test_how_fast_and_how_dear_is_no_part_of_who(monkeypatch, config):
    fast = ["teacher.concurrency=3", "teacher.max_usd=1.0", "teacher.mode=batch", "teacher.timeout_s=1.0"]
    assert teacher_digest(config(*fast, name="gpt_4o")) == teacher_digest(config(name="gpt_4o"))
    assert teacher_digest(config("teacher.answer_max_tokens=1", name="gpt_4o")) != teacher_digest(config(name="gpt_4o"))


def test_prices_are_those_of_the_local_table_or_declared(tmp_path, config):
    mini = load_teacher(config(name="gpt_4o_mini"), transcripts=tmp_path)
    assert mini.client.budget.prices.cost(1_000_000, 1_000_000) == pytest.approx(0.75)
    assert mini.client.budget.prices.cost(1_000_000, 0, batch=True) == pytest.approx(0.075)
    own = load_teacher(config(name="qwen2_5_vl_72b"), transcripts=tmp_path)
    assert own.client.budget.prices.cost(10**9, 10**9) == 0


def test_a_price_at_another_provider_is_not_taken():
    elsewhere = replace(CONFIG, model="hosted_vllm/gpt-4o")
    assert prices_of(replace(CONFIG, model="openai/gpt-4o")).prompt == pytest.approx(2.5e-6)
    assert prices_of(elsewhere) is None
    assert prices_of(replace(elsewhere, input_usd_per_million=0.0, output_usd_per_million=0.0)).cost(9, 9) == 0


def test_pictures_do_not_go_over_the_bare_text_interface(tmp_path, config):
    given = config("teacher.model=openai/x", "teacher.sees_images=true", "teacher.api=completions")
    with pytest.raises(ValueError, match=r"teacher\.api=chat"):
        load_teacher(given, transcripts=tmp_path)


def test_litellm_neither_caches_nor_retries(service, tmp_path):
    import litellm

    ask(make_client(service, tmp_path), "one")
    assert litellm.cache is None and litellm.drop_params is False
    assert json.dumps(service.requests[0], sort_keys=True) == json.dumps(
        {"max_tokens": 9, "messages": [{"content": "one", "role": "user"}], "model": "fake", "temperature": 0.0},
        sort_keys=True,
    )
