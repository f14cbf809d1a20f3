"""The record of finished runs: what is known of files that need not be marked again."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from vit_encoder.atomic import write_atomically
from vit_encoder.grade.journal import JournalError, typed
from vit_encoder.grade.origin import Origin
from vit_encoder.grade.outcome import Outcome


@dataclass(frozen=True)
class Kept:
    """The marks of a file. made_by: a digest of what they depend on but the seed."""

    made_by: str
    seed: int
    origin: Origin
    outcome: Outcome


def read_record(path: Path) -> dict[str, Kept]:
    """Submission → what is kept of it; nothing if there is no file.

    Raises JournalError if the file is damaged.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    kept = {}
    for number, line in enumerate(lines, 1):
        try:
            entry = typed(json.loads(line), Kept)
        except (ValueError, TypeError, RecursionError) as error:
            raise JournalError(
                f"{path} is damaged in line {number}: {error}. Remove it, and hand "
                "over all submissions, to mark anew."
            ) from None
        kept[entry.outcome.submission] = entry
    return kept


def write_record(path: Path, kept: Iterable[Kept]) -> None:
    """Write the record, whole or not at all."""
    write_atomically(path, "".join(f"{json.dumps(asdict(one))}\n" for one in kept))


def made_by(settings: dict) -> str:
    """A digest of what marks depend on."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
