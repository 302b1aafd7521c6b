"""Skills are read from replies as teachers write them, and what names none gives none."""

# ruff: noqa: RUF001 -- a reply is a line, and full-width signs are as models write them

import pytest

from delamo.models import prompts
from delamo.models.teachers.replies import is_echo, read_skill, read_skills, without_last

REPLIES = [
    ("tell sizes.", ("tell sizes",)),
    ("a thing; b thing ;a thing.", ("a thing", "b thing")),
    ("1. tell a goat from a sheep\n2. locate an object", ("tell a goat from a sheep", "locate an object")),
    ("Skills:\n- read digits\n- compare sizes", ("read digits", "compare sizes")),
    ("**Missing skill:**\nIdentify the poles of a magnet", ("Identify the poles of a magnet",)),
    ("**Missing skill:** Identify the poles of a magnet", ("Identify the poles of a magnet",)),
    ("<think>hm, maybe counting</think>\nread a dial", ("read a dial",)),
    ("<think>hm, maybe counting", ()),
    ("hm</think>\n\nread a dial", ("read a dial",)),
    ('{"skills": ["read digits", "compare sizes"]}', ("read digits", "compare sizes")),
    ('```json\n{"missing_skill": "read a dial"}\n```', ("read a dial",)),
    ('["read digits", "compare sizes"]', ("read digits", "compare sizes")),
    ('[{"skill": "read digits", "why": "x"}, {"skill": "compare sizes"}]', ("read digits", "compare sizes")),
    (
        "Here are the skills needed:\n\n1. **Read digits**\n2. **Compare sizes**\n\nThese help.",
        ("Read digits", "Compare sizes"),
    ),
    ("Sure! Here are the skills:\n* read digits\n* compare sizes", ("read digits", "compare sizes")),
    ("The missing skill is reading a dial.", ("reading a dial",)),
    ("The student lacks the ability to read a dial.", ("read a dial",)),
    ("The model needs to count objects that are partly hidden.", ("count objects that are partly hidden",)),
    ("I'm sorry, I can't help with that.", ()),
    ("I cannot see the image.", ()),
    ("As an AI, I have no eyes.", ()),
    ("None", ()),
    ("N/A", ()),
    ("Skills:", ()),
    ("**Missing skill:**", ()),
    ("", ()),
    ("  \n ", ()),
    ("---", ()),
    ("There is no wrong step.", ()),
    ("1) read digits 2) compare sizes", ("read digits", "compare sizes")),
    ("(1) read digits (2) compare sizes", ("read digits", "compare sizes")),
    ("- read digits", ("read digits",)),
    ("• read digits\n• compare sizes", ("read digits", "compare sizes")),
    ("“read a dial”", ("read a dial",)),
    ("'read a dial'.", ("read a dial",)),
    ("read a dial\n\nQuestion: Will it rain?\nMissing skill: read clouds", ("read a dial",)),
    ("read a dial\nExplanation: the student misread it.", ("read a dial",)),
    ("Skills: read digits; compare sizes", ("read digits", "compare sizes")),
    ("Skills: read digits, compare sizes, and count objects", ("read digits", "compare sizes", "count objects")),
    ("count objects, even partly hidden", ("count objects, even partly hidden",)),
    ("## Skills\n\n- read digits\n- compare sizes", ("read digits", "compare sizes")),
    ("### Missing Skill\nread a dial", ("read a dial",)),
    ("Missing skill\nread a dial", ("read a dial",)),
    ("**Skill:** read a dial", ("read a dial",)),
    ("Skill 1: read digits\nSkill 2: compare sizes", ("read digits", "compare sizes")),
    ("技能：数数；比较大小", ("数数", "比较大小")),
    ("缺少的技能：识别磁铁的两极", ("识别磁铁的两极",)),
    ("1、数数\n2、比较大小", ("数数", "比较大小")),
    ("抱歉，我无法回答。", ()),
    ("<skill>read a dial</skill>", ("read a dial",)),
    ("<answer>read digits; compare sizes</answer>", ("read digits", "compare sizes")),
    ("a) read digits\nb) compare sizes", ("read digits", "compare sizes")),
    (
        "- **Counting**: count the objects\n- **Reading**: read the sign",
        ("Counting: count the objects", "Reading: read the sign"),
    ),
    ("The skills needed are:\n1. read digits\n2. compare sizes", ("read digits", "compare sizes")),
    ("To answer this, the following skills are needed: read digits; compare sizes", ("read digits", "compare sizes")),
    ("read 3 digits", ("read 3 digits",)),
    ("2D shape recognition", ("2D shape recognition",)),
    ("Answer: read a dial", ("read a dial",)),
    ("Ability to read a dial", ("read a dial",)),
    ("To read a dial", ("read a dial",)),
    ("The one skill the student needs: read a dial", ("read a dial",)),
    ("Read a dial.\nRead a clock.", ("Read a dial",)),
    ("Unfortunately, the image is unclear.", ()),
    ("word " * 60, ()),
]


@pytest.mark.parametrize(("reply", "skills"), REPLIES)
def test_the_skills_of_a_reply(reply, skills):
    assert read_skills(reply) == skills
    assert read_skill(reply) == ("; ".join(skills) or None)


def test_the_table_is_long():
    assert len(REPLIES) >= 60


def test_a_reply_that_was_cut_off_loses_its_last_part():
    assert without_last("read digits; compare si") == ("read digits",)
    assert without_last("1. read digits\n2. compare sizes\n3. read a digit from a") == ("read digits", "compare sizes")
    assert without_last("read a digit from a") == ()


@pytest.mark.parametrize("name", ["skill", "pool_skills"])
def test_the_prompts_own_examples_are_known(name):
    shown = prompts.demonstrated_skills("paper", name)
    assert len(shown) >= 2 and prompts.demonstrated_skills("micro", name) == ()
    assert is_echo(shown[0].upper() + ".", shown) and is_echo("the " + shown[0], shown)
    assert not is_echo("compare the colours of two stars", shown)
