"""The report: what finished runs say.

`comparison` arranges runs by budget, target and method, with the numbers of `delamo.metrics`; `methods` says which runs
are runs of one method. `report` puts the report together from `sections/`, `render/` writes it, `plots/` draws it.
`trace` follows one sample through the stages of a run. The layouts of the paper's tables are in `delamo.paper`.
"""
