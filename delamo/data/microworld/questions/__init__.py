"""The kinds of question: how each is worded, which skills it needs, and the worked answer.

A kind draws a scene that fits, then a `QuestionDraft`: the words to fill into its wordings, the reasoning sentences,
the answer and the wrong options. Every worked answer has the same shape, so that a rationale can be cut and checked:

    The top left has a big red hollow framed circle. [one sentence a cell]
    The circle is big.                               [the reasoning of the kind]
    So the answer is big.
    (A) big fits. (B) small does not fit.
    The final answer is (A).
"""

# The order of these imports is the order of `KINDS`.
from delamo.data.microworld.questions import attributes, counting, numbers, relations

from delamo.data.microworld.questions import captions  # isort: skip
from delamo.data.microworld.questions.kinds import KINDS, SKILLS, Kind, QuestionDraft

__all__ = ["KINDS", "SKILLS", "Kind", "QuestionDraft", "attributes", "captions", "counting", "numbers", "relations"]
