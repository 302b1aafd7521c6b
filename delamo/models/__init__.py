"""The student, the teachers, their prompts, and the weights that ship with the package."""
