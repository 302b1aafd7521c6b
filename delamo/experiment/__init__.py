"""One experiment: its config, and its data and models, opened on demand."""
