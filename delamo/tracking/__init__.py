"""Weights & Biases: a run for each cell, a run for a comparison, and the dashboard that lays them out."""
