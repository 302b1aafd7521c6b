"""The `delamo` command. Verbs that compute are composed by Hydra; look-ups take an id. Heavy imports wait for the verb."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from delamo import __version__
from delamo.cli.echo import show

USAGE = """\
delamo: find where a multimodal model's reasoning breaks, and tune it on samples that train what is missing

  delamo run [KEY=VALUE ...]              run one experiment cell; `delamo run --help` lists groups and options
  delamo run -m KEY=A,B [KEY=VALUE ...]   run a sweep; finished cells are skipped
  delamo plan [KEY=VALUE ...]             what a cell, a grid or a table's preset would compute, ask and cost; computes nothing
  delamo report [runs=DIR] [format=F]     the tables of all finished runs below DIR: markdown, html, json, csv, latex
  delamo report table=T [against=paper]   those runs in the layout of the paper's table T, its own numbers beside ours
  delamo card [runs=DIR] [out=FILE]       each number of the paper: reproduced, not run for want of what, or not derivable
  delamo dashboard [runs=DIR] [entity=E]  lay the comparison out as a Weights & Biases workspace
  delamo why POOL_ID [runs=DIR]           which error, step, skill, score and rank brought this pool sample in
  delamo trace VAL_ID [runs=DIR]          one validation sample: rationale, step probabilities, mistake, skill, hits
  delamo check pool=P [task=T] [student=S]   what is in the data, what is broken, and what would not fit the student
  delamo doctor [KEY=VALUE ...]           whether this environment can run what is asked; exit status 1 where it cannot
  delamo convert pool=P out=DIR           write a pool as Parquet, which opens in seconds at any size (pool=parquet)
  delamo export out=DIR [runs=DIR] [format=F]   selection, adapter and results for others: llava, llama_factory, hf, lmms_eval
  delamo --help | --version

Runs go to runs/ and stage results to store/ below the current directory, unless paths.runs and paths.store say otherwise.
"""
HELP_FLAGS = ("-h", "--help")


def main() -> None:
    """The console script; leaves with status 2 for a wrong command line and 1 for a failed run or look-up."""
    verb, *arguments = sys.argv[1:] or ["--help"]
    if verb in HELP_FLAGS:
        show(USAGE, end="")
    elif verb == "--version":
        show(f"delamo {__version__}")
    elif verb in VERBS:
        _guarded(VERBS[verb], arguments)
    else:
        print(f"delamo: there is no verb {verb!r}\n\n{USAGE}", end="", file=sys.stderr)
        raise SystemExit(2)


def _guarded(verb: Callable[[list[str]], None], arguments: list[str]) -> None:
    from delamo.config.secrets import refuse_keys_in_arguments

    try:
        refuse_keys_in_arguments(arguments)
        verb(arguments)
    except (ValueError, OSError, KeyError) as error:
        # What a user can mend: the message says how, and a traceback would hide it.
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"delamo: {message}", file=sys.stderr)
        raise SystemExit(1) from None


def _run(arguments: list[str]) -> None:
    if _wants_help(arguments):
        from delamo.cli.help import describe

        show(describe(), end="")
        return
    _refuse_keys_in_config_files(arguments)
    from delamo.tuning import distributed

    if distributed.rank() > 0:  # the first process of a torchrun runs the pipeline, the others help it to tune
        from delamo.tuning.fit import follow

        return follow()
    sys.argv = ["delamo run", *arguments]
    from delamo.cli.entries import main as run

    try:
        run()
    finally:
        distributed.dismiss()


def _refuse_keys_in_config_files(arguments: list[str]) -> None:
    """A sweep writes its composed config before its first cell runs: what a user's own files hold is looked at before."""
    from delamo.config.compose import conf_dir
    from delamo.config.secrets import refuse_keys_in_files

    folders = [conf_dir() / "local"]
    for flag in ("--config-dir", "-cd", "--config-path", "-cp"):
        folders += [Path(value) for name, value in pairwise(arguments) if name == flag]
        folders += [Path(one.partition("=")[2]) for one in arguments if one.startswith(f"{flag}=")]
    refuse_keys_in_files(folders)


def _plan(arguments: list[str]) -> None:
    if _wants_help(arguments):
        show(
            "delamo plan [KEY=VALUE ...] [assume.KEY=VALUE ...]\n\nas delamo run -m, without weights, keys, data or network; what it takes "
            "as given: conf/plan.yaml"
        )
        return
    _refuse_keys_in_config_files(arguments)
    given = [f"hydra.sweeper.{one}" if one.startswith("assume.") else one for one in arguments]
    sys.argv = ["delamo plan", "-m", *(one for one in given if one not in ("-m", "--multirun"))]
    from delamo.cli.plan_sweeper import main as plan

    plan()


