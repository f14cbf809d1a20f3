"""The commands vit-encoder grade and vit-encoder autograder."""

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path

from vit_encoder.grade.packages import NAME
from vit_encoder.grade.when import in_numbers

ALL_MARKED, SOME_NOT, REFUSED, STOPPED = 0, 1, 2, 130  # exit statuses
EPILOG = """\
SUBMISSIONS is what Moodle, Canvas, Gradescope, Blackboard, Brightspace, ILIAS, Google
Classroom or GitHub Classroom exports, or a folder that you made. Beside marks.csv stand

  marks_students.csv     what counts for each student
  marks_class.html       how the class did, and what to say in the next lecture
  marks_feedback/        a page and a results.json for each file
  marks_for_PLATFORM.*   grades and feedback in the form that the platform takes back

and you may put marks_overrides.csv there: points that you give by hand, with the
columns student, task, points, reason. They hold however often a file is marked.

Files that have not changed since an earlier run are not marked again. A run that was
stopped goes on when the same command is given again.

Exit status: 0 if every submission was marked, 1 if some were marked partly or not at
all, 2 if it could not be done, 130 if it was stopped."""


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add both commands, with their arguments, to those of `vit-encoder`."""
    add_grade(commands)
    add_autograder(commands)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for, or say why not; the exit status."""
    try:
        return args.does(args)
    except ModuleNotFoundError as error:
        return refuse(what_is_missing(error.name or ""), args)
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return STOPPED


def grade(args: argparse.Namespace) -> int:
    """Mark; the exit status."""
    from vit_encoder.grade import session  # torch: seconds

    wishes = session.Wishes(
        assignments=tuple(n for one in args.assignment for n in one),
        roster=args.roster,
        attempt=args.attempt,
        only=tuple(args.only),
        again=args.again,
        due=args.due or "",
        anonymous=args.anonymous,
        results=args.results,
        packages=packages_of(args),
    )
    try:
        outcomes = session.grade(
            args.submissions,
            args.output,
            seed=args.seed,
            workers=args.workers or usable_cores(),
            dask=args.dask,
            isolated=not args.no_sandbox,
            wishes=wishes,
        )
    except session.REFUSALS as error:
        return refuse(reason(error), args)
    return ALL_MARKED if all(o.status == "marked" for o in outcomes) else SOME_NOT


def write_autograder(args: argparse.Namespace) -> int:
    """Write the zip for Gradescope; the exit status."""
    from vit_encoder.grade import autograder

    notebooks = [notebook for one in args.assignment for notebook in one]
    try:
        autograder.write_autograder(
            args.output, notebooks, not args.no_sandbox, packages_of(args)
        )
    except OSError as error:
        return refuse(reason(error), args)
    print(f"Written: {args.output}. Upload it as the autograder of the assignment.")
    return ALL_MARKED


def add_grade(commands) -> None:
    """The command that marks."""
    command = commands.add_parser(
        "grade",
        help="mark a folder or a zip of exercise notebooks",
        description="Mark a folder or a zip of exercise notebooks. The code of "
        "students runs in a sandbox.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run, does=grade, command="grade")
    add = command.add_argument
    add("submissions", type=Path, metavar="SUBMISSIONS", help="a folder or a zip")
    add(
        "--output",
        type=Path,
        required=True,
        metavar="FILE.csv",
        help="where the table of marks is written, such as marks.csv",
    )
    whose = command.add_argument_group("what is marked, and what counts")
    add_assignment(whose)
    whose.add_argument(
        "--roster",
        type=Path,
        metavar="FILE.csv",
        help="the list of the class, as your platform exports it: names and ids, and, "
        "if they stand there, groups and what came late",
    )
    whose.add_argument(
        "--attempt",
        choices=("last", "best", "all"),
        default="last",
        help="which attempt counts for a student (default: last)",
    )
    whose.add_argument(
        "--due",
        type=moment,
        metavar="TIME",
        help="call later files late, such as 2026-01-31T23:59; where the platform "
        "tells when they came",
    )
    anew = command.add_argument_group("what is marked again")
    anew.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="STUDENT",
        help="mark this student alone, by name, id, mail or file; the rest stays",
    )
    anew.add_argument(
        "--again", action="store_true", help="mark also what has not changed"
    )
    more = command.add_argument_group("what else is written")
    more.add_argument(
        "--anonymous",
        action="store_true",
        help="a copy without names, for a second marker",
    )
    more.add_argument(
        "--results",
        type=json_file,
        metavar="FILE.json",
        help="one result in the form of Gradescope, whatever happens",
    )
    how = command.add_argument_group("how it runs")
    how.add_argument(
        "--seed",
        type=seed,
        metavar="N",
        help="seed of the random inputs; new ones if it is left out",
    )
    add_packages(how)
    where = how.add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help=f"processes on this machine (default: {usable_cores()}, its cores)",
    )
    where.add_argument(
        "--dask", metavar="ADDRESS", help="mark on the Dask cluster at this address"
    )
    add_no_sandbox(how, "run the code of students with all your rights")


