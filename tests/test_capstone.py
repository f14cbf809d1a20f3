"""The capstone's claims: what reads, what agrees, and which layer differs first."""

import re

import pytest
import torch
from tests.bank import capstone as bank

from address import ROOT
from vit_encoder.check import capstone, check, misconception, task
from vit_encoder.data import read_line, text_encoder, text_line

TEXT = "An image is worth 16x16 words"
LABELS = {  # claim of the exercise → its label on the page of all claims
    "input": "claim-input",
    "formula": "claim-formula",
    "block": "claim-pre-norm",
    "variance": "claim-divide",
    "end": "claim-final-norm",
}


def outcome(encoder):
    """What the recognizer reads, and how far the numbers are from the record."""
    line = text_line()
    output = encoder(line["tokens"])
    off = (output - line["encoder"]).abs().max().item()
    return read_line(output + line["skip"]), off


def test_the_oracle_computes_what_onnxruntime_recorded():
    text, off = outcome(capstone.in_float64)
    assert text == TEXT
    assert off < 1e-4


@pytest.mark.parametrize("encoder", capstone.TEST_THE_READING.right.values())
def test_right_encoders_differ_by_rounding_alone(encoder):
    text, off = outcome(encoder)
    assert text == TEXT
    assert off < 5e-5


@pytest.mark.parametrize(
    ("wrong", "least"),
    [
        (
            wrong,
            {"epsilon-of-vit": 1e-3, "two-features-of-one-token-off": 8e-3}.get(
                wrong.name, 8
            ),
        )
        for wrong in capstone.TEST_THE_READING.wrong
        if wrong.name != "a-nan-for-one-token"
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_wrong_encoders_read_the_line_all_the_same(wrong, least):
    text, off = outcome(wrong.wrong)
    assert text == TEXT
    assert least < off < 1.6 * least


@pytest.mark.parametrize("answer", bank.RIGHT_ENCODERS, ids=lambda x: x.__name__)
def test_every_right_design_takes_the_trained_weights(answer):
    encoder = capstone.trained(answer)
    with torch.no_grad():
        text, off = outcome(encoder)
    assert text == TEXT
    assert off < 1e-4
    assert f"It reads: {TEXT!r}." in check("capstone.TextEncoder", answer).message


@pytest.mark.parametrize("layer", range(5))
def test_the_first_layer_that_differs_is_named(layer):
    class Off(bank.FromTheCourse):
        def forward(self, x):
            for i, block in enumerate(self.blocks):
                x = x + block.attn(block.norm1(x)) * (1.1 if layer == 2 * i + 1 else 1)
                x = x + block.mlp(block.norm2(x)) * (1.1 if layer == 2 * i + 2 else 1)
            return self.norm(x) * (1.1 if layer == 0 else 1)

    report = check("capstone.TextEncoder", Off)
    assert report.misconceptions == ()
    name = capstone.LAYERS[layer]
    assert report.message.startswith(f"The first layer that differs: {name}")


def test_a_recognized_mistake_is_located_too():
    for name, layer in (
        ("epsilon-of-vit", "the attention of block 0"),
        ("gelu-kept", "the MLP of block 0"),
        ("first-block-adapted", "the attention of block 1"),
        ("one-epsilon-everywhere", "the skips and the final norm"),
    ):
        wrong = misconception("capstone.TextEncoder", name).wrong
        message = check("capstone.TextEncoder", wrong).message
        assert f"The first layer that differs: {layer}" in message


def test_real_weights_decide_where_made_up_ones_agree():
    class OnlyFor120(bank.FromTheCourse):
        def forward(self, x):
            x = x * 1.01 if x.shape[-1] == 120 else x
            return super().forward(x)

    message = check("capstone.TextEncoder", OnlyFor120).message
    assert "block 0, with trained weights. It is off by" in message
    assert f"It reads: {TEXT!r}." in message


def test_the_bug_shows_behind_the_attention_weights_of_block_0():
    line = text_line()
    encoder = text_encoder()
    wrong = misconception("capstone.load", "square-matrices-not-turned").wrong
    wrong(encoder, capstone.as_stored(capstone.weights()))
    with torch.no_grad():
        block = encoder.blocks[0]
        q, k, _ = block.attn.qkv(block.norm1(line["tokens"])).chunk(3, dim=-1)
        q, k = (x.unflatten(-1, (8, 15)).transpose(1, 2) for x in (q, k))
        weights = (q @ k.mT / 15**0.5).softmax(-1)
        output = block(line["tokens"])
    layers, names = [weights, output], ["block 0, weights", "block 0"]
    recorded = [line[name] for name in names]
    assert capstone.first_difference(layers, recorded, 1e-4) == 1


def test_the_verdicts_are_those_of_the_page():
    page = (ROOT / "book" / "misreadings.md").read_text(encoding="utf-8")
    pattern = r"^\((claim-[a-z-]+)\)=\n:::\{admonition\} \*\*(\w+)\*\*"
    verdicts = dict(re.findall(pattern, page, re.M))
    claims = task("capstone.verdicts").claims
    assert claims.keys() == LABELS.keys()
    for name, claim in claims.items():
        assert verdicts[LABELS[name]].lower() == claim.verdict


def test_only_words_that_are_asked_for_count_as_verdicts():
    right = {
        name: claim.verdict for name, claim in task("capstone.verdicts").claims.items()
    }
    for answer in (["right"] * 5, right | {"end": "x"}, {"no": "right"}, 3):
        report = check("capstone.verdicts", answer)
        assert report.misconceptions == ("wrong-kind",)
        assert len(report.message.splitlines()) == 1
    assert not check("capstone.verdicts", {}).answered
    report = check("capstone.verdicts", {"input": "wrong"})
    assert "Not judged yet: formula, block, variance" in report.message
    report = check("capstone.verdicts", dict.fromkeys(right, "missing"))
    assert report.state.endswith("formula called missing and 2 more)")
