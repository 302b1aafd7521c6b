"""Local teachers: what a checkpoint is decides how it is loaded, and only one that sees is shown pictures."""

from dataclasses import replace

import pytest
import torch
from support.tiny_architectures import save
from support.tiny_models import save_tiny_llava, tiny_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from delamo.models.hf.decoding import Decoder
from delamo.models.students.local import Student
from delamo.models.teachers.base import PrefixPrompt, Refusal
from delamo.models.teachers.loading import load_teacher, teacher_digest
from delamo.models.teachers.local import LocalTeacher
from delamo.models.teachers.vision import VisionTeacher
from delamo.records import Mistake, Sample
from delamo.stages.skills import annotate_pool, name_skills

PROMPT = PrefixPrompt("Question: big or small?\nRationale:", (" It is red.", " So it is big."), "\nThe answer is", 2)
CHAT = (
    "{% for message in messages %}USER: {{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT: {% endif %}"
)


@pytest.fixture(scope="module")
def seeing(tmp_path_factory):
    return str(save_tiny_llava(tmp_path_factory.mktemp("llava")))


@pytest.fixture(scope="module")
def reading(tmp_path_factory):
    path, tokenizer = tmp_path_factory.mktemp("llama"), tiny_tokenizer(max_length=128)
    tokenizer.chat_template = CHAT
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes, **ids)).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.fixture
def load(experiment_config, tmp_path):
    def load(path, *overrides):
        fixed = [
            "teacher=hf",
            f"teacher.path={path}",
            "teacher.dtype=float32",
            "teacher.device=cpu",
            "teacher.prompts=micro",
        ]
        config = experiment_config(*fixed, "teacher.device=cpu", "teacher.chat_template=false", *overrides).teacher
        return load_teacher(config, transcripts=tmp_path / "transcripts")

    return load


def test_a_checkpoint_is_loaded_as_what_it_is(load, seeing, reading):
    assert type(load(reading)) is LocalTeacher
    assert type(load(seeing)) is VisionTeacher and load(seeing).sees_images is False
    assert load(seeing, "teacher.sees_images=true").sees_images
    with pytest.raises(ValueError, match="is a language model"):
        load(reading, "teacher.sees_images=true")


@pytest.mark.filterwarnings("ignore:.*a pass of its own")
def test_rationales_are_judged_without_the_picture_and_exactly(load, seeing):
    teacher = load(seeing, "teacher.sees_images=true")
    (one,) = teacher.option_probabilities([PROMPT])
    ids = teacher.tokenizer(PROMPT.prefixes()[-1], return_tensors="pt").input_ids
    with torch.inference_mode():
        logits = teacher.model(input_ids=ids).logits[0, -1].double().softmax(-1)
    mass = torch.stack([logits[teacher._spellings(letter)].sum() for letter in "AB"])
    assert one.probabilities[-1] == pytest.approx((mass / mass.sum()).tolist(), abs=1e-4)


@pytest.mark.filterwarnings("ignore:.*a pass of its own")
def test_a_model_spread_over_devices_gives_the_same(load, seeing, reading):
    for path in (seeing, reading):
        ((one,), (other,)) = (
            load(path, f"teacher.device={device}").option_probabilities([PROMPT]) for device in ("cpu", "split")
        )
        for row, same in zip(one.probabilities, other.probabilities, strict=True):
            assert row == pytest.approx(same, abs=1e-5)


def test_the_picture_changes_the_reply_of_a_teacher_that_sees(load, seeing):
    teacher = load(seeing, "teacher.sees_images=true")
    pictures = ["micro:pool/0/1", "micro:pool/0/2", None, "micro:pool/0/1"]
    replies = teacher.complete(["Look."] * 4, max_new_tokens=6, images=pictures)
    assert all(
        isinstance(one, Refusal) and one.reason == "reply cut off" for one in replies
    )  # it never learned to stop
    assert teacher.usage.calls == 3 and teacher.usage.completion_tokens == 18
    (missing,) = teacher.complete(["Look."], max_new_tokens=6, images=["/nowhere.png"])
    assert missing.reason == "image missing"


@pytest.mark.filterwarnings("ignore:.*a pass of its own")
def test_a_teacher_that_sees_by_cross_attention(load, tmp_path, monkeypatch):
    """Llama 3.2 Vision. Replies of unequal length: rows leave the batch, with their part of a mask that only it has."""
    teacher = load(save("mllama", tmp_path), "teacher.sees_images=true", "teacher.chat_template=true")
    assert len(teacher.option_probabilities([PROMPT])[0].probabilities) == 3
    pictures = [f"micro:pool/0/{number}" for number in range(3)]
    samples = [Sample(id=f"s{i}", instruction=f"Look.{' Big?' * i}", answer="", image=pictures[i]) for i in range(3)]
    student = Student(teacher.model, teacher.processor, "teacher", "micro", max_image_pixels=None)
    chosen, choose = [], Decoder._choose

    def note(self, logits, rows):
        chosen.append((choose(self, logits, rows), len(rows)))
        return chosen[-1][0]

    monkeypatch.setattr(Decoder, "_choose", note)
    greedy = {"max_new_tokens": 8, "temperature": 0.0, "seed": 0}
    student.generate(samples[:1], batch_size=1, **greedy)
    teacher.model.generation_config.eos_token_id = int(chosen[3][0])  # so that this one ends after at most four tokens
    alone = student.generate(samples, batch_size=1, **greedy)
    chosen.clear()
    assert student.generate(samples, batch_size=3, **greedy) == alone
    assert chosen[0][1] == 3 and chosen[-1][1] < 3
    (blind,) = student.generate([replace(samples[0], image=None)], batch_size=1, **greedy)
    assert blind != alone[0]


