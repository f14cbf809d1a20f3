"""Regenerate all that is generated: `sync.py`; or fail if anything is stale: `--check`.

`sync.py 04` regenerates the notebooks of chapter 04 alone. A notebook runs again only
if its code changed, or a file of the package that it read. What somebody wrote into a
generated file is kept beside it.

chapters/NN_name.md   → chapters/NN_name.ipynb, executed
                      → src/vit_encoder/name.py, from the cells tagged `part`
solutions/NN_name.md  → solutions/NN_name.ipynb, executed
                      → exercises/NN_name.ipynb, executed, without the answers
                      → src/vit_encoder/check/catalogue.json
                      → src/vit_encoder/check/judging/predictions/name.json
book/*.json, the parts → book/generated/*.md, the tables of pages
_config.yml            → the links in README.md
pictures and weights in src/vit_encoder/data → SHA256SUMS beside them
tests/bank/name.py     → tests/bank/asked.json: all its answers got what it says
"""

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nbformat
from docutils.nodes import make_id
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

import asked_answers
from address import ROOT, Address, read_address
from book_context import make_context
from dependencies import (
    PACKAGE,
    digest_of,
    files_read,
    package_digests,
    require_own,
)
from plain_markdown import Context, MarkdownError, labels, number_equations, to_plain
from predictions import COMMON, judged, public
from readme import sync_readme
from run_notebooks import start_up
from seals import is_edited, keep_edit, seal, seal_notebook, seal_text
from sources import Source, SourceError, linked, read_all, show

GIVEN = ("id", "title", "kind", "points", "minutes")  # of an exercise, in notebooks


