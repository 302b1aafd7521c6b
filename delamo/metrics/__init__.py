"""Numbers without layout: rows in, numbers out; no run directory and no report is known here."""
