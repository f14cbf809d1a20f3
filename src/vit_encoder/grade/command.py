"""The command: vit-encoder grade SUBMISSIONS --output marks.csv."""

import argparse
import os
import sys
from pathlib import Path

ALL_MARKED, SOME_NOT, REFUSED, STOPPED = 0, 1, 2, 130  # exit statuses
EPILOG = """\
Beside the table FILE.csv a folder FILE_feedback gets a page and a results.json for each
submission. A run that was stopped goes on when the same command is given again.

Exit status: 0 if every submission was marked, 1 if some were marked partly or not at
all, 2 if nothing could be done."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; its exit status."""
    args = parse(arguments)
    try:
        from vit_encoder.grade.session import REFUSALS, grade
    except ModuleNotFoundError as error:
        return refuse(
            f'the module {error.name} is missing: pip install "vit-encoder[grade]"'
        )
    try:
        outcomes = grade(
            args.submissions,
            args.output,
            seed=args.seed,
            workers=args.workers,
            dask=args.dask,
            walls=not args.no_sandbox,
        )
    except ModuleNotFoundError:
        return refuse('--dask needs more: pip install "vit-encoder[dask]"')
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return STOPPED
    except REFUSALS as error:
        return refuse(str(error))
    return ALL_MARKED if all(o.status == "marked" for o in outcomes) else SOME_NOT


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(prog="vit-encoder")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "grade",
        help="mark a folder or a zip of exercise notebooks",
        description="Mark a folder or a zip of exercise notebooks. What students wrote "
        "runs in a sandbox.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    add("submissions", type=Path, metavar="SUBMISSIONS", help="a folder or a zip")
    add("--output", type=Path, required=True, metavar="FILE.csv", help="the table")
    add("--seed", type=seed, metavar="N", help="of the random inputs; fresh without it")
    where = command.add_mutually_exclusive_group()
    cores = os.cpu_count() or 1
    where.add_argument(
        "--workers",
        type=count,
        default=cores,
        metavar="N",
        help=f"processes on this machine (default: {cores}, its cores)",
    )
    where.add_argument("--dask", metavar="ADDRESS", help="of a running Dask cluster")
    add(
        "--no-sandbox",
        action="store_true",
        help="run what students wrote with all your rights",
    )
    return parser.parse_args(arguments)


def count(text: str) -> int:
    """A whole number from 1 on."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def seed(text: str) -> int:
    """A whole number that torch takes as a seed."""
    if not 0 <= int(text) < 2**63:
        raise ValueError
    return int(text)


def refuse(text: str) -> int:
    """Say why nothing was done."""
    print(f"vit-encoder grade: {text}", file=sys.stderr)
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
