"""A check below a cell that has failed says that it judges the older answer."""

import nbformat
import pytest
from nbclient import NotebookClient

from vit_encoder.check import kernel

pytestmark = pytest.mark.xdist_group("failed cells")  # one kernel for all
ATTENTION = 'check("self_attention.attention", attention)'
RIGHT = """\
def attention(q, k, v):
    weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1)
    return weights @ v, weights
"""
WRONG = "def attention(q, k, v):\n    return q\n"
PASSED = "Attention: 3 of 3 points, passed"
BROKEN = WRONG.replace(":", "")
FAILED = {  # a cell that fails and leaves the answer as it was → how it failed
    BROKEN: "SyntaxError in line 1",
    WRONG.replace("    return", "  if q:\n  return"): "IndentationError in line 3",
    f"{WRONG}    (": "SyntaxError in line 3",
    f"import nothing\n{WRONG}": "ModuleNotFoundError in line 1",
    f"def helper():\n    return no\n\nhelper()\n{WRONG}": "NameError in line 4",
    f"@missing\n{WRONG}": "NameError in line 1",
    "attention = missing": "NameError in line 1",
}
CARD = 'score_card("02_self_attention")'
OTHERS = {  # name → cells that run one after the other
    "the card before": [CARD],
    "defined before it failed": [f"{WRONG}\nattention(1)", ATTENTION],
    "mended": [BROKEN, RIGHT, ATTENTION],
    "mended and checked in one cell": [BROKEN, f"{RIGHT}\n{ATTENTION}"],
    "under another name": [
        BROKEN,
        f"mine = attention\n{ATTENTION.replace('attention)', 'mine)')}",
    ],
    "another answer": [BROKEN, ATTENTION.replace("attention)", "lambda q, k, v: q)")],
    "another cell failed": [RIGHT, "def other(:", ATTENTION],
    "the card at the end": [CARD],
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the last cell of each case shows, all run by one kernel."""
    cases = {cell: [cell, ATTENTION] for cell in FAILED} | OTHERS
    notebook = nbformat.v4.new_notebook()
    add(notebook, ["import torch\nfrom vit_encoder.check import check, score_card"])
    add(notebook, [RIGHT])
    last = {name: add(notebook, cells) for name, cells in cases.items()}
    place = {"metadata": {"path": str(tmp_path_factory.mktemp("course"))}}
    client = NotebookClient(
        notebook, kernel_name="python3", allow_errors=True, resources=place
    )
    client.execute()
    return {name: shown(cell) for name, cell in last.items()}


def add(notebook, sources):
    """Put cells at the end of a notebook; the last of them."""
    notebook.cells += map(nbformat.v4.new_code_cell, sources)
    return notebook.cells[-1]


def shown(cell):
    """The text of a cell's result; empty if it has none."""
    results = [o for o in cell.outputs if o.output_type == "execute_result"]
    return "".join(result["data"]["text/plain"] for result in results)


@pytest.mark.parametrize(("cell", "how"), FAILED.items(), ids=FAILED.values())
def test_the_first_line_says_that_the_cell_has_failed(told, cell, how):
    first, _, rest = told[cell].partition("\n\n")
    assert first == (
        f"The cell that defines `attention` has just failed ({how}). This report is of "
        "the version before, and it does not count. Mend the cell, run it, then run "
        "its check again."
    )
    assert rest.startswith(PASSED)


def test_what_does_not_count_is_not_kept(told):
    assert (
        "Attention                            0 of 3  not checked"
        in (told["the card before"])
    )
    assert "Total: 3 of 17 points" in told["the card at the end"]


def test_an_answer_that_the_failed_cell_did_define_is_judged(told):
    assert told["defined before it failed"].startswith("Attention: 0 of 3 points")


@pytest.mark.parametrize("case", ["mended", "mended and checked in one cell"])
def test_a_cell_that_runs_clears_it(told, case):
    assert told[case].startswith(PASSED)


def test_it_is_said_of_the_old_answer_and_of_no_other(told):
    old = "The cell that defines `attention` has just failed"
    assert told["under another name"].startswith(old)
    assert told["another answer"].startswith("Attention: 0 of 3 points")
    assert told["another cell failed"].startswith(PASSED)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(x):", {"f"}),
        ("  async def f(x", {"f"}),
        ("@fast\nclass F(Base):\n    pass", {"F"}),
        ("x = 1\ny: list[int] = [", {"x", "y"}),
        ("x == 1\nx.y = 2\nx[0] = 3\nf(x=1)\n# z = 4", set()),
        ("    x = 1", set()),
        ("définition = 'é'", {"définition"}),
    ],
)
def test_what_the_text_of_a_cell_defines(source, names):
    assert kernel.defined(source) == names


def test_nothing_is_watched_outside_a_notebook():
    assert kernel.shell() is None
    kernel.watch()
    assert kernel.warning_of("attention", None) == ""
