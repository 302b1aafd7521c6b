"""What the runs say.

`collect` reads run directories, `variants` and `results` arrange them, `statistics`, `power`, `variance`, `forgetting`, `planted` and
`overlap` are the numbers; `tables` puts the report together from `blocks/`, `plots/` draws it, `formats`, `html` and `exports` write it.
`paper/` has the layouts of the paper's tables and the reproduction card; `lookups` follows one sample through the chain.
"""