def main() -> None:
    """Regenerate or check; exit with 1 and one line for each fault."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check", action="store_true")
    arguments.add_argument("only", nargs="?", default="", help="how the names begin")
    given = arguments.parse_args()
    try:
        faults = sync(read_address(), check=given.check, only=given.only)
        faults += sync_answers(check=given.check, only=given.only)
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
    faults = sync_texts(package_texts(sources), check=check)
    if not faults:  # the tables are made from what the package says
        tables = page_texts()
        faults += sync_texts(tables, check=check) + left_over(tables)
    package = package_digests()
    for path, source, notebook in generated_notebooks(sources, address):
        if path.name.startswith(only):
            faults += sync_notebook(path, notebook, package, check=check)
            faults += image_faults(source, notebook)
    return faults + sync_readme(address, check=check)


def sync_answers(*, check: bool, only: str = "") -> list[str]:
    """Ask the answers of tests/bank anew where that is due; or the faults if it is."""
    stale = asked_answers.stale(only)
    if check:
        return [
            f"tests/bank/{name}.py, or what its answers rest on, has changed since "
            "they were asked. Run `make sync`."
            for name in stale
        ]
    if stale:
        print(f"asking the answers on {', '.join(stale)}", flush=True)
    return asked_answers.ask(stale) if stale else []


def sync_texts(texts: dict[Path, str], *, check: bool) -> list[str]:
    """Write those texts that changed; or the faults of those that would."""
    faults = []
    for path, text in texts.items():
        if path.exists() and path.read_bytes() == text.encode():
            continue
        if check:
            faults.append(fault_of(path))
        else:
            write(path, text)
            print(f"wrote  {show(path)}", flush=True)
    return faults


def write(path: Path, text: str) -> None:
    """Write a generated file; what somebody wrote into it is kept beside it."""
    if path.exists() and is_edited(path):
        copy = keep_edit(path)
        print(f"{show(path)} was edited; the edit is kept: {show(copy)}", flush=True)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def fault_of(path: Path) -> str:
    """The line for a file that differs from what its source gives."""
    if path.exists() and is_edited(path):
        return (
            f"{show(path)} was edited. Edit its source instead; `make sync` makes the "
            "file anew and keeps your edit beside it."
        )
    return f"{show(path)} is stale. Run `make sync`."


def package_texts(sources: list[Source]) -> dict[Path, str]:
    """Path → text of the modules, of the catalogue and of what is right."""
    chapters = [s for s in sources if s.path.parent.name == "chapters"]
    solutions = [s for s in sources if s.path.parent.name == "solutions"]
    texts = {PACKAGE / f"{s.module}.py": seal_text(module_text(s)) for s in chapters}
    check = PACKAGE / "check"
    made = {check / "catalogue.json": catalogue_text(sources, read_address())}
    for name, text in predictions_texts(solutions).items():
        made[check / "judging" / "predictions" / f"{name}.json"] = text
    for path, text in made.items():
        texts |= {path: text, path.with_suffix(".seal"): seal(text) + "\n"}
    data = PACKAGE / "data"
    return texts | {data / "SHA256SUMS": seal_text(checksums_text(data))}


def checksums_text(folder: Path) -> str:
    """The SHA-256 of each picture and each file of weights, as `sha256sum` says it."""
    kinds = (".npy", ".png", ".safetensors")
    files = [path for path in sorted(folder.iterdir()) if path.suffix in kinds]
    lines = [f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in files]
    return "# Generated from the files here by `make sync`. Do not edit.\n" + "".join(
        lines
    )


def page_texts() -> dict[Path, str]:
    """Path → text of the tables that pages include."""
    # They are computed from the parts, which must be up to date when imported.
    import vit_encoder
    from tables import all_tables

    require_own(Path(vit_encoder.__file__))
    return {path: seal_text(text) for path, text in all_tables().items()}


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


def catalogue_text(sources: list[Source], address: Address) -> str:
    """The list of all exercises, as the sources declare them.

    again, read: the section to read again, and its address. notebook: where the
    exercise is. answer: the name that its check is called with. version: changes with
    what a student is given. prediction: what a student may know of one.
    """
    entries = [
        {
            **{key: cell.metadata["exercise"][key] for key in COMMON},
            "read": section_address(sources, source, cell, address),
            "notebook": source.path.stem,
            "answer": answer_name(source, cell),
            "version": version_of(cell),
            **prediction_of(cell),
        }
        for source in sources
        if source.path.parent.name == "solutions"
        for cell in source.cells("exercise")
    ]
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def section_address(
    sources: list[Source], source: Source, cell: NotebookNode, address: Address
) -> str:
    """Where the section is that helps with an exercise."""
    title = cell.metadata["exercise"]["again"]
    page = next(p for p, titles in linked(sources, source, ROOT) if title in titles)
    return f"{address.page(page)}#{make_id(title)}"


def prediction_of(cell: NotebookNode) -> dict:
    """What a student may know of a prediction; empty for another exercise."""
    is_one = cell.metadata["exercise"]["kind"] == "predict"
    return {"prediction": public(cell)} if is_one else {}


def predictions_texts(solutions: list[Source]) -> dict[str, str]:
    """Chapter's module → what is right in its predictions, and what explains the rest.

    A file for each, so that an edit runs the notebooks of one chapter again.
    """
    told: dict[str, dict] = {}
    for source in solutions:
        for cell in source.cells("exercise"):
            exercise = cell.metadata["exercise"]
            if exercise["kind"] == "predict":
                module, _, name = exercise["id"].partition(".")
                made = told.setdefault(module, {"generated": generated_from(source)})
                made[name] = judged(cell)
    return {
        module: json.dumps(made, indent=1, ensure_ascii=False) + "\n"
        for module, made in told.items()
    }


def generated_from(source: Source) -> str:
    """The remark in a generated file that is no code."""
    return f"From {show(source.path)} by `make sync`. Do not edit."


def answer_name(source: Source, cell: NotebookNode) -> str:
    """The variable that holds the answer, from the cell that checks it."""
    id = cell.metadata["exercise"]["id"]
    call = re.compile(
        rf'^check\("{re.escape(id)}", (\w+)(?:, keep=True)?\)$', re.MULTILINE
    )
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


def generated_notebooks(
    sources: list[Source], address: Address
) -> Iterator[tuple[Path, Source, NotebookNode]]:
    """Each notebook, with nothing run yet, where it belongs and where it is from."""
    context = make_context(sources, address)
    for source in sources:
        cells = plain_cells(source, context)
        made = {source.path.with_suffix(".ipynb"): cells}
        if source.path.parent.name == "solutions":
            path = ROOT / "exercises" / f"{source.path.stem}.ipynb"
            made[path] = [without_solution(cell) for cell in cells]
        for path, cells in made.items():
            yield path, source, plain_notebook(source, cells)


def without_solution(cell: NotebookNode) -> NotebookNode:
    """The cell as a student gets it: the answer's lines are gone."""
    source = re.sub(
        r"^( *)# BEGIN SOLUTION\n.*?^ *# END SOLUTION$",
        r"\1...  # your answer",
        cell.source,
        flags=re.DOTALL | re.MULTILINE,
    )
    return nbformat.from_dict({**cell, "source": source})


