"""Processors without their video half: the same tokens, no torchvision, and errors that name what is missing."""

import importlib.util
import subprocess
import sys

import pytest
from PIL import Image
from support.tiny_architectures import save

from delamo.models.hf.chat import prompt_text
from delamo.models.hf.processors import load_processor, processor_facts

QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


@pytest.fixture(scope="module", params=QWEN)
def checkpoint(request, tmp_path_factory):
    return save(request.param, tmp_path_factory.mktemp("student") / request.param)


def expanded(processor, picture):
    """Token ids and patch grid; there is one placeholder for each merged patch of the grid (Qwen2-VL, section 2.1)."""
    inputs = processor(text=[prompt_text(processor, "Hm?", has_image=True)], images=[[picture]], return_tensors="pt")
    rows, columns = inputs["image_grid_thw"][0, 1:].tolist()
    text = prompt_text(processor, "Hm?", has_image=True)
    by_hand = text.replace("<|image_pad|>", "<|image_pad|>" * (rows * columns // 4))
    return inputs["input_ids"][0].tolist(), processor.tokenizer(by_hand).input_ids


def test_a_placeholder_becomes_one_token_for_four_patches(checkpoint):
    processor = load_processor(str(checkpoint), revision=None)
    assert processor.video_processor is None and type(processor).__name__.startswith("Qwen")
    for size in ((40, 24), (16, 16), (90, 31)):
        found, by_hand = expanded(processor, Image.new("RGB", size, "red"))
        assert found == by_hand


def test_the_tokens_are_those_of_the_whole_processor(checkpoint):
    """Against transformers' own loading, which needs torchvision."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    from transformers import AutoProcessor

    picture = Image.new("RGB", (90, 31), "red")
    own, other = load_processor(str(checkpoint), revision=None), AutoProcessor.from_pretrained(checkpoint)
    assert other.video_processor is not None
    assert expanded(own, picture) == expanded(other, picture)


def test_a_student_needs_no_torchvision():
    hidden = "import sys; sys.modules['torchvision'] = None\n"
    program = (
        hidden + "import transformers; transformers.LlavaForConditionalGeneration; print(transformers.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_processor_that_lacks_a_package_names_it(tmp_path, monkeypatch):
    from transformers.models.smolvlm import processing_smolvlm

    folder = save("smolvlm", tmp_path / "smolvlm")
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    with pytest.raises(ValueError, match=r"(?s)student.path is .*smolvlm: its processor needs a package.*num2words"):
        load_processor(str(folder), revision=None)


def test_what_decides_the_tensors_is_recorded(checkpoint):
    processor = load_processor(str(checkpoint), revision=None)
    facts = processor_facts(processor)
    assert facts["image_processor"] == "Qwen2VLImageProcessorPil" and facts["image_backend"] == "pil"
    processor.chat_template += " "
    processor.image_processor.patch_size += 1
    changed = processor_facts(processor)
    assert {key for key in facts if facts[key] != changed[key]} == {"chat_template_sha256", "image_processor_sha256"}
