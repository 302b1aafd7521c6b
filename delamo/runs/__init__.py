"""An experiment's run directory: how it is named, written, read and traced back, and where its curves go."""
