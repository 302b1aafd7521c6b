"""The student: in this process or behind a server, and how its replies become answers."""
