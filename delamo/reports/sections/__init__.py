"""The report's sections beside its accuracies, one a file: what was chosen, what it cost, what was lost and how sure it is."""
