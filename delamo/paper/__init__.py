"""The paper's tables: its numbers as data, our runs in their layouts, and the card of what was reproduced."""
