"""The verbs of the command line, one file each.

A verb is a module here, a YAML file in `conf/` if Hydra composes its config, and one line in `delamo.cli.app.VERBS`.
The module's docstring is its help: the first line shows the call, the second paragraph is the summary. The module holds

- `main`, which takes the composed config where there is a `CONFIG_NAME`, else the list of arguments,
- optionally `session`, a context manager around `main` that receives the arguments and yields those for Hydra.
"""
