"""Numbers without layout: statistics, circular evaluation, planted truth, agreement, retention, power, variance, overlap."""
