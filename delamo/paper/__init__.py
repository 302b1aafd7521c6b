"""The paper's own tables: its numbers as data, our runs in their layouts, and the card that says which were reproduced."""
