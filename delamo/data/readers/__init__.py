"""One file for each published format that a task or a pool is read from."""
