"""How long each chapter takes and how many points it has, counted from the sources."""

import re

import yaml

import quiz
from address import read_address
from sources import Source, read_all

WORDS_A_MINUTE, LINES_A_MINUTE = 200, 30
WEEKS = {  # the stem's beginning → its week of ten, its week of four
    "01": (1, 1),
    "02": (2, 1),
    "03": (3, 1),
    "04": (4, 2),
    "05": (5, 2),
    "06": (6, 2),
    "07": (7, 3),
    "08_capstone": (7, 3),
    "08_training": (8, 3),
    "09": (9, 4),
    "10": (10, 4),
    "11": (10, 4),
}
PARTS = {  # the part's name → the numbers of its chapters
    "The encoder, part by part": ("01", "02", "03", "04", "05", "06", "07"),
    "The capstone": ("08_capstone",),
    "The encoder at work": ("08_training", "09", "10", "11"),
}


def reading_minutes(text: str) -> int:
    """Minutes for the words and the lines of code of a chapter, rounded up to five.

    Of a cell's options a reader sees the caption, of a quiz the questions, the choices
    and why one is right.
    """
    text = quiz.words_to_read(text)
    cells = re.findall(r"^```\{code-cell\}.*\n((?:.*\n)*?)^```$", text, re.M)
    prose = re.sub(r"^```\{code-cell\}.*?^```$", "", text, flags=re.M | re.S)
    lines = 0
    for cell in cells:
        options = re.match(r"---\n(.*?)^---\n", cell, re.M | re.S)
        code = cell[options.end() :] if options else cell
        lines += len(re.findall(r"^(?!:).*\S.*$", code, re.M))
        given = yaml.safe_load(options[1]) if options else {}
        prose += given.get("mystnb", {}).get("figure", {}).get("caption", "") + "\n"
    words = len(re.findall(r"\w+", re.sub(r"\{[\w:]+\}`[^`]*`", "x", prose)))
    return -(-round(words / WORDS_A_MINUTE + lines / LINES_A_MINUTE) // 5) * 5


def exercise_totals(source: Source) -> tuple[int, int]:
    """Minutes and points of an exercise notebook; optional tasks do not count."""
    tasks = [cell.metadata["exercise"] for cell in source.cells("exercise")]
    tasks = [task for task in tasks if task["points"]]
    return sum(t["minutes"] for t in tasks), sum(t["points"] for t in tasks)


def rows() -> list[tuple[str, str, int, int, int]]:
    """(part, page, minutes to read, minutes of exercises, points) of each chapter."""
    sources = read_all(read_address())
    read = {s.path.stem: s for s in sources if s.path.parent.name == "chapters"}
    tasks = {s.path.stem: s for s in sources if s.path.parent.name == "solutions"}
    found = []
    for part, starts in PARTS.items():
        for stem in sorted(read | tasks):
            if stem.startswith(starts):
                chapter = read.get(stem)
                page = f"{'chapters' if chapter else 'exercises'}/{stem}"
                minutes = 0
                if chapter:
                    minutes = reading_minutes(chapter.path.read_text(encoding="utf-8"))
                found.append((part, page, minutes, *exercise_totals(tasks[stem])))
    return found


def hours(minutes: int) -> str:
    """Minutes as hours and minutes, such as 3 h 10."""
    return f"{minutes // 60} h {minutes % 60:02}"


def plan_table() -> str:
    """Every chapter with its minutes and points, and the sums of all."""
    lines = [
        "| Chapter | Reading | Exercises | Points |",
        "| --- | ---: | ---: | ---: |",
    ]
    for _, page, reading, exercises, points in rows():
        read = f"{reading} min" if reading else ""
        lines.append(f"| {{doc}}`/{page}` | {read} | {exercises} min | {points} |")
    _, _, *columns = zip(*rows(), strict=True)
    reading, exercises, points = map(sum, columns)
    lines.append(f"| All | {hours(reading)} | {hours(exercises)} | {points} |")
    return "\n".join(lines)


def parts_table() -> str:
    """Every part of the course with its hours and points."""
    lines = ["| Part | Reading | Exercises | Points |", "| --- | ---: | ---: | ---: |"]
    for part in PARTS:
        own = [row[2:] for row in rows() if row[0] == part]
        reading, exercises, points = map(sum, zip(*own, strict=True))
        read = hours(reading) if reading else ""
        lines.append(f"| {part} | {read} | {hours(exercises)} | {points} |")
    return "\n".join(lines)


def weeks_table() -> str:
    """Which chapter is done in which week, and how long it takes in all."""
    lines = [
        "| Chapter | Week of ten | Week of four | Time |",
        "| --- | ---: | ---: | ---: |",
    ]
    for _, page, reading, exercises, _ in rows():
        stem = page.partition("/")[2]
        ten, four = next(w for start, w in WEEKS.items() if stem.startswith(start))
        lines.append(
            f"| {{doc}}`/{page}` | {ten} | {four} | {hours(reading + exercises)} |"
        )
    return "\n".join(lines)


TABLES = {"chapters": plan_table, "parts": parts_table, "weeks": weeks_table}
