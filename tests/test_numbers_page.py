"""The code on the page "Why don't my numbers match?" runs and prints what is there."""

import re

import numpy as np
import pytest
import torch

from address import ROOT
from library_differences import TABLES, read_differences
from library_models import Sizes, jax_arrays

PAGE = (ROOT / "book" / "numbers.md").read_text(encoding="utf-8")


def blocks():
    """Each block of code, with the output that follows it, if one does."""
    pattern = r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?"
    return re.findall(pattern, PAGE, re.DOTALL)


@pytest.fixture
def settings():
    """PyTorch's settings, put back after the test."""
    before = torch.get_default_dtype(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_default_dtype(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def test_code_runs_and_prints_what_stands_there(
    settings, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (file,) = re.findall(r'^file = "(\S+\.npz)"$', PAGE, re.M)
    np.savez(file, **jax_arrays(Sizes()))
    assert torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    names = {}
    outputs = 0
    for code, output in blocks():
        exec(compile(code, "numbers.md", "exec"), names)
        assert capsys.readouterr().out == output
        outputs += bool(output)
    assert outputs == 3
    assert {"from_timm", "from_torchvision", "from_transformers"} <= names.keys()
    assert {"from_torch_encoder", "from_jax"} <= names.keys()


def test_every_table_is_on_the_page():
    used = re.findall(r"```\{include\} generated/numbers-(\S+)\.md", PAGE)
    assert sorted(used) == sorted(TABLES)


def test_every_difference_leads_to_a_section():
    labels = set(re.findall(r"^\((numbers-[\w-]+)\)=$", PAGE, re.MULTILINE))
    targets = re.findall(r"<(numbers-[\w-]+)>", TABLES["effects"](read_differences()))
    assert len(targets) > 20
    assert set(targets) <= labels
