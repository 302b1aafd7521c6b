r"""Sentences that state an answer: the words that announce it, and whether the sentence means it.

Source of the patterns in English: paper, Table 10, which prints eight rows with seven distinct patterns (its first two
rows share one). Two of the patterns are garbled in print, those of the rows "A" and "answer is the option A"; they are
rebuilt here from the row's example: a reply that is nothing but the letter, and `answer is (the) option` with or
without a bracket. Where we differ: small letters are read everywhere (Vision-Flan answers look like `(e) This image
contains a sink`); row three needs no full stop; row five needs the noun, as "A is the correct colour" names no option.
Other words, markup and languages that models answer in are read too.
"""

# ruff: noqa: RUF001 -- quotation marks and full-width punctuation are matched as they are

from __future__ import annotations

import re

MARKUP = r"(?:[*#>]{1,6}\s?)?"
CONCLUSION = r"(?:(?:so|thus|hence|therefore|consequently|in conclusion|overall|finally)\b\s?,?\s*)"
LEAD = rf"{MARKUP}{CONCLUSION}?(?:(?:my|the|your)\s+)?(?:(?:final|correct|right|best|overall|most\s+\w+)\s+){{0,2}}"
ANSWER = r"(?<![A-Za-z])(?:answers?|ans)(?![A-Za-z])\**"
OF_WHAT = r"(?:\s+(?:to|that|which|for|here|choice|option)\b[^.\n:?!,]{0,60}?)?"

LED_IN = re.compile(rf"{LEAD}\Z", re.IGNORECASE)