def add_autograder(commands) -> None:
    """The command that makes a zip for Gradescope."""
    command = commands.add_parser(
        "autograder",
        help="make an autograder for Gradescope",
        description="Make the zip that Gradescope takes as an autograder. It holds "
        "this version of the course, and installs the packages that it needs.",
    )
    command.set_defaults(
        run=run, does=write_autograder, command="autograder", results=None
    )
    command.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE.zip",
        help="where the zip is written",
    )
    add_assignment(command)
    add_packages(command)
    add_no_sandbox(command, "for an image in which bubblewrap does not work")


def add_assignment(command) -> None:
    """The option that names the notebooks."""
    command.add_argument(
        "--assignment",
        type=notebooks,
        action="append",
        default=[],
        metavar="NN",
        help="mark this exercise notebook alone, such as 02; may be given again",
    )


def add_packages(command) -> None:
    """The option that names packages."""
    command.add_argument(
        "--with",
        dest="packages",
        type=packages,
        action="append",
        default=[],
        metavar="NAMES",
        help="packages that notebooks may use beside the course's own, such as "
        "pandas,einops",
    )


def packages_of(args: argparse.Namespace) -> tuple[str, ...]:
    """All packages that were named, each once."""
    return tuple(dict.fromkeys(name for one in args.packages for name in one))


def packages(text: str) -> list[str]:
    """Names of packages, parted by commas."""
    names = [name.strip() for name in text.split(",")]
    if not all(map(NAME.fullmatch, names)):
        raise argparse.ArgumentTypeError(
            f"expected names of packages such as pandas,einops, got {text!r}"
        )
    return names


def add_no_sandbox(command, help: str) -> None:
    """The option that has to be written out."""
    command.add_argument("--no-sandbox", action="store_true", help=help)


def notebooks(text: str) -> list[str]:
    """The exercise notebooks that a number or the beginning of a name means."""
    from vit_encoder.check import catalogue  # torch: takes seconds

    known = list(dict.fromkeys(entry["notebook"] for entry in catalogue()))
    stem = text.removesuffix(".ipynb")
    found = [name for name in known if name == stem or name.startswith(f"{stem}_")]
    if not found:
        raise argparse.ArgumentTypeError(
            f"expected one of {', '.join(known)}, or its number, got {text!r}"
        )
    return found


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


def moment(text: str) -> str:
    """A time in the form in which attempts are sorted."""
    if found := in_numbers(text):
        return found
    raise argparse.ArgumentTypeError(
        f"expected a time such as 2026-01-31T23:59, got {text!r}"
    )


def json_file(text: str) -> Path:
    """A path that ends in .json: no notebook is written over by mistake."""
    if not text.endswith(".json"):
        raise argparse.ArgumentTypeError(f"expected a name in .json, got {text!r}")
    return Path(text)


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


def refuse(text: str, args: argparse.Namespace) -> int:
    """Say why nothing was done, to a platform as well if it waits for a result."""
    print(f"vit-encoder {args.command}: {text}", file=sys.stderr)
    if args.results:
        from vit_encoder.grade.gradescope import refusal

        args.results.write_text(json.dumps(refusal(text)), encoding="utf-8")
    return REFUSED
