"""What Gradescope writes and reads: who handed in, and the results of an autograder.

The form of the results is that of Gradescope's autograder specification:
https://gradescope-autograders.readthedocs.io/en/latest/specs/
"""

import json
import re
from collections.abc import Sequence

from vit_encoder.grade.feedback import gradescope_results
from vit_encoder.grade.origin import Author, Upload
from vit_encoder.grade.outcome import Outcome
from vit_encoder.grade.text import one_line, printable
from vit_encoder.grade.when import in_numbers

METADATA = "submission_metadata.yml"
FOLDER = re.compile(r"[\"']?(submission_\d+)[\"']?:\s*")
CREATED = re.compile(r"  :created_at: *(.*?) *")
FIELD = re.compile(r"  [- ] :(?P<name>name|sid|email): ?(?P<value>.*)")
FIELDS = {"name": "name", "sid": "id", "email": "mail"}


def read_metadata(data: bytes) -> dict[str, Upload]:
    """Folder → who handed it in and when, from the file that Gradescope puts beside.

    Only lines about submitters and the time of the submission are read, by their place:
    the file is YAML, and what programs of students printed and earlier attempts stand
    in it too, further to the right.
    """
    found: dict[str, list[dict[str, str]]] = {}
    times: dict[str, str] = {}
    folder, within = "", False
    for line in data.decode("utf-8-sig", errors="replace").splitlines():
        if started := FOLDER.fullmatch(line):
            folder, within = started[1], False
            found[folder] = []
        elif re.match(r"\S|  \S", line) and not line.startswith("  - "):
            within = bool(folder) and line.rstrip() == "  :submitters:"
            if created := CREATED.fullmatch(line):
                times[folder] = in_numbers(_scalar(created[1]))
        elif within:
            if line.startswith("  - "):
                found[folder].append({})
            field = FIELD.fullmatch(line.rstrip())
            if field and found[folder]:
                value = one_line(_scalar(field["value"]), 200)
                found[folder][-1][FIELDS[field["name"]]] = value
    return {
        folder: Upload(
            tuple(Author(**author) for author in authors if author),
            times.get(folder, ""),
        )
        for folder, authors in found.items()
    }


def _scalar(text: str) -> str:
    """A plain or quoted value of YAML on one line."""
    if text.startswith("'") and text.endswith("'") and len(text) > 1:
        return text[1:-1].replace("''", "'")
    if text.startswith('"'):
        try:
            return str(json.loads(re.sub(r"\\x(..)", r"\\u00\1", text)))
        except ValueError:
            return text.strip('"')
    return "" if text in ("null", "~") else text


def combined(outcomes: Sequence[Outcome]) -> dict:
    """One result for all notebooks that a student handed in."""
    results = [gradescope_results(outcome) for outcome in outcomes]
    tests = [test for result in results for test in result["tests"]]
    for number, test in enumerate(tests, 1):
        test["number"] = str(number)
    return {
        "score": sum(result["score"] for result in results),
        "output": "\n\n".join(result["output"] for result in results),
        "visibility": "after_published",
        "tests": tests,
    }


def refusal(reason: str) -> dict:
    """The result where nothing could be marked: without a score none would be shown."""
    text = (
        "This submission could not be marked. The 0 is no mark: show this page to your "
        f"instructor.\n{printable(reason, keep=chr(10))}"
    )
    return {"score": 0, "output": text, "visibility": "visible", "tests": []}
