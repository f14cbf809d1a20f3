"""A student's own parts: kept in my_encoder.py, given back, never lost or mixed."""

import errno
import inspect
import itertools
import linecache
import multiprocessing
import os
import re
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tests.bank import layer_norm as norm_bank
from tests.bank import mlp as mlp_bank
from tests.bank import multi_head as heads_bank
from tests.forked import run_script

import vit_encoder
from address import ROOT
from sources import read_source
from vit_encoder import check as checks
from vit_encoder import my_parts, own_parts
from vit_encoder.check import catalogue, check, keeping, kernel, progress
from vit_encoder.grade import check_in_sandbox
from vit_encoder.own_parts import FILE, PARTS

NUMBERS = itertools.count()
IMPORTS = """\
import math
import torch
import torch.nn.functional as F
import vit_encoder
from torch import nn
from vit_encoder import my_parts
"""
MERGE = """\
def merge_heads(x):
    return x.transpose(1, 2).flatten(2)
"""
GELU = """\
def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
"""
NORM = """\
class LayerNorm(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt()
        return self.weight * x + self.bias
"""
BLOCK = """\
class EncoderBlock(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        x = x + dropout(self.attn(self.norm1(x)), self.dropout, self.training)
        return x + self.mlp(self.norm2(x))
"""


class Notebook:
    """Runs cells as IPython does: as `__main__`, each with its source in linecache."""

    def __init__(self, imports=IMPORTS):
        self.names = {"__name__": "__main__"}
        self.cell(imports)

    def cell(self, source):
        """Run a cell."""
        # Called as ipykernel calls a cell; no file is there.
        name = f"{tempfile.gettempdir()}/ipykernel_1/{next(NUMBERS)}.py"
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        exec(compile(source, name, "exec"), self.names)

    def keep(self, *cells):
        """Run cells, and keep the part that the last one defines; what is said."""
        for cell in cells:
            self.cell(cell)
        name = next(n for n in reversed(self.names) if n in PARTS)
        return self.kept(name)

    def kept(self, name, answer=None):
        """Keep a part under the name of its exercise; what is said."""
        return check(id_of(name), answer or self.names[name], keep=True).kept


def id_of(name):
    """The exercise that asks for a part."""
    return f"{PARTS[name][1]}.{name}"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder beside which nothing was kept."""
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("my_encoder", None)
    progress.forget()
    yield tmp_path
    sys.modules.pop("my_encoder", None)


@pytest.fixture
def file(folder):
    """Where the parts are kept."""
    return folder / FILE


# The whole way

SOLVE = """
import sys
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for text in Path("cells.txt").read_text().split("\\n# next\\n"):
    for cell in text.split("\\n# cell\\n"):
        shell.run_cell(cell).raise_error()
    shell.reset()
"""
ALONE = """
import sys
import torch
from my_encoder import Encoder, PatchEmbedding
from vit_encoder.loading import from_timm, load_part

state, sizes, images, expected = torch.load("timm.pt")
embedding = PatchEmbedding(24, 4, 3, 30).eval()
encoder = Encoder(3, 30, 5, 70).eval()
weights = from_timm(state)
load_part(embedding, weights.embedding)
load_part(encoder, weights.encoder)
with torch.no_grad():
    print((encoder(embedding(images)) - expected).abs().max().item())
