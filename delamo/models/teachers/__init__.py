"""The teacher: local, behind an API, seeing or not, and how its option probabilities are read."""
