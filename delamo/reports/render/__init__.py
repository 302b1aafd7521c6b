"""How tables and figures are written: Markdown, LaTeX, HTML, JSON and CSV."""
