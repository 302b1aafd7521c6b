"""Tuning of the student: its config, the trainable weights, batches, the Lightning module, and several processes."""