def _report(arguments: list[str]) -> None:
    if _wants_help(arguments):
        show(
            "delamo report [runs=DIR] [format=markdown|html|json|csv|latex] [reference=METHOD] [table=table1|...|table12] [against=paper]\n"
            "              [out=FILE] [plots=DIR] [logger=none|wandb]\n\nruns defaults to runs, format to markdown, reference to random; "
            "without out=FILE the report is printed"
        )
        return
    sys.argv = ["delamo report", *arguments]
    from delamo.cli.entries import report

    report()


def _dashboard(arguments: list[str]) -> None:
    if _wants_help(arguments):
        show(
            "delamo dashboard [runs=DIR] [project=P] [entity=E] [group=G] [out=FILE]\n\nsaves a Weights & Biases workspace for the runs "
            "that were logged with logger=wandb;\nout=FILE writes its specification instead, without an account"
        )
        return
    sys.argv = ["delamo dashboard", *arguments]
    from delamo.cli.entries import dashboard

    dashboard()


def _check(arguments: list[str]) -> None:
    if _wants_help(arguments):
        show(
            "delamo check pool=P [task=T] [student=S] [max_samples=N]\n\npools, tasks and students: delamo run --help; of a "
            "larger pool, N samples are drawn for their pictures and tokens"
        )
        return
    sys.argv = ["delamo check", *arguments]
    from delamo.cli.entries import check

    check()


def _doctor(arguments: list[str]) -> None:
    if _wants_help(arguments):
        show(
            "delamo doctor [KEY=VALUE ...] [servers=true]\n\ntakes what `delamo run` takes and says whether Python, packages, devices, "
            "disk and keys will do;\nservers=true asks the servers that are named, too"
        )
        return
    from delamo.cli.doctor import doctor

    text, good = doctor(arguments)
    show(text)
    if not good:
        raise SystemExit(1)


def _convert(arguments: list[str]) -> None:
    if _wants_help(arguments):
        show(
            "delamo convert pool=P out=DIR\n\nthen: delamo run pool=parquet pool.folder=DIR; pictures stay where they are"
        )
        return
    sys.argv = ["delamo convert", *arguments]
    from delamo.cli.entries import convert

    convert()


def _export(arguments: list[str]) -> None:
    if _wants_help(arguments):
        show("delamo export out=DIR [runs=DIR] [format=llava|llama_factory|hf|lmms_eval]\n\nruns defaults to runs")
        return
    sys.argv = ["delamo export", *arguments]
    from delamo.cli.entries import export

    export()


def _card(arguments: list[str]) -> None:
    if _wants_help(arguments):
        show(
            "delamo card [runs=DIR] [format=markdown|json|csv|latex] [out=FILE]\n\nruns defaults to runs; without out, prints it"
        )
        return
    sys.argv = ["delamo card", *arguments]
    from delamo.cli.entries import card

    card()


def _why(arguments: list[str]) -> None:
    if _wants_help(arguments):
        show("delamo why POOL_ID [runs=DIR]")
        return
    from delamo.report.trace import why

    show(why(*_id_and_runs("why POOL_ID", arguments)))


def _trace(arguments: list[str]) -> None:
    if _wants_help(arguments):
        show("delamo trace VAL_ID [runs=DIR]")
        return
    from delamo.report.trace import trace

    show(trace(*_id_and_runs("trace VAL_ID", arguments)))


def _wants_help(arguments: Sequence[str]) -> bool:
    return any(flag in arguments for flag in HELP_FLAGS)


def _id_and_runs(form: str, arguments: Sequence[str]) -> tuple[str, str]:
    """The id and the folder of runs. Ids may hold any character, `=` too: only a leading `runs=` is an option."""
    ids = [argument for argument in arguments if not argument.startswith("runs=")]
    folders = [argument.removeprefix("runs=") for argument in arguments if argument.startswith("runs=")]
    if len(ids) != 1 or len(folders) > 1:
        raise ValueError(f"expected `delamo {form} [runs=DIR]`, got {' '.join(arguments) or 'no id'}")
    return ids[0], (folders or ["runs"])[0]


VERBS: dict[str, Callable[[list[str]], None]] = {
    "run": _run,
    "plan": _plan,
    "report": _report,
    "dashboard": _dashboard,
    "card": _card,
    "why": _why,
    "trace": _trace,
    "check": _check,
    "doctor": _doctor,
    "convert": _convert,
    "export": _export,
}
