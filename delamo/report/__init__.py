"""What the runs say: statistics, tables, and the look-ups that follow one sample through the chain."""