assert not [name for name in sys.modules if name.startswith("vit_encoder.check")]
"""


@pytest.mark.xdist_group("forked")
def test_the_exercises_make_an_encoder_that_loads_timm_s_weights(folder, address):
    from library_models import Sizes, randomize, timm_vit

    notebooks = sorted(ROOT.glob("solutions/0[1-7]_*.md"))
    cells = [needed_cells(read_source(path, address)) for path in notebooks]
    Path("cells.txt").write_text("\n# next\n".join(map("\n# cell\n".join, cells)))
    Path("solve.py").write_text(SOLVE)
    solved = run_script(folder / "solve.py", paths=[ROOT / "src"])
    assert solved.returncode == 0, solved.stdout + solved.stderr
    said = re.findall(r"Kept: your (\w+) is in my_encoder.py\.$", solved.stdout, re.M)
    assert said == [*PARTS]
    assert not re.search(r"^(from|import) vit_encoder", Path(FILE).read_text(), re.M)

    sizes = Sizes(24, 4, 3, depth=3, dim=30, num_heads=5, mlp_dim=70, num_classes=11)
    torch.manual_seed(0)
    theirs = randomize(timm_vit(sizes)).eval()
    images = torch.randn(2, 3, 24, 24)  # (B, C, H, W)
    with torch.no_grad():
        expected = theirs.forward_features(images)  # (B, N, D)
    torch.save((theirs.state_dict(), {}, images, expected), "timm.pt")
    Path("alone.py").write_text(ALONE)
    alone = run_script(folder / "alone.py", paths=[ROOT / "src"])
    assert alone.returncode == 0, alone.stderr
    assert float(alone.stdout) < 1e-4


def needed_cells(source):
    """The code cells of a solution that keep a part, and those that they need."""
    found = []
    for cell in (c for c in source.notebook.cells if c.cell_type == "code"):
        id = cell.metadata.get("exercise", {}).get("id", ".")
        imports = cell.source.startswith(("import ", "from ", "try:"))
        imports = imports and "def " not in cell.source
        gets = "= my_parts(" in cell.source
        if imports or gets or "keep=True" in cell.source or id.split(".")[1] in PARTS:
            found.append(cell.source)
    return found


def test_every_part_has_an_exercise_that_keeps_it_and_no_other_does():
    home = {entry["id"]: entry["notebook"][:2] for entry in catalogue()}
    assert all(home[id_of(name)] == number for name, (number, _) in PARTS.items())
    assert list(PARTS.values()) == sorted(PARTS.values(), key=lambda part: part[0])
    text = "".join(path.read_text() for path in sorted(ROOT.glob("solutions/*.md")))
    asked = re.findall(r'^check\("([\w.]+)", (\w+), keep=True\)$', text, re.M)
    assert asked == [(id_of(name), name) for name in PARTS]


def test_marking_has_the_same_names():
    names = {"Report": "Heard"}
    assert check_in_sandbox.__all__ == [names.get(n, n) for n in checks.__all__]


def test_marking_takes_the_same_call():
    assert inspect.signature(check_in_sandbox.check).parameters.keys() == (
        inspect.signature(check).parameters.keys()
    )


# What is written


def test_what_a_part_needs_goes_along_and_nothing_else(file):
    notebook = Notebook()
    notebook.cell(
        "HALF, UNUSED, NO = 0.5, 3, -math.inf\nfrom torch import Tensor as T, erf"
    )
    notebook.cell("# The root\n# of two.\nroot = lambda: 2**HALF  # 1.414\nother = 3")
    notebook.cell(
        "def phi(x: T) -> T:\n    return (1 + erf(x / root())) / 2\n    # done"
    )
    said = notebook.keep(
        "import functools",
        "@functools.cache\ndef one(): return 1 if NO < 0 else 2\n",
        "def gelu(x):\n    # Φ\n    return phi(x) * x * one()\n",
    )
    assert said == "Kept: your gelu is in my_encoder.py."
    text = file.read_text()
    body = text[text.index("import functools") :]
    assert body == (
        "import functools\n\n"
        "from torch import Tensor as T\nfrom torch import erf\n\n\n"
        f"# Exercise 05 {'-' * 60}\n\n\n"
        'NO = float("-inf")\n\n\n'
        "@functools.cache\ndef one(): return 1 if NO < 0 else 2\n\n\n"
        "HALF = 0.5\n\n\n"
        "# The root\n# of two.\nroot = lambda: 2**HALF  # 1.414\n\n\n"
        "def phi(x: T) -> T:\n    return (1 + erf(x / root())) / 2\n    # done\n\n\n"
        "def gelu(x):\n    # Φ\n    return phi(x) * x * one()\n"
    )
    assert my_parts("gelu")(torch.zeros(3)).tolist() == [0, 0, 0]
    notebook.kept("gelu")
    assert file.read_text() == text  # nothing is new, nothing is written


def test_a_class_is_found_in_its_own_cell(file):
    """Python 3.11 would take the first that has this name."""
    notebook = Notebook()
    notebook.cell("class LayerNorm(nn.Module):\n    def forward(self, x): return x\n")
    notebook.cell("class Base(nn.Module): pass\n")
    notebook.keep(NORM.replace("nn.Module", "Base"))
    notebook.cell("class LayerNorm(nn.Module):\n    def forward(self, x): return 1\n")
    assert file.read_text().endswith(NORM.replace("nn.Module", "Base"))
    assert "class Base(nn.Module): pass\n" in file.read_text()


def test_an_answer_of_another_name_is_kept_under_that_of_its_exercise(file):
    notebook = Notebook()
    notebook.cell(NORM.replace("LayerNorm", "Mine"))
    notebook.kept("LayerNorm", notebook.names["Mine"])
    assert my_parts("LayerNorm").__name__ == "Mine"
    notebook.cell(NORM.replace("LayerNorm", "Mine").replace("(dim)", "([dim])"))
    notebook.kept("LayerNorm", notebook.names["Mine"])
    assert file.read_text().count("class Mine") == 1


def test_the_parts_stand_in_order_each_after_what_it_needs(file):
    notebook = Notebook()
    notebook.keep(GELU)
    notebook.keep("def spread(x): return x.std(-1)\n", NORM)
    notebook.keep(MERGE)
    found = re.findall(r"^(?:def|class|# Exercise) (\w+)", file.read_text(), re.M)
    assert found == ["03", "merge_heads", "04", "LayerNorm", "05", "gelu"]


def test_a_better_version_takes_the_place_of_the_old_one_and_its_helpers(file):
    notebook = Notebook()
    notebook.keep("def turn(x): return x.mT\n", MERGE)
    helper = "def flat(x):\n    return x.transpose(1, 2).flatten(2)\n"
    notebook.keep(helper, "def merge_heads(x):\n    return flat(x)\n")
    assert "def flat" in file.read_text()
    notebook.keep(MERGE)
    assert "def flat" not in file.read_text()
    assert file.read_text().count("def merge_heads") == 1


# What is not


def test_what_does_not_pass_is_not_kept(file):
    wrong = MERGE.replace(".transpose(1, 2)", "")
    assert Notebook().keep(wrong) == ""
    assert not file.exists()
    notebook = Notebook()
    notebook.keep(MERGE)
    text = file.read_text()
    assert notebook.keep(wrong) == ""
    assert file.read_text() == text


def test_without_being_asked_nothing_is_kept(file):
    notebook = Notebook()
    notebook.cell(MERGE)
    assert check(id_of("merge_heads"), notebook.names["merge_heads"]).kept == ""
    assert not file.exists()


def test_the_version_before_a_failed_cell_is_not_kept(file, monkeypatch):
    notebook = Notebook()
    notebook.cell(MERGE)
    monkeypatch.setattr(kernel, "warning_of", lambda *_: "It has failed.")
    assert notebook.kept("merge_heads") == ""
    assert not file.exists()


def test_only_parts_are_kept():
    with pytest.raises(
        ValueError, match=r"keep=True is for the parts .*mlp\.tolerance"
    ):
        check("mlp.tolerance", "A", keep=True)


CANNOT = {  # cells, the last of which defines a part → what is said
    "a tensor": (
        "two = torch.tensor(2.0)",
        GELU.replace("math.sqrt(2)", "two.sqrt()"),
        "it uses `two`, a Tensor that another cell has made.",
    ),
    "a layer": (
        "flat = nn.Flatten(2)",
        MERGE.replace("x.transpose(1, 2).flatten(2)", "flat(x.transpose(1, 2))"),
        "it uses `flat`, a Flatten that another cell has made.",
    ),
    "a name that is not there": (
        "",
        f"{MERGE}    return missing\n",
        "`merge_heads` uses `missing`, which is not defined.",
    ),
    "made by a function": (
        "def make():\n"
        "    def merge_heads(x):\n"
        "        return x.transpose(1, 2).flatten(2)\n"
        "    return merge_heads",
        "merge_heads = make()",
        "the source of `merge_heads` was not found.",
    ),
    "imported": (
        "",
        "from elsewhere import merge_heads",
        "`merge_heads` is imported. Its source must be in the notebook.",
    ),
    "the module itself": (
        "import my_encoder",
        f"{MERGE}    my_encoder.gelu\n",
        "it uses my_encoder.py as a module. Get its parts by `my_parts`.",
    ),
}


@pytest.mark.parametrize(("before", "cell", "said"), CANNOT.values(), ids=[*CANNOT])
def test_what_cannot_be_written_is_said(file, monkeypatch, before, cell, said):
    elsewhere = ModuleType("elsewhere")
    exec(MERGE, vars(elsewhere))
    monkeypatch.setitem(sys.modules, "elsewhere", elsewhere)
    monkeypatch.setitem(sys.modules, "my_encoder", ModuleType("my_encoder"))
    assert (
        Notebook().keep(before, cell).startswith(f"Not kept in my_encoder.py: {said}")
    )
    assert not file.exists()


# Whose parts


def test_without_a_file_all_parts_are_the_course_s(capsys):
    assert my_parts("layer_norm", "Encoder") == (
        vit_encoder.layer_norm.layer_norm,
        vit_encoder.Encoder,
    )
    assert capsys.readouterr().out == (
        "The course's: layer_norm, Encoder. There is no my_encoder.py here. "
        "To keep your own, do exercises 04, 07.\n"
    )


@pytest.mark.parametrize("names", [(), ("encoder",), ("MLP", "VisionTransformer")])
def test_a_part_that_there_is_not_is_refused(names):
    with pytest.raises(ValueError, match="expected names of parts"):
        my_parts(*names)


def test_a_part_on_the_course_s_parts_is_said_to_be_that(capsys):
    notebook = Notebook()
    notebook.cell('LayerNorm, MLP = my_parts("LayerNorm", "MLP")')
    notebook.cell("from vit_encoder import MultiHeadSelfAttention, dropout")
    lent = "MultiHeadSelfAttention, LayerNorm, dropout, MLP"
    assert notebook.keep(BLOCK) == (
        "Kept: your EncoderBlock is in my_encoder.py. "
        f"It is built on the course's {lent}."
    )
    capsys.readouterr()
    block, norm = my_parts("EncoderBlock", "LayerNorm")
    assert (block.__module__, norm) == ("my_encoder", vit_encoder.LayerNorm)
    assert capsys.readouterr().out == (
        f"Yours, from my_encoder.py: EncoderBlock (on the course's {lent}). "
        "The course's: LayerNorm. To keep your own, do exercises 03, 04, 05.\n"
    )


def test_a_part_kept_later_takes_the_course_s_place_where_it_was_used(file):
    notebook = Notebook()
    names = "MultiHeadSelfAttention, LayerNorm, dropout, MLP"
    notebook.keep(f"from vit_encoder import {names}", BLOCK)
    assert Notebook().keep(NORM) == (
        "Kept: your LayerNorm is in my_encoder.py. "
        "Your EncoderBlock there was checked again with it."
    )
    block = my_parts("EncoderBlock")(8, 2, 12)
    assert type(block.norm1) is my_parts("LayerNorm")
    assert "import LayerNorm" not in file.read_text()
    # And a block that was written with the course's joins the student's own.
    notebook.keep(f"from vit_encoder import {names}", f"# Again.\n{BLOCK}")
    assert type(my_parts("EncoderBlock")(8, 2, 12).norm1) is my_parts("LayerNorm")


def test_the_course_s_part_through_its_package_is_noticed(capsys):
    notebook = Notebook()
    notebook.keep(GELU)
    through = """\
