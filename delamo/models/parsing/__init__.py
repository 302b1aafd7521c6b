"""Read a student's reply by rule: the final answer, and the rationale before it.

`reply.py` finds the part of a reply that is to be read, `statements.py` the sentences that state an answer,
`choices.py` the option that they name, `open_answers.py` answers to questions without options.
"""

from delamo.models.parsing.normal import normalize, same_answer
from delamo.models.parsing.reply import Reading, read_answer

__all__ = ["Reading", "normalize", "read_answer", "same_answer"]