ANNOUNCED = (
    # rows 1 to 4 and 7: "answer is (A)", "answer is (A", "answer is A.", "Answer: A", "answer is the option A"
    rf"{ANSWER}{OF_WHAT}\s*\**\s*(?:\bis(?:\b|(?=[A-Z]\)))|:|=|\s[-–—](?=\s))\s*[:=]?",
    # "### Final Answer", and the answer on a line below
    rf"{ANSWER}[ \t]*(?=\n)",
    # row 8: "choose the answer, A"
    r"(?:\bI\s+(?:would\s+|will\s+)?)?\bchoose\s+the\s+answer,?",
    # Chinese, Japanese, Korean
    r"(?:因此|所以|故|最终|最後|正确的?|正確的?)*[,，]?(?:正确的?|正確的?|最终|最終)?答案(?:应该|應該|应当|应)?(?:就)?(?:是|为|為|选|選|[:：])+",
    r"(?:正解|答え|回答)(?:は|[:：])+",
    r"(?:정답|답)\s*(?:은|는|[:：])+",
    # Spanish, Portuguese, Italian
    r"(?:\bla\s+)?\brespuesta\s*(?:correcta|final)?\s*(?:correcta\s*)?(?:\bes\b|\bsería\b|[:：])(?:\s+la\b(?=\s+(?:opci|[\"'(]*[A-Z]\b)))?",
    r"(?:\ba\s+)?\bresposta\s*(?:correta|final)?\s*(?:\bé\b|[:：])(?:\s+a\b(?=\s+(?:op|alternativa|[\"'(]*[A-Z]\b)))?",
    r"(?:\bla\s+)?\brisposta\s*(?:corretta|finale)?\s*(?:\bè\b|[:：])(?:\s+la\b)?",
    # German, French, Russian
    r"(?:\bdie\s+)?(?:\b(?:richtige|korrekte|endgültige)\s+)?\bantwort\s*(?:\b(?:ist|lautet)\b|[:：])",
    r"(?:\bla\s+)?(?:\bbonne\s+)?\bréponse\s*(?:correcte|finale|exacte)?\s*(?:\best\b|[:：])(?:\s+la\b|\s+l['’](?=option))?",
    r"(?:правильный\s+)?ответ(?:\s+[-—–]|\s*[:：]|\s+это)+",
)
"""What an answer follows, the paper's rows among them; a reply states it at most once without a slip."""
WEAKLY_ANNOUNCED = (
    rf"{ANSWER}\s+(?:would|should|must|will|could\s+only|has\s+to)\s+be:?",
    r"\b(?:final|correct|right|best)\s+(?:option|choice|letter|one|response)\**(?:\s+is:?|\s?:)",
    r"\b(?:I|we)(?:['’]d|['’]ll)?\s+(?:(?:would|will|am|are|must|should|have\s+to)\s+)?(?:therefore\s+)?"
    r"(?:choos(?:e|ing)|select(?:ing)?|pick(?:ing)?|go(?:ing)?\s+(?:with|for)|opt(?:ing)?\s+for|settl(?:e|ing)\s+on)",
    r"\bI(?:['’]d|\s+would)?\s+(?:say|guess|think|believe)(?:\s+that)?(?:\s+it(?:['’]s|\s+is))?",
    r"\b(?:my|the)\s+(?:best\s+)?(?:guess|choice|pick|selection|vote)\s+(?:is|would\s+be)",
    r"\b(?:match(?:es)?|correspond(?:s|ing)?\s+to|point(?:s|ing)?\s+to|indicat(?:es|ing)|suggest(?:s|ing)?|"
    r"lead(?:s|ing)?\s+(?:me\s+|us\s+)?to|leav(?:es|ing)(?:\s+(?:me|us)\s+with)?|is|must\s+be|should\s+be|['’]s)"
    r"(?=\s+(?:the\s+)?(?:option|choice|letter)\s)",
    rf"(?:\A\s*|(?<=\n)|(?<=[.!?,]\s)){MARKUP}(?:so|thus|hence|therefore|→|=>|⇒|∴)\**\s?[,:]?(?:\s+(?:it['’]?s|it\s+is|it\s+must\s+be))?(?=\s|[*(])",
    rf"(?:\A\s*|(?<=\n)|(?<=[.!?]\s)){MARKUP}(?:(?:my|the|your)\s+)?(?:final\s+)?(?:choice|option|selection|prediction|response|final|"
    r"conclusion|verdict|result|letter|correct|solution|output|pick)\**\s?[:：]",
    r"(?:\A|(?<=\n)|(?<=[.!?,]\s))(?:so\s+)?(?:it|this|that)(?:['’]s|\s+(?:is|must\s+be|should\s+be|has\s+to\s+be))",
    r"(?:应该?|應該?|我|故|所以|因此)?(?:选择?|選擇?)(?:的是|项是)?[:：]?",
    r"\b(?:correcta|correta|corretta)\s+(?:es|é|è)(?:\s+la|\s+a)?",
    r"(?:\A|(?<=[.,]\s))es\s+la",
    r"\brichtig(?:e\s+(?:option|wahl))?\s+ist(?:\s+die\s+option)?",
    r"\bc['’]est(?:\s+la|\s+l['’](?=option))?",
    r"\b(?:elijo|escojo|selecciono|escolho|ich\s+wähle|je\s+choisis|scelgo)(?:\s+la)?",
)
"""Read only in a reply that has none of those above."""
NAMED = (
    # row 5: "A is the correct answer"
    r"\s{1,3}is\s+(?:clearly\s+|therefore\s+|thus\s+|definitely\s+)?the\s+(?:correct|right|best)(?:\s+\**(?:answer|option|choice|one)\b|\W*$)",
    r"\s{1,3}is\s+(?:therefore\s+|thus\s+)?(?:the|my|our)\s+(?:final\s+)?answer\b",
)
"""What follows an answer."""
WEAKLY_NAMED = (
    r"\s{1,3}(?:is|seems|looks|appears|must\s+be|would\s+be)\s+(?:to\s+be\s+)?(?:(?:clearly|definitely|obviously|most\s+likely|the|most|"
    r"therefore|probably|likely)\s+)*(?:correct|right|accurate|best|true|appropriate|suitable)"
    r"(?=\W*(?:\Z|[.,;!\n]|\b(?:because|as|since|answer|option|choice|one|match|fit|given|for)\b))",
    r"\s{1,3}(?:es\s+(?:la\s+)?(?:opción\s+)?correcta|est\s+(?:la\s+)?(?:bonne|correcte)|ist\s+(?:die\s+)?(?:richtig|korrekt)e?|"
    r"(?:é|è)\s+(?:a\s+|la\s+)?corr\w+)",
    r"\s{0,3}(?:选项|選項)?(?:是)?(?:正确|正確|对|對)的?",
)

LONGEST_LEAD = 60
LONGEST_SENTENCE = 400
"""Characters in which the bounds of a sentence are looked for."""
SENTENCE_END = re.compile(r"[.!?;](?=\s|$)|[。！？；\n]")
HEDGED = re.compile(r"\s*(?:both|either|neither|none|unclear|unknown|uncertain|ambiguous)\b", re.IGNORECASE)

