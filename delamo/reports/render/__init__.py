"""How reports are written: Markdown, LaTeX, HTML, JSON and CSV."""
