"""The verbs of the command line, one file each.

A verb is its file, its YAML file in `conf/` where Hydra composes it, and one line in `delamo.cli.app.VERBS`. The file's
docstring is its
help: the first line says how it is called, the second paragraph what it does. It holds `main`, which takes the
    arguments as they stand or, where
there is a `CONFIG_NAME`, the composed config; and perhaps `session`, a context around the composed run.
"""
