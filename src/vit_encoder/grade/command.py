"""The command that marks: vit-encoder grade SUBMISSIONS --output marks.csv."""

import argparse
import contextlib
import os
import sys
from pathlib import Path

ALL_MARKED, SOME_NOT, REFUSED, STOPPED = 0, 1, 2, 130  # exit statuses
EPILOG = """\
Beside the table FILE.csv a folder FILE_feedback gets a page and a results.json for each
submission. A run that was stopped goes on when the same command is given again.

Exit status: 0 if every submission was marked, 1 if some were marked partly or not at
all, 2 if it could not be done, 130 if it was stopped."""


def mark(args: argparse.Namespace) -> int:
    """Mark, or say why not; the exit status."""
    try:
        return run(args)
    except ModuleNotFoundError as error:
        return refuse(what_is_missing(error.name or ""))
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return STOPPED


def run(args: argparse.Namespace) -> int:
    """Mark; the exit status."""
    from vit_encoder.grade.session import REFUSALS, grade  # torch: takes seconds

    try:
        outcomes = grade(
            args.submissions,
            args.output,
            seed=args.seed,
            workers=args.workers or usable_cores(),
            dask=args.dask,
            isolated=not args.no_sandbox,
        )
    except REFUSALS as error:
        return refuse(reason(error))
    return ALL_MARKED if all(o.status == "marked" for o in outcomes) else SOME_NOT


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add this command, with its arguments, to those of `vit-encoder`."""
    command = commands.add_parser(
        "grade",
        help="mark a folder or a zip of exercise notebooks",
        description="Mark a folder or a zip of exercise notebooks. The code of "
        "students runs in a sandbox.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    add("submissions", type=Path, metavar="SUBMISSIONS", help="a folder or a zip")
    add(
        "--output",
        type=Path,
        required=True,
        metavar="FILE.csv",
        help="where the table of marks is written",
    )
    add(
        "--seed",
        type=seed,
        metavar="N",
        help="seed of the random inputs; new ones if it is left out",
    )
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help=f"processes on this machine (default: {usable_cores()}, its cores)",
    )
    where.add_argument(
        "--dask", metavar="ADDRESS", help="mark on the Dask cluster at this address"
    )
    add(
        "--no-sandbox",
        action="store_true",
        help="run the code of students with all your rights",
    )
    command.set_defaults(run=mark)


def usable_cores() -> int:
    """How many cores this process may use, which can be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count(text: str) -> int:
    """A whole number from 1 on."""
    return whole_number(text, 1, 1024)


def seed(text: str) -> int:
    """A whole number that torch takes as a seed."""
    return whole_number(text, 0, 2**63 - 1)


def whole_number(text: str, least: int, most: int) -> int:
    """A whole number in a range, as argparse wants it refused."""
    with contextlib.suppress(ValueError):
        if least <= int(text) <= most:
            return int(text)
    raise argparse.ArgumentTypeError(
        f"expected a whole number from {least} to {most}, got {text!r}"
    )


def what_is_missing(module: str) -> str:
    """What to install for a module that is not there."""
    extra = "dask" if module.partition(".")[0] in ("dask", "distributed") else "grade"
    return f'the module {module} is missing: pip install "vit-encoder[{extra}]"'


def reason(error: Exception) -> str:
    """What an error says, without the number that the system gives it."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def refuse(text: str) -> int:
    """Say why nothing was done."""
    print(f"vit-encoder grade: {text}", file=sys.stderr)
    return REFUSED