class MLP(nn.Module):
    def __init__(self, dim, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.fc1, self.fc2 = nn.Linear(dim, mlp_dim), nn.Linear(mlp_dim, dim)

    def forward(self, x):
        x = dropped(vit_encoder.gelu(self.fc1(x)), self.dropout, self.training)
        return dropped(self.fc2(x), self.dropout, self.training)
"""
    assert notebook.keep("from vit_encoder import dropout as dropped", through) == (
        "Kept: your MLP is in my_encoder.py. "
        "It is built on the course's gelu, dropout. "
        "The file has a gelu of yours, for you to use."
    )
    my_parts("MLP")
    assert "MLP (on the course's gelu, dropout)" in capsys.readouterr().out


def test_a_name_of_a_part_means_that_part(file):
    """A helper that happens to be called like a part would be given out as one."""
    notebook = Notebook()
    notebook.cell("def gelu(x): return x.transpose(1, 2)\n")
    said = notebook.keep(MERGE.replace("x.transpose(1, 2)", "gelu(x)"))
    assert "there `gelu` (exercise 05) would not pass its check." in said
    assert "give what differs another name" in said
    assert not file.exists()


def test_two_helpers_of_one_name_do_not_break_one_another(file):
    notebook = Notebook()
    helped = "def merge_heads(x):\n    return turned(x).flatten(2)\n"
    notebook.keep("def turned(x):\n    return x.transpose(1, 2)\n", helped)
    text = file.read_text()
    split = """\
def split_heads(x, num_heads):
    if x.shape[-1] % num_heads:
        raise ValueError
    return turned(x, num_heads)
"""
    other = "def turned(x, h):\n    return x.unflatten(-1, (h, -1)).transpose(1, 2)\n"
    said = Notebook().keep(other, split)
    assert "there `merge_heads` (exercise 03) would not pass its check." in said
    assert "new in the file: `split_heads`, `turned`." in said
    assert file.read_text() == text
    both = "def turned(x, h=0):\n    x = x.unflatten(-1, (h, -1)) if h else x\n"
    said = Notebook().keep(f"{both}    return x.transpose(1, 2)\n", split)
    assert said.endswith(
        "Your merge_heads there was checked again with it. "
        "But `turned` means something else there now."
    )
    assert file.read_text().count("def turned") == 1


EMBED = """\
class PatchEmbedding(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, dim):
        super().__init__()
        if image_size % patch_size:
            raise ValueError
        self.shape, P = (in_channels, image_size, image_size), patch_size
        self.proj = nn.Conv2d(in_channels, dim, P, P)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        N = (image_size // P) ** 2 + 1
        self.pos_embed = nn.Parameter(SCALE * torch.randn(1, N, dim))

    def forward(self, images):
        if images.shape[1:] != self.shape:
            raise ValueError
        x = self.proj(images).flatten(2).mT
        return torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
"""


def test_a_constant_that_another_notebook_uses_is_not_changed(file):
    """No check sees the spread of what is drawn at random."""
    own = "Kept: your PatchEmbedding is in my_encoder.py."
    assert Notebook().keep("SCALE = 0.02", EMBED) == own
    text = file.read_text()
    scaled = GELU.replace("math.sqrt(2)", "SCALE")
    assert Notebook().keep("SCALE = math.sqrt(2)", scaled) == (
        "Not kept in my_encoder.py: there `SCALE` is 0.02, and `PatchEmbedding` "
        "(exercise 01) uses it. In one file a name means one thing: give one of the "
        "two another name."
    )
    assert file.read_text() == text
    assert Notebook().keep("ROOT = math.sqrt(2)", scaled.replace("SCALE", "ROOT")) == (
        "Kept: your gelu is in my_encoder.py."
    )
    assert Notebook().keep("SCALE = 2e-2", f"# Again.\n{EMBED}") == own
    assert Notebook().keep("SCALE = 0.01", EMBED) == own  # who uses it may change it
    assert "SCALE = 0.01\n" in file.read_text()


def test_a_constant_of_one_notebook_can_change_in_all_of_it(file):
    norm = """\
def layer_norm(x, weight, bias, eps=1e-6):
    x = x - x.mean(-1, keepdim=True)
    return weight * x / (x.square().mean(-1, keepdim=True) + eps)**HALF + bias
"""
    used = NORM.replace(".sqrt()", "**HALF")
    notebook = Notebook()
    notebook.keep("HALF = 0.5", norm)
    notebook.keep(used)
    notebook.cell("HALF = 0.5 + 1e-9")
    assert notebook.kept("layer_norm") == (
        "Kept: your layer_norm is in my_encoder.py. "
        "Your LayerNorm there was checked again with it. "
        "But `HALF` means something else there now; it was `HALF = 0.5`."
    )


UNLIKE = {  # right designs, such as pass their own check, that the course's is unlike
    "without biases": {"MultiHeadSelfAttention": heads_bank.FusedWithoutBiases},
    "bare": {"MultiHeadSelfAttention": heads_bank.BareParametersTurned},
    "with layers of its own": {
        "MultiHeadSelfAttention": heads_bank.AsInDiveIntoDeepLearning,
        "MLP": mlp_bank.AsInTorchvision,
        "LayerNorm": norm_bank.WithBuffers,
    },
}


@pytest.mark.parametrize("parts", UNLIKE.values(), ids=[*UNLIKE])
def test_a_block_of_right_parts_is_right(parts):
    notebook = Notebook()
    lent = ("MultiHeadSelfAttention", "LayerNorm", "dropout", "MLP")
    notebook.names |= {name: getattr(vit_encoder, name) for name in lent} | parts
    notebook.cell(BLOCK)
    assert check("encoder_block.EncoderBlock", notebook.names["EncoderBlock"]).passed


# A file that the student has edited


def test_an_edit_is_kept_beside_and_goes_on(file, folder):
    notebook = Notebook()
    notebook.keep(MERGE)
    edited = file.read_text().replace("flatten(2)", "flatten(-2)") + "\n\nMINE = 3\n"
    file.write_text(edited)
    assert notebook.keep(GELU) == (
        "Kept: your gelu is in my_encoder.py. "
        "You had edited the file: as it was, it is kept as my_encoder.py.edited-1."
    )
    assert (folder / f"{FILE}.edited-1").read_text() == edited
    assert "flatten(-2)" in file.read_text()
    assert "MINE = 3\n" in file.read_text()
    assert (
        notebook.keep(f"{GELU}    # Again.\n") == "Kept: your gelu is in my_encoder.py."
    )
    assert "MINE = 3\n" in file.read_text()
    file.write_text("print('all mine')\n")
    assert notebook.keep(MERGE).endswith("kept as my_encoder.py.edited-2.")
    assert file.read_text().endswith("print('all mine')\n")


BROKEN = {
    "def broken(:": "in line 1: SyntaxError",
    "import math\nmissing": "in line 2: NameError: name 'missing'",
    "import torch\ntorch.zeros(2) @ torch.zeros(3)": "in line 2: RuntimeError",
}


@pytest.mark.parametrize(("text", "said"), BROKEN.items())
def test_a_broken_file_is_named_and_nothing_falls_back(file, text, said):
    file.write_text(text)
    with pytest.raises(ImportError, match=f"my_encoder.py is broken {said}"):
        my_parts("gelu")
    assert Notebook().keep(MERGE).startswith("Not kept in my_encoder.py: ")
    assert file.read_text() == text


def test_a_file_that_is_none_is_named(file):
    file.mkdir()
    with pytest.raises(ImportError, match=r"my_encoder\.py cannot be read"):
        my_parts("gelu")
    assert "cannot be read" in Notebook().keep(MERGE)


def test_an_edit_is_seen_without_a_restart(file):
    file.write_text("def gelu(x): return 1\n")
    assert my_parts("gelu")(0) == 1
    assert my_parts("gelu") is my_parts("gelu")
    file.write_text("def gelu(x): return 2\n")
    assert my_parts("gelu")(0) == 2


# Where it lies


def test_what_an_edit_has_broken_is_not_laid_on_the_new_part(file):
    notebook = Notebook()
    notebook.keep(GELU)
    names = "MultiHeadSelfAttention, LayerNorm, dropout, MLP"
    notebook.keep(f"from vit_encoder import {names}", BLOCK)
    broken = file.read_text().replace("x = x + self.mlp", "x = self.mlp")
    broken = broken.replace("return x + self.mlp", "return self.mlp")
    file.write_text(broken)
    assert Notebook().keep(NORM) == (
        "Not kept in my_encoder.py: `EncoderBlock` (exercise 06) there does not pass "
        "its check, without what is new either. Mend it, or what it uses."
    )
    assert file.read_text() == broken


def test_a_lambda_of_the_file_can_be_used_again():
    Notebook().keep("merge_heads = lambda x: x.transpose(1, 2).flatten(2)")
    notebook = Notebook()
    notebook.cell('merge_heads = my_parts("merge_heads")')
    assert notebook.kept("merge_heads") == "Kept: your merge_heads is in my_encoder.py."


def test_a_file_that_was_made_read_only_stays(file, capsys):
    Notebook().keep(MERGE)
    text = file.read_text()
    file.chmod(0o444)
    assert Notebook().keep(GELU) == ""
    assert "(it is read-only). Your parts are not kept." in capsys.readouterr().err
    assert file.read_text() == text


def test_a_folder_that_takes_nothing_is_said_once(file, monkeypatch, capsys):
    def refuse(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(keeping, "write_atomically", refuse)
    notebook = Notebook()
    assert notebook.keep(MERGE) == ""
    said = "my_encoder.py cannot be written to"
    assert capsys.readouterr().err.startswith(
        f"{said} {file.parent} (Permission denied)"
    )
    assert notebook.keep(GELU) == ""
    assert capsys.readouterr().err == ""
    assert [*file.parent.iterdir()] == []


def in_a_kernel(names, start):
    """Keep functions of these names, one after the other."""
    notebook = Notebook()
    start.wait()
    for name in names:
        notebook.cell(f"def {name}(x):\n    return x\n")
        keeping.keep(id_of(name), notebook.names[name], lambda *_: True)


def test_kernels_that_keep_at_once_lose_nothing(file):
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    shares = [[*PARTS][number::4] for number in range(4)]
    kernels = [context.Process(target=in_a_kernel, args=(s, start)) for s in shares]
    for kernel_ in kernels:
        kernel_.start()
    for kernel_ in kernels:
        kernel_.join()
    assert [kernel_.exitcode for kernel_ in kernels] == [0, 0, 0, 0]
    assert re.findall(r"^def (\w+)", file.read_text(), re.M) == [*PARTS]
    assert [path.name for path in file.parent.iterdir()] == [FILE]


def test_a_lock_that_a_kernel_left_behind_is_in_nobody_s_way(file):
    lock = file.with_name(f".{FILE}.lock")
    lock.touch()
    os.utime(lock, (0, 0))
    assert Notebook().keep(MERGE) == "Kept: your merge_heads is in my_encoder.py."
    assert not lock.exists()


@pytest.fixture
def colab(folder, monkeypatch):
    """A kernel of Colab; the folder of its Drive, which is not mounted yet."""
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    monkeypatch.setattr(own_parts, "DRIVE", folder / "drive")
    return folder / "drive"


def test_on_colab_the_lines_that_download_it_are_offered(colab, file):
    said = Notebook().keep(MERGE)
    assert said.endswith(
        "from google.colab import files; files.download('my_encoder.py')"
    )
    assert file.exists()
    colab.mkdir()  # mounted later: what lies here goes on
    Notebook().keep(GELU)
    assert {"gelu", "merge_heads"} <= vars(own_parts.load(*loaded(file))).keys()
    assert not (colab / FILE).exists()


def loaded(file):
    """What `own_parts.load` takes."""
    return file.read_text(), file


def test_on_colab_a_mounted_drive_has_it(colab, file):
    colab.mkdir()
    said = "Kept: your merge_heads is in my_encoder.py."
    assert Notebook().keep(MERGE) == said
    assert (colab / FILE).exists()
    assert not file.exists()
    assert my_parts("merge_heads").__module__ == "my_encoder"
