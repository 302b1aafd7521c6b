"""The sections of the report, a file each: from the comparison of runs to blocks of text and tables."""