_DENIED = re.compile(
    r"(?:\b(?:not|no\s+(?:way|reason|chance)|nobody|never|cannot|wrong|incorrect|false|untrue|mistaken|mistake|unlikely|doubt\w*|disagree|den(?:y|ies)|nor)\b"
    r"|n['’]t\b|不|没|無)[^,;:.]{0,60}\Z",
    re.IGNORECASE,
)
_REASON = re.compile(r"\b(?:since|because|as|given|although|though|while)\b[^,;:.]*\Z", re.IGNORECASE)
_CONDITION = re.compile(
    r"(?:\b(?:if|unless|whether|suppose|supposing|assuming|wenn|falls)\b|如果|假如|假设)[^.;]{0,160}\Z", re.I
)
_CHECK = re.compile(
    r"\bif\s+(?:I|we|you)\s+(?:had\s+to|have\s+to|must|look|consider|examine|focus|count|compare|zoom)\b|\b(?:see|check|determine|decide|tell|know|find\s+out|judge|identify)\s+(?:if|whether)\b",
    re.IGNORECASE,
)
_INVERTED = re.compile(r"\W*(?:had|were|should)\s+(?:it|the|this|that|there|we)\b", re.IGNORECASE)
_ATTRIBUTED = re.compile(
    r"\b(?:(?:might|may|could|would|can)\s+(?:\w+\s+)?|(?:someone|some|people|many|others)\s+(?:\w+\s+)?)"
    r"(?:say|says|think|thinks|assume|guess|argue|believe|claim|suggest|expect)\b[^.;]{0,60}\Z",
    re.IGNORECASE,
)
_FORMAT = re.compile(
    r"\b(?:form|format|formatted|template|pattern|example|e\.g\.|such\s+as)\b[^\w.]*(?:is\b|of\b)?[^\w.]*\Z", re.I
)
_QUESTION = re.compile(
    r"\W*(?:so\s+)?(?:is|are|could|can|might|should|would|does|do|what|which|why|how)\b[^.!]*\?\Z", re.I
)
_TAKEN_BACK = re.compile(
    r"[\"'”’*)\]}`.]*\s*(?:\.\.\.|…)?\s*(?:is|was|would\s+be|seems|looks)\s+(?:wrong|incorrect|false|not\s+(?:right|correct|true))|"
    r"[^.\n]{0,60}\b(?:if|unless)\b[^.\n]{0,60}\b(?:were|had|would)\b",
    re.IGNORECASE,
)
CONCLUDES = re.compile(rf"{MARKUP}{CONCLUSION}", re.IGNORECASE)
RETRACTED = re.compile(
    r"\b(?:wait|scratch\s+that|correction|on\s+second\s+thought|let\s+me\s+(?:re\w+|correct|look\s+again|double|check)|"
    r"no,\s+(?:that|it|wait)|that(?:['’]s|\s+is|\s+was)\s+(?:wrong|incorrect|not\s+right|a\s+mistake)|"
    r"I\s+(?:made\s+a\s+mistake|was\s+wrong))\b",
    re.IGNORECASE,
)
REFUTED = re.compile(r"\b(?:wrong|incorrect|not\s+right|mistaken?)\b", re.IGNORECASE)
UNSURE = re.compile(
    r"\b(?:not\s+(?:sure|certain)|unsure|don['’]?t\s+know|do\s+not\s+know|can(?:not|['’]t)\s+(?:tell|determine|say))\b",
    re.I,
)


def led_in(text: str, position: int) -> int:
    """Return where "So the final" and the like begin, markup included, that stand right before a position."""
    words = text[max(0, position - LONGEST_LEAD) : position]
    for match in re.finditer(r"(?<![A-Za-z])(?=[A-Za-z*#>])", words):
        if LED_IN.match(words, match.start()):
            return position - len(words) + match.start()
    return position


def sentence_start(text: str, position: int) -> int:
    """Return where the sentence begins that a position lies in."""
    earliest = max(0, position - LONGEST_SENTENCE)
    ends = [match.end() for match in SENTENCE_END.finditer(text, earliest, position)]
    return ends[-1] if ends else earliest


def sentence_end(text: str, position: int) -> int:
    """Return where the sentence ends that a position lies in, its mark included."""
    latest = position + LONGEST_SENTENCE
    match = SENTENCE_END.search(text, position, latest)
    return match.end() if match else min(latest, len(text))


def is_asserted(text: str, start: int, end: int) -> bool:
    """Return whether a sentence means the statement that it holds.

    It does not where it denies it, makes it hang on a condition, leaves it to others, asks it, or shows a format.

    Args:
        text: of the reply.
        start: of the statement.
        end: of the answer that it names.
    """
    if _TAKEN_BACK.match(text, end):
        return False
    if CONCLUDES.match(text, start):
        return True
    first = sentence_start(text, start)
    before = text[first:start]
    sentence = text[first : sentence_end(text, end)].strip()
    if _QUESTION.match(sentence) or _FORMAT.search(before) or _ATTRIBUTED.search(before):
        return False
    if _INVERTED.match(before) or _CONDITION.search(_CHECK.sub("", before) if "," in before else before):
        return False
    denied = _DENIED.search(before)
    return denied is None or _REASON.search(before[: denied.start()]) is not None