def plain_cells(source: Source, context: Context) -> list[NotebookNode]:
    """The cells of a source, as they read well where MyST is not known."""
    context = replace(
        context,
        here=set().union(*(labels(text) for text in source.prose)),
        equations=number_equations(source.prose),
        own=context.page(source.docname),
    )
    made: list[NotebookNode] = []
    for number, cell in enumerate(source.notebook.cells):
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
        made.append(text_cell(text, cell_id))
    return made


def plain_notebook(source: Source, cells: list[NotebookNode]) -> NotebookNode:
    """A notebook of these cells, with nothing run yet."""
    return nbformat.v4.new_notebook(
        cells=cells,
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
                "generated": generated_from(source),
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
    # nbformat's own function checks each cell; the notebook is checked as a whole.
    return nbformat.from_dict(
        {
            "id": cell_id,
            "cell_type": "code",
            "metadata": kept,
            "execution_count": None,
            "source": cell.source,
            "outputs": [],
        }
    )


def text_cell(text: str, cell_id: str) -> NotebookNode:
    """A Markdown cell, which is not checked on its own either."""
    return nbformat.from_dict(
        {"id": cell_id, "cell_type": "markdown", "metadata": {}, "source": text}
    )


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
    return text_cell(f"**Figure.** {text}", cell_id)


def left_over(texts: dict[Path, str]) -> list[str]:
    """The faults of files that stand beside generated ones and are none of them."""
    found = {p for path in texts for p in path.parent.glob(f"*{path.suffix}")}
    return [
        f"{show(path)} is made from nothing any more. Delete it."
        for path in sorted(found - set(texts))
    ]


def sync_notebook(
    path: Path, notebook: NotebookNode, package: dict[str, str], *, check: bool
) -> list[str]:
    """Write a notebook, run only if what it depends on changed; or compare it.

    package: the digests of the package's files, as they stood before anything ran.
    """
    old = None if is_edited(path) else read_notebook(path)
    done = old is not None and keep_outputs(old, notebook, package)
    if not done and not check:
        execute(path, notebook, package)
    seal_notebook(notebook)
    if done and old == notebook:
        return []
    if check:
        return [fault_of(path)]
    write(path, nbformat.writes(notebook) + "\n")
    print(f"{'wrote' if done else 'ran'}  {show(path)}", flush=True)
    return []


def read_notebook(path: Path) -> NotebookNode | None:
    """The notebook as it stands; None if there is none or it cannot be read."""
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError):
        return None


def keep_outputs(old: NotebookNode, new: NotebookNode, package: dict[str, str]) -> bool:
    """Take over the outputs if nothing that they depend on has changed; whether so."""
    about = old.metadata["vit_encoder"]
    files = about.get("files")
    if files is None or about["digest"] != digest_of(new, files, package):
        return False
    code = [[c for c in nb.cells if c.cell_type == "code"] for nb in (old, new)]
    for before, after in zip(*code, strict=True):
        after.outputs = before.outputs
        after.execution_count = before.execution_count
    new.metadata["vit_encoder"] |= {"files": files, "digest": about["digest"]}
    if "widgets" in old.metadata:
        new.metadata["widgets"] = old.metadata["widgets"]
    return True


def execute(path: Path, notebook: NotebookNode, package: dict[str, str]) -> None:
    """Run a notebook from top to bottom, and note what it read of the package."""
    language = notebook.metadata["language_info"]
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # or a busy machine would cut them in other places
        extra_arguments=["--log-level=ERROR"],
    )
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "run" / "probe.json"
        probe.parent.mkdir()
        settings = {"IPYTHONDIR": start_up(Path(folder)), "NOTEBOOK_PROBE": str(probe)}
        settings["TQDM_DISABLE"] = "1"  # a progress bar is for those who wait
        try:
            client.execute(env=os.environ | settings)
        except CellExecutionError as error:
            raise SourceError(f"{show(path)}: {error}") from None
        files = files_read(probe, package)
    digest = digest_of(notebook, files, package)
    notebook.metadata["vit_encoder"] |= {"files": files, "digest": digest}
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


if __name__ == "__main__":
    main()
