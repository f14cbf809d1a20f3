"""Regenerate all that is generated: `sync.py`; or fail if anything is stale: `--check`.

`sync.py 04` regenerates the notebooks of chapter 04 alone.

chapters/NN_name.md   → chapters/NN_name.ipynb, executed
                      → src/vit_encoder/name.py, from the cells tagged `part`
solutions/NN_name.md  → solutions/NN_name.ipynb, executed
                      → exercises/NN_name.ipynb, executed, without the answers
                      → src/vit_encoder/check/catalogue.json
                      → src/vit_encoder/check/judging/predictions.json
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from address import ROOT, Address, read_address
from book_context import make_context
from plain_markdown import Context, MarkdownError, labels, number_equations, to_plain
from predictions import COMMON, judged, public
from sources import Source, SourceError, read_all, show

PACKAGE = ROOT / "src" / "vit_encoder"
GIVEN = ("id", "title", "kind", "points", "minutes")  # of an exercise, in notebooks
CURE = "Edit the source, not what is made from it, and run `make sync`."


def main() -> None:
    """Regenerate or check; exit with 1 and one line for each fault."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check", action="store_true")
    arguments.add_argument("only", nargs="?", default="", help="how the names begin")
    given = arguments.parse_args()
    try:
        faults = sync(read_address(), check=given.check, only=given.only)
    except ValueError as error:  # SourceError, or what the address lacks
        sys.exit(str(error))
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        sys.exit(1)
    print("All that is generated is up to date.")


def sync(address: Address, *, check: bool, only: str = "") -> list[str]:
    """Make every generated file, or list those that differ from what they should be.

    only: how the names of the notebooks begin that are made or checked, such as 04.
    """
    sources = read_all(address)
    faults = []
    for path, text in generated_texts(sources).items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            faults.append(stale(path))
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote  {show(path)}", flush=True)
    digest = package_digest()
    for path, source, notebook in generated_notebooks(sources, address):
        if not path.name.startswith(only):
            continue
        notebook.metadata["vit_encoder"]["digest"] = digest_of(notebook, digest)
        faults += sync_notebook(path, notebook, check=check)
        faults += image_faults(source, notebook)
    return faults


def generated_texts(sources: list[Source]) -> dict[Path, str]:
    """Path → text of the modules, of the catalogue and of what is right."""
    chapters = [s for s in sources if s.path.parent.name == "chapters"]
    solutions = [s for s in sources if s.path.parent.name == "solutions"]
    texts = {PACKAGE / f"{s.module}.py": module_text(s) for s in chapters}
    check = PACKAGE / "check"
    texts[check / "catalogue.json"] = catalogue_text(solutions)
    texts[check / "judging" / "predictions.json"] = predictions_text(solutions)
    return texts


def module_text(source: Source) -> str:
    """The module of a chapter: its cells tagged `part`, one after the other."""
    cells = [cell.source.strip() for cell in source.cells("part")]
    if not cells:
        raise SourceError(
            f"{show(source.path)}: no cell is tagged `part`. Tag the cells that "
            f"define what the chapter builds; they become vit_encoder.{source.module}."
        )
    first, *rest = cells
    body = "\n\n\n".join([first, *rest])
    return (
        f'"""{source.title}: what chapter {source.path.stem} builds."""\n\n'
        f"# Generated from {show(source.path)} by `make sync`. Do not edit.\n\n"
        f"{body}\n"
    )


def catalogue_text(solutions: list[Source]) -> str:
    """The list of all exercises, as the sources declare them.

    again: the section to read again. notebook: where the exercise is. answer: the name
    that its check is called with. version: changes with what a student is given.
    prediction: what a student may know of one.
    """
    entries = [
        {
            **{key: cell.metadata["exercise"][key] for key in COMMON},
            "notebook": source.path.stem,
            "answer": answer_name(source, cell),
            "version": version_of(cell),
            **prediction_of(cell),
        }
        for source in solutions
        for cell in source.cells("exercise")
    ]
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def prediction_of(cell: NotebookNode) -> dict:
    """What a student may know of a prediction; empty for another exercise."""
    is_one = cell.metadata["exercise"]["kind"] == "predict"
    return {"prediction": public(cell)} if is_one else {}


