"""The student on a tiny LLaVA with random weights: what batches, padding and randomness must not change."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from support.configs import node
from support.tiny_models import save_tiny_llava

from delamo.models.hf.chat import SampleError
from delamo.models.hf.identity import student_digest
from delamo.models.students.local import Student
from delamo.records import Sample

NUM_TOKENS = 12
GREEDY = {"max_new_tokens": NUM_TOKENS, "temperature": 0.0, "seed": 0}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny_llava(tmp_path_factory.mktemp("student") / "tiny")


@pytest.fixture(scope="module")
def student(base):
    return Student.load(node("student", "micro", path=str(base)))


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Nine samples of unequal length; every third has no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    rows = []
    for number in range(9):
        path = folder / f"{number}.png"
        Image.new("RGB", (24, 16), (25 * number, 90, 200 - 20 * number)).save(path)
        question = f"Is number {number} odd? {'Look again. ' * (4 * number % 7)}"
        picture = str(path) if number % 3 else None
        rows.append(
            Sample(id=f"s{number}", instruction=question, answer="odd", options=("odd", "even"), gold=0, image=picture)
        )
    return rows


def texts(student, samples, batch_size=4, **changes):
    return [reply.text for reply in student.generate(samples, batch_size=batch_size, **{**GREEDY, **changes})]


def test_replies_are_the_same_alone_and_in_batches_and_come_in_order(student, samples):
    alone = [texts(student, [sample], batch_size=1)[0] for sample in samples]
    assert len(set(alone)) > 4  # the samples do make a difference
    for batch_size in (1, 4, 9):
        assert texts(student, samples, batch_size) == alone
    assert texts(student, samples[::-1]) == alone[::-1]


def test_replies_agree_with_the_generation_of_transformers(student, samples):
    rows = [student._read(sample) for sample in samples[1:3]]
    inputs = student._encode(rows)
    tokens = student.model.generate(**inputs, max_new_tokens=NUM_TOKENS, do_sample=False)
    replies = student.generate(samples[1:3], batch_size=2, **GREEDY)
    decoded = student.processor.tokenizer.batch_decode(
        tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    assert [reply.text for reply in replies] == [text.strip() for text in decoded]


def test_the_picture_and_the_question_both_count(student, samples):
    plain = replace(samples[1], image=samples[8].image)
    assert student._encode([student._read(plain)]).keys() >= {"pixel_values", "attention_mask"}
    one, other = (student._encode([student._read(sample)]) for sample in (samples[1], plain))
    with torch.inference_mode():
        gap = (student.model(**one).logits - student.model(**other).logits).abs().max()
    assert gap > 1e-3
    image_token = student.processor.tokenizer.convert_tokens_to_ids("<image>")
    assert int((one["input_ids"] == image_token).sum()) == 4  # 16 x 16 pixels in patches of 8 x 8
    assert student.num_tokens(samples[1]) == one["input_ids"].shape[1]


def test_padding_is_on_the_left_whatever_the_tokenizer_says(student, samples):
    rows = [student._read(sample) for sample in (samples[1], samples[5])]
    student.processor.tokenizer.padding_side = "right"
    mask = student._encode(rows)["attention_mask"]
    assert mask[:, -1].all() and not mask[:, 0].all()


def test_an_unusable_row_comes_back_with_its_reason_and_spoils_no_other(student, samples, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG but no picture")
    bad = [
        replace(samples[1], id="missing", image=str(tmp_path / "none.png")),
        replace(samples[2], id="broken", image=str(tmp_path / "broken.png")),
        replace(samples[0], id="long", instruction="word " * 600),
        replace(samples[0], id="control", instruction="An <image> of a <pad>?"),
        replace(samples[0], id="empty", instruction=" ", options=()),
    ]
    found = dict(student.replies([*bad, *samples], batch_size=5, **GREEDY))
    reasons = ["image missing", "image broken", "too long", "special token in text", "no text"]
    assert [found[index].reason for index in range(5)] == reasons
    assert [found[index].text for index in range(5, 14)] == texts(student, samples)
    with pytest.raises(SampleError, match=r"too long: sample long: the prompt has \d+ tokens"):
        student.generate(bad[2:3], batch_size=1, **GREEDY)


def test_a_prompt_fits_exactly_or_not_at_all(student, samples):
    room = student.max_length - student.num_tokens(samples[0])
    assert student.max_length == 512
    reply = student.generate([samples[0]], batch_size=1, **{**GREEDY, "max_new_tokens": room})[0]
    assert reply.num_tokens <= room
    ((_, error),) = student.replies([samples[0]], batch_size=1, **{**GREEDY, "max_new_tokens": room + 1})
    assert error.reason == "too long"


def test_what_is_drawn_depends_on_seed_and_sample_alone(student, samples):
    hot = {"temperature": 1.5, "seed": 7}
    drawn = texts(student, samples, 4, **hot)
    assert texts(student, samples, 1, **hot) == drawn == texts(student, samples, 9, **hot)
    assert texts(student, samples[::-1], 2, **hot) == drawn[::-1]
    assert texts(student, samples, 4, temperature=1.5, seed=8) != drawn
    twin = [replace(samples[0], id=name) for name in ("a", "b")]
    one, other = texts(student, twin, 2, **hot)
    assert one != other


def test_a_reply_ends_with_its_stop_token_or_says_that_it_was_cut(student):
    stop = student.processor.tokenizer.eos_token_id
    whole, cut = student._reply([70, 71, stop, 72, 73]), student._reply([70, 71, 72])
    assert (whole.num_tokens, whole.truncated) == (3, False)
    assert (cut.num_tokens, cut.truncated) == (3, True)
    assert whole.text == student.processor.tokenizer.decode([70, 71]).strip()


def test_the_digest_follows_weights_tokenizer_adapter_prompt_and_revision(base, tmp_path):
    from shutil import copytree

    def digest(path, **changes):
        return student_digest(str(path), **{"revision": None, "prompt": "micro", **changes})

    first = digest(base)
    moved = copytree(base, tmp_path / "elsewhere")
    assert digest(moved) == first == Student.load(node("student", "micro", path=str(moved))).digest
    (moved / "README.md").write_text("a card")
    assert digest(moved) == first
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"1")
    digests = {first, digest(base, prompt="paper"), digest(base, adapter=adapter)}
    (adapter / "adapter_model.safetensors").write_bytes(b"2")
    digests.add(digest(base, adapter=adapter))
    for name in ("model.safetensors", "tokenizer.json", "chat_template.jinja"):
        file = moved / name
        data = file.read_bytes()
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        digests.add(digest(moved))
        file.write_bytes(data)
    hub = "nobody/no-such-model"
    digests |= {digest(hub, revision=revision) for revision in ("abc", "def", None)}
    assert len(digests) == 10


@pytest.mark.parametrize(
    ("path", "message"),
    [("package:nothing", "no such packaged weights"), ("/no/such/folder", "no config.json there")],
)
def test_a_student_that_is_not_there_is_named(path, message):
    with pytest.raises(FileNotFoundError, match=f"student.path is {path}: {message}"):
        Student.load(node("student", "micro", path=path))


def test_weights_with_holes_are_refused(base, tmp_path):
    from shutil import copytree

    from safetensors.torch import load_file, save_file

    broken = copytree(base, tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    tensors.pop(next(name for name in tensors if "q_proj" in name))
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"its weights lack \['.*q_proj.*transformers would fill them with noise"):
        Student.load(node("student", "micro", path=str(broken)))