def test_a_chat_template_wraps_all_but_the_start_of_the_reply(load, reading):
    teacher = load(reading, "teacher.chat_template=true")
    (tokens,) = teacher._prompt_tokens(["Question: big?\nThe answer is"])
    assert teacher.tokenizer.decode(tokens) == "USER: Question: big? ASSISTANT: The answer is"
    (one,) = teacher.option_probabilities([PROMPT])
    teacher.shared = False
    (other,) = teacher.option_probabilities([PROMPT])
    for row, same in zip(one.probabilities, other.probabilities, strict=True):
        assert row == pytest.approx(same, abs=1e-4)


@pytest.mark.filterwarnings("ignore:.*a pass of its own")
def test_a_processors_template_is_given_the_question_as_it_reads_it(load, seeing):
    """It goes through a turn's parts: of a text alone it makes an empty turn."""
    teacher = load(seeing, "teacher.chat_template=true")
    (tokens,) = teacher._prompt_tokens(["Question: big?\nThe answer is"])
    assert teacher.tokenizer.decode(tokens) == "USER: Question: big? ASSISTANT:The answer is"
    other = PrefixPrompt("Question: one or two?\nRationale:", PROMPT.steps, PROMPT.tail, 2)
    one, two = teacher.option_probabilities([PROMPT, other])
    assert one.probabilities != two.probabilities


@pytest.mark.filterwarnings("ignore:.*a pass of its own")
def test_a_start_token_that_the_template_leaves_out_is_added_once(load, tmp_path):
    from tokenizers.processors import TemplateProcessing

    from delamo.models.hf.processors import load_processor

    base = save_tiny_llava(tmp_path / "base")
    tokenizer = load_processor(str(base), revision=None).tokenizer
    start = ("<s>", tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[start])
    tokenizer.save_pretrained(base)
    template = base / "chat_template.jinja"
    written = load_processor(str(base), revision=None).chat_template
    for text in (written, "<s>" + written):
        template.write_text(text)
        teacher = load(base, "teacher.chat_template=true")
        ((first, *rest),) = teacher._prompt_tokens(["Question: big?\nThe answer is"])
        assert first == start[1] and start[1] not in rest


@pytest.mark.filterwarnings("ignore:.*a pass of its own")
def test_a_template_that_only_the_processor_has_is_enough(load, seeing, tmp_path):
    import json
    import shutil

    base = shutil.copytree(seeing, tmp_path / "base")
    template = base / "chat_template.jinja"
    (base / "chat_template.json").write_text(json.dumps({"chat_template": template.read_text()}))
    template.unlink()
    (tokens,) = load(base, "teacher.chat_template=true")._prompt_tokens(["Question: big?\nThe answer is"])
    assert tokens == load(seeing, "teacher.chat_template=true")._prompt_tokens(["Question: big?\nThe answer is"])[0]


def test_a_template_that_leaves_out_the_question_is_refused(load, reading, tmp_path):
    import shutil

    base = shutil.copytree(reading, tmp_path / "base")
    parts = "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}"
    (base / "chat_template.jinja").write_text(CHAT.replace("{{ message['content'] }}", parts))
    with pytest.raises(ValueError, match=r"leaves out the question"):
        load(base, "teacher.chat_template=true")


@pytest.mark.filterwarnings("ignore:.*a pass of its own")
def test_a_rationale_that_holds_a_control_token_is_refused_alone(load, seeing):
    teacher = load(seeing, "teacher.chat_template=true")
    bad = PrefixPrompt("Question: what is <image>?\nRationale:", PROMPT.steps, PROMPT.tail, 2)
    refused, fine = teacher.option_probabilities([bad, PROMPT])
    assert isinstance(refused, Refusal) and "<image>" in refused.detail
    assert not isinstance(fine, Refusal)


def test_a_missing_chat_template_is_named(load, tmp_path, reading):
    import shutil

    shutil.copytree(reading, tmp_path / "base")
    (tmp_path / "base/chat_template.jinja").unlink()
    with pytest.raises(ValueError, match=r"teacher\.chat_template is true"):
        load(tmp_path / "base", "teacher.chat_template=true")


def test_a_chat_template_is_another_teacher(experiment_config, reading):
    digests = [
        teacher_digest(
            experiment_config("teacher=hf", f"teacher.path={reading}", f"teacher.chat_template={used}").teacher
        )
        for used in ("true", "false")
    ]
    assert digests[0] != digests[1]


class Watching:
    """Notes the pictures that it is shown."""

    prompts, sees_images = "micro", True

    def __init__(self):
        self.shown = []

    def complete(self, asked, *, max_new_tokens, images=None):
        self.shown += images or [None] * len(asked)
        return ["a skill"] * len(asked)


def test_skill_analysis_and_pool_annotation_show_the_picture():
    fields = {"question": "Big?", "options": ("big", "small"), "gold": 0, "wrong": 1, "steps": ("No.",)}
    mistake = Mistake(id="v1", **fields, probabilities=(), outside_mass=(), step=0, fallback=False)
    teacher = Watching()
    name_skills([mistake], teacher, max_new_tokens=8, images={"v1": "micro:pool/0/7"})
    annotate_pool(
        [Sample(id="p1", instruction="Look.", answer="Yes.", image="micro:pool/0/1")], teacher, max_new_tokens=8
    )
    assert teacher.shown == ["micro:pool/0/7", "micro:pool/0/1"]
    teacher.sees_images = False
    annotate_pool(
        [Sample(id="p1", instruction="Look.", answer="Yes.", image="micro:pool/0/1")], teacher, max_new_tokens=8
    )
    assert teacher.shown[2:] == [None]