def predictions_text(solutions: list[Source]) -> str:
    """What is right in each prediction, and what explains each wrong answer."""
    told = {
        cell.metadata["exercise"]["id"]: judged(cell)
        for source in solutions
        for cell in source.cells("exercise")
        if cell.metadata["exercise"]["kind"] == "predict"
    }
    remark = "From solutions/*.md by `make sync`. Do not edit."
    lines = (f'"{id}": {json.dumps(t, ensure_ascii=False)}' for id, t in told.items())
    body = ",\n".join(lines)
    return f'{{"generated": "{remark}",\n"predictions": {{\n{body}\n}}}}\n'


def answer_name(source: Source, cell: NotebookNode) -> str:
    """The variable that holds the answer, from the cell that checks it."""
    id = cell.metadata["exercise"]["id"]
    call = re.compile(rf'^check\("{re.escape(id)}", (\w+)\)$', re.MULTILINE)
    calls = [m[1] for c in source.notebook.cells for m in call.finditer(c.source)]
    if len(calls) != 1:
        raise SourceError(
            f"{show(source.path)}: the exercise {id} needs one cell that says "
            f'`check("{id}", answer)`, with the name of its answer; found {len(calls)}.'
        )
    return calls[0]


def version_of(cell: NotebookNode) -> str:
    """A short digest of an exercise as a student gets it."""
    exercise = cell.metadata["exercise"]
    given = [exercise["id"], exercise["kind"], str(exercise["points"])]
    given.append(without_solution(cell).source)
    given += [json.dumps(part) for part in prediction_of(cell).values()]
    return hashlib.sha256("\0".join(given).encode()).hexdigest()[:8]


def package_digest() -> str:
    """A digest of the package: what it changes, every notebook may show.

    Without the marking, which no notebook imports.
    """
    digest = hashlib.sha256()
    for path in sorted(p for p in PACKAGE.rglob("*") if p.is_file()):
        place = path.relative_to(PACKAGE)
        if "__pycache__" not in place.parts and place.parts[0] != "grade":
            digest.update(place.as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def digest_of(notebook: NotebookNode, package: str) -> str:
    """A digest of all that a notebook's outputs depend on."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join([package, *code]).encode()).hexdigest()[:16]


def generated_notebooks(
    sources: list[Source], address: Address
) -> Iterator[tuple[Path, Source, NotebookNode]]:
    """Each notebook, with nothing run yet, where it belongs and where it is from."""
    context = make_context(sources, address)
    for source in sources:
        cells = source.notebook.cells
        yield (
            source.path.with_suffix(".ipynb"),
            source,
            plain_notebook(source, context, cells),
        )
        if source.path.parent.name == "solutions":
            path = ROOT / "exercises" / f"{source.path.stem}.ipynb"
            cells = [without_solution(cell) for cell in cells]
            yield path, source, plain_notebook(source, context, cells)


def without_solution(cell: NotebookNode) -> NotebookNode:
    """The cell as a student gets it: the answer's lines are gone."""
    source = re.sub(
        r"^( *)# BEGIN SOLUTION\n.*?^ *# END SOLUTION$",
        r"\1...  # your answer",
        cell.source,
        flags=re.DOTALL | re.MULTILINE,
    )
    return nbformat.from_dict({**cell, "source": source})


def plain_notebook(
    source: Source, context: Context, cells: list[NotebookNode]
) -> NotebookNode:
    """A notebook that reads well where MyST is not known."""
    context = replace(
        context,
        here=set().union(*(labels(text) for text in source.prose)),
        equations=number_equations(source.prose),
    )
    made: list[NotebookNode] = []
    for number, cell in enumerate(cells):
        cell_id = f"cell-{number:03d}"
        if cell.cell_type == "code":
            made.append(code_cell(cell, cell_id))
            caption = figure_of(cell).get("caption")
            if caption:
                made.append(caption_cell(source, caption, context, f"{cell_id}-text"))
            continue
        try:
            text = to_plain(cell.source, context)
        except (MarkdownError, KeyError) as error:
            first = cell.source.strip().splitlines()[0]
            raise SourceError(
                f"{show(source.path)}: in the text that starts `{first}`: {error}"
            ) from None
        made.append(nbformat.v4.new_markdown_cell(text, id=cell_id))
    return nbformat.v4.new_notebook(
        cells=made,
        metadata={
            "accelerator": "GPU",
            "colab": {"gpuType": "T4", "provenance": [], "toc_visible": True},
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
            "vit_encoder": {
                "generated": f"From {show(source.path)} by `make sync`. Do not edit."
            },
        },
    )


def code_cell(cell: NotebookNode, cell_id: str) -> NotebookNode:
    """A code cell with the metadata that matters outside the book.

    An exercise's options hold what is right, so a student gets some of them alone.
    """
    kept = {k: v for k, v in cell.metadata.items() if k in ("tags", "exercise")}
    if "exercise" in kept:
        given = {key: kept["exercise"][key] for key in GIVEN}
        kept["exercise"] = {**given, "version": version_of(cell)}
    return nbformat.v4.new_code_cell(cell.source, metadata=kept, id=cell_id)


def figure_of(cell: NotebookNode) -> dict:
    """The options of the figure that a code cell draws."""
    return cell.metadata.get("mystnb", {}).get("figure", {})


def caption_cell(
    source: Source, caption: str, context: Context, cell_id: str
) -> NotebookNode:
    """The caption below a plot; the book shows it by its own means."""
    try:
        text = to_plain(" ".join(caption.split()), context)
    except MarkdownError as error:
        raise SourceError(f"{show(source.path)}: a caption: {error}") from None
    return nbformat.v4.new_markdown_cell(f"**Figure.** {text}", id=cell_id)


def sync_notebook(path: Path, notebook: NotebookNode, *, check: bool) -> list[str]:
    """Write a notebook, run only if what it depends on changed; or compare it."""
    old = read_notebook(path)
    if old is not None:
        keep_outputs(old, notebook)
    done = all(c.execution_count for c in notebook.cells if c.cell_type == "code")
    if check:
        if old is None or nbformat.writes(old) != nbformat.writes(notebook):
            return [stale(path)]
        if not done:
            return [f"{show(path)} was never executed. Run `make sync`."]
        return []
    if not done:
        execute(path, notebook)
    if old is None or nbformat.writes(old) != nbformat.writes(notebook):
        nbformat.write(notebook, path)
        print(f"{'wrote' if done else 'ran'}  {show(path)}", flush=True)
    return []


def read_notebook(path: Path) -> NotebookNode | None:
    """The notebook as it stands; None if there is none or it cannot be read."""
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError):
        return None


