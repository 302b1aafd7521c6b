"""The `delamo` command: the table of verbs, and how one is called. Heavy imports wait until a verb is called."""

from __future__ import annotations

import ast
import contextlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from delamo import __version__
from delamo.cli.echo import show

VERBS = (
    "run",
    "plan",
    "report",
    "card",
    "dashboard",
    "why",
    "trace",
    "check",
    "doctor",
    "convert",
    "export",
)
"""Each is a module of `delamo.cli.verbs`, in the order of the usage."""
HEAD = "delamo: find where a multimodal model's reasoning breaks, and tune it on samples that train what is missing"
TAIL = """\
  delamo VERB --help      what a verb takes
  delamo --version

Runs go to runs/ and stage results to store/ below the current directory, unless paths.runs and paths.store are set.
Tab completion in bash, and in zsh after bashcompinit: eval "$(delamo -sc install=bash)"
Tab completion in fish: delamo -sc install=fish | source
"""
HELP_FLAGS = ("-h", "--help")
COMPLETION_FLAGS = ("-sc", "--shell-completion")


def docstring(verb: str) -> str:
    """Read a verb's help from its file without importing it, so that the usage takes milliseconds."""
    path = Path(__file__).parent / "verbs" / f"{verb}.py"
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def usage() -> str:
    """Return the usage: how each verb is called, and its summary."""
    lines = [HEAD, ""]
    for verb in VERBS:
        call, summary = docstring(verb).split("\n\n")[:2]
        lines.append(f"  {call.rstrip('.')}")
        lines += textwrap.wrap(" ".join(summary.split()), 110, initial_indent=" " * 10, subsequent_indent=" " * 10)
    return "\n".join([*lines, "", TAIL])


def _help(verb: str) -> str:
    if verb == "run":
        from delamo.cli.experiment_help import describe

        return describe()
    return f"{docstring(verb)}\n"


class Delamo(click.Group):
    """A group whose commands are the verbs, each imported when it is called and given its arguments unparsed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the verbs, in the order of the usage."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a verb as a click command; None for an unknown name."""
        if name not in VERBS:
            return None
        arguments = click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)
        settings = {"ignore_unknown_options": True, "allow_extra_args": True}
        callback = partial(call, name)
        return click.Command(
            name, callback=callback, params=[arguments], add_help_option=False, context_settings=settings
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb. Raises SystemExit with status 2 for an unknown one, after printing the usage."""
        if args[0] not in VERBS:
            click.echo(f"delamo: there is no verb {args[0]!r}\n\n{usage()}", nl=False, err=True)
            raise SystemExit(2)
        return super().resolve_command(ctx, args)


def _print_and_leave(text: Callable[[], str], ctx: click.Context, parameter: Any, value: bool) -> None:
    if value:
        show(text(), end="")
        ctx.exit()


def _complete_and_leave(ctx: click.Context, parameter: Any, request: str | None) -> None:
    if request is not None:
        _complete(request)
        ctx.exit()


def _complete(request: str) -> None:
    from delamo.cli.completion import shell_completion  # it reads conf/

    with plain_exit():
        shell_completion(request, VERBS)


@click.group(cls=Delamo, invoke_without_command=True, add_help_option=False)
@click.option(
    "-h", "--help", is_flag=True, is_eager=True, callback=partial(_print_and_leave, usage), expose_value=False
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    callback=partial(_print_and_leave, lambda: f"delamo {__version__}\n"),
    expose_value=False,
)
@click.option(*COMPLETION_FLAGS, is_eager=True, callback=_complete_and_leave, expose_value=False)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Call a verb; the exit status is 2 for a wrong command line and 1 for a failed run or look-up."""
    if ctx.invoked_subcommand is None:
        show(usage(), end="")


def call(name: str, arguments: tuple[str, ...]) -> None:
    """Call a verb with the config that Hydra composes for it, or with its arguments where it has no config."""
    with plain_exit(), session(name, list(arguments)) as (verb, rest):
        if rest is None:
            return
        if not hasattr(verb, "CONFIG_NAME"):
            verb.main(rest)
            return
        import hydra

        from delamo.config.conf import conf_dir

        sys.argv = [f"delamo {name}", *rest]
        hydra.main(config_path=str(conf_dir()), config_name=verb.CONFIG_NAME, version_base="1.3")(verb.main)()


@contextlib.contextmanager
def plain_exit() -> Iterator[None]:
    """Print errors that a user can fix without a traceback, since their messages say how, and exit with status 1."""
    try:
        yield
    except (ValueError, OSError, KeyError) as error:
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        click.echo(f"delamo: {message}", err=True)
        raise SystemExit(1) from None


@contextlib.contextmanager
def session(name: str, arguments: list[str]) -> Iterator[tuple[ModuleType | None, list[str] | None]]:
    """Import a verb's module and run it within the module's own `session`, if it has one; answer `--help` and `-sc`.

    Yields:
        (module, arguments that are left for it). The arguments are None where nothing is left to do.
    """
    from delamo.config.conf import refuse_renamed
    from delamo.config.secrets import refuse_keys_in_arguments

    for flag, request in pairwise(arguments):
        if flag in COMPLETION_FLAGS:
            _complete(request)
            yield None, None
            return
    if any(flag in arguments for flag in HELP_FLAGS):
        show(_help(name), end="")
        yield None, None
        return
    refuse_keys_in_arguments(arguments)
    refuse_renamed(arguments)
    verb = import_module(f"delamo.cli.verbs.{name}")
    if hasattr(verb, "session"):
        with verb.session(arguments) as rest:
            yield verb, rest
    else:
        yield verb, arguments


if __name__ == "__main__":
    main()
