"""What several test files use: fake services, tiny models, made-up runs."""
