"""The command `vit-encoder`: `lab` opens the exercises, `grade` marks a class."""

import argparse
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from vit_encoder import exercises
from vit_encoder.grade import command as grade

REFUSED = 2  # exit status


def main(arguments: list[str] | None = None) -> int:
    """Run the command; its exit status."""
    parser = argparse.ArgumentParser(prog="vit-encoder")
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {installed()}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_lab(commands)
    grade.add_to(commands)
    args, others = parser.parse_known_args(arguments)
    if args.run is open_lab:
        return open_lab(args.folder, others)
    if others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    return args.run(args)


def installed() -> str:
    """The version of the package."""
    try:
        return version("vit-encoder")
    except PackageNotFoundError:
        return "(not installed)"


def add_lab(commands: argparse._SubParsersAction) -> None:
    """Add the command that opens the exercises."""
    lab = commands.add_parser(
        "lab",
        help="open the exercises in JupyterLab",
        description="Copy the exercises into a folder, where what is there stays, and "
        "open it in JupyterLab. JupyterLab gets all other options: --no-browser, "
        "--port=8889, --allow-root.",
    )
    exercises.add_folder(lab)
    lab.set_defaults(run=open_lab)


def open_lab(folder: Path, options: list[str]) -> int:
    """Copy the exercises, then be JupyterLab until it is stopped; the exit status."""
    if find_spec("jupyterlab") is None:
        print(
            'vit-encoder lab: JupyterLab is missing: pip install "vit-encoder[lab]"',
            file=sys.stderr,
        )
        return REFUSED
    if status := exercises.copy_to(folder):
        return status
    from jupyterlab.labapp import LabApp  # takes a second

    LabApp.launch_instance([str(folder), *options])
    return 0


if __name__ == "__main__":
    sys.exit(main())