def keep_outputs(old: NotebookNode, new: NotebookNode) -> None:
    """Take over the outputs, if nothing that they depend on has changed."""
    digest = new.metadata["vit_encoder"]["digest"]
    if old.metadata.get("vit_encoder", {}).get("digest") != digest:
        return
    code = [[c for c in nb.cells if c.cell_type == "code"] for nb in (old, new)]
    if len(code[0]) != len(code[1]):
        return
    for before, after in zip(*code, strict=True):
        if before.source == after.source:
            after.outputs = before.outputs
            after.execution_count = before.execution_count
    if "widgets" in old.metadata:
        new.metadata["widgets"] = old.metadata["widgets"]


def execute(path: Path, notebook: NotebookNode) -> None:
    """Run a notebook from top to bottom, on the CPU or whatever device is there."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    language = notebook.metadata["language_info"]
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise SourceError(f"{show(path)}: {error}") from None
    # The versions of the kernel that ran are no part of the source.
    notebook.metadata["language_info"] = language
    settle_widget_ids(notebook)


def settle_widget_ids(notebook: NotebookNode) -> None:
    """Number the widgets, so that running again changes nothing but results."""
    if "widgets" not in notebook.metadata:
        return
    states = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"][
        "state"
    ]
    text = nbformat.writes(notebook)
    for number, name in enumerate(states):
        text = text.replace(name, f"{number:032x}")
    settled = nbformat.reads(text, as_version=4)
    notebook.cells, notebook.metadata = settled.cells, settled.metadata


def image_faults(source: Source, notebook: NotebookNode) -> list[str]:
    """Every plot needs an alternative text and a caption in its source cell."""
    written = [c for c in source.notebook.cells if c.cell_type == "code"]
    executed = [c for c in notebook.cells if c.cell_type == "code"]
    faults = []
    for cell, result in zip(written, executed, strict=True):
        kinds = [k for o in result.outputs for k in o.get("data", {})]
        if not any(kind.startswith("image/") for kind in kinds):
            continue
        first = cell.source.strip().splitlines()[0]
        for part, name in (("image", "alt"), ("figure", "caption")):
            if not cell.metadata.get("mystnb", {}).get(part, {}).get(name):
                faults.append(
                    f"{show(source.path)}: the plot of the cell that starts `{first}` "
                    f"has no {name}. Write `mystnb: {{{part}: {{{name}: …}}}}` in the "
                    "cell's options."
                )
    return faults


def stale(path: Path) -> str:
    """The line for a file that differs from what its source gives."""
    return f"{show(path)} is stale or was edited by hand. {CURE}"


if __name__ == "__main__":
    main()
