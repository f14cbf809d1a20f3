"""The capstone's claims: what sees, what agrees, and which layer differs first."""

import re

import pytest
import torch
from tests.bank import capstone as bank

from address import ROOT
from vit_encoder.check import (
    capstone,
    catalogue,
    check,
    misconception,
    task,
    trained,
)
from vit_encoder.data import fashion_vit, read_line, text_line
from vit_encoder.datasets import fashion_mnist
from vit_encoder.loading import load_part
from vit_encoder.training import VisionTransformer as CoursesModel

TEXT = "An image is worth 16x16 words"
NOTICED = "capstone.who_notices"
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


@pytest.fixture(scope="module")
def test_images():
    """Those of the notebook, their labels, and the trained model's logits."""
    test = fashion_mnist().test[:500]
    with torch.no_grad():
        return test.normalized(), test.labels, fashion_vit()(test.normalized())


def right_on(logits, labels):
    return (logits.argmax(-1) == labels).double().mean().item()


# Images


def test_right_models_differ_by_rounding_alone(test_images):
    images, _, expected = test_images
    for model in capstone.TEST_THE_MODEL.right.values():
        assert (model(images[:50]) - expected[:50]).abs().max() < 5e-5


def test_wrong_models_guess_as_well_as_the_right_one(test_images):
    images, labels, expected = test_images
    share = right_on(expected[:200], labels[:200])
    assert share > 0.9
    for wrong in capstone.TEST_THE_MODEL.wrong:
        if wrong.name == "a-nan-for-one-class":
            continue
        logits = wrong.wrong(images[:200])
        assert abs(right_on(logits, labels[:200]) - share) <= 0.02, wrong.name
        assert (logits - expected[:200]).abs().max() > 1e-3, wrong.name


def two_heads():
    sizes = capstone.VIT | {"num_heads": 2}
    model = CoursesModel(*sizes.values())
    model.load_state_dict(fashion_vit().state_dict())
    return model.eval()


def by_columns():
    model = fashion_vit()
    weight = model.embedding.proj.weight
    weight.data = weight.data.unflatten(1, (4, 4)).mT.flatten(1)
    return model


def mean_read():
    model = fashion_vit()
    model.pool = "mean"
    return model


def one_norm_twice():
    model = fashion_vit()
    for block in model.encoder.blocks:
        block.norm2 = block.norm1
    return model


def biases_swapped():
    model = fashion_vit()
    for block in model.encoder.blocks:
        query, key, value = block.attn.qkv.bias.data.chunk(3)
        block.attn.qkv.bias.data = torch.cat([query, value, key])
    return model


MISTAKES = {  # claim → a model with this mistake and the trained weights
    "heads": two_heads,
    "columns": by_columns,
    "norm": one_norm_twice,
    "biases": biases_swapped,
    "mean": mean_read,
}


def test_who_notices_is_measured(test_images):
    images, labels, expected = test_images
    claims = {name: claim.verdict for name, claim in task(NOTICED).claims.items()}
    refused = {name for name, word in claims.items() if word == "keys"}
    assert claims.keys() == MISTAKES.keys() | refused
    best = right_on(expected, labels)
    for name, make in MISTAKES.items():
        with torch.no_grad():
            share = right_on(make()(images), labels)
        if claims[name] == "guesses":
            assert share < best - 0.1, (name, share)
        else:
            assert abs(share - best) <= 0.02, (name, share)


def test_the_weights_are_refused_where_it_says_so():
    claims = {name: claim.verdict for name, claim in task(NOTICED).claims.items()}
    assert claims["depth"] == claims["list"] == "keys"
    weights = fashion_vit().state_dict()
    fewer = CoursesModel(*(capstone.VIT | {"depth": 5}).values())
    hidden = fashion_vit()
    blocks = list(hidden.encoder.blocks)
    del hidden.encoder.blocks
    hidden.encoder.blocks = blocks
    for model in (fewer, hidden):
        with pytest.raises(RuntimeError, match="Unexpected key"):
            model.load_state_dict(weights)


@pytest.mark.parametrize("answer", bank.RIGHT_MODELS, ids=lambda x: x.__name__)
def test_every_right_model_takes_the_trained_weights(answer, test_images):
    images, _, expected = test_images
    if answer is bank.ByConvolution:  # joined otherwise: the check alone takes it
        answer = bank.HeadFirst
    model = answer(*capstone.VIT.values())
    load_part(model, fashion_vit().state_dict())
    with torch.no_grad():
        assert (model.eval()(images[:20]) - expected[:20]).abs().max() < 5e-5


def test_weights_that_find_no_place_are_told():
    weights = fashion_vit().state_dict()
    with pytest.raises(ValueError, match=r"head\.weight .* is left over"):
        load_part(bank.OtherName(*capstone.VIT.values()), weights)


def test_a_mistake_on_images_is_located_and_counted():
    report = check("capstone.VisionTransformer", bank.NegativeIndex)
    assert "The first layer that differs: the embedding, the final" in report.message
    assert re.search(r"It guesses \d+ of 40 right; a right model", report.message)
    wrong = misconception("capstone.VisionTransformer", "one-norm-twice").wrong
    message = check("capstone.VisionTransformer", wrong).message
    assert "The first layer that differs: the MLP of block 0." in message


def test_the_bug_shows_in_the_attention_of_block_0(test_images):
    images, labels, _ = test_images
    right, wrong = fashion_vit(), fashion_vit()
    broken = misconception("capstone.load", "square-matrices-not-turned").wrong
    broken(wrong.encoder, capstone.as_stored(right.encoder.state_dict()))
    with torch.no_grad():
        tokens = right.embedding(images[:20])
        assert right_on(wrong(images[:100]), labels[:100]) < 0.2
        ours, theirs = (m.encoder.blocks[0] for m in (right, wrong))
        assert torch.equal(ours.norm1(tokens), theirs.norm1(tokens))
        off = ours.attn(ours.norm1(tokens)) - theirs.attn(theirs.norm1(tokens))
    assert off.abs().max() > 1e-2


# The recorded line


def test_the_oracle_computes_what_onnxruntime_recorded():
    values = {n: v.double() for n, v in capstone.split(capstone.weights()).items()}
    text, off = outcome(
        lambda tokens: capstone.compute(
            tokens.double(), values.__getitem__, **capstone.TRAINED
        ).float()
    )
    assert text == TEXT
    assert off < 1e-4


@pytest.mark.parametrize("answer", bank.RIGHT_ENCODERS, ids=lambda x: x.__name__)
def test_every_right_design_takes_the_trained_weights(answer):
    encoder = trained(answer)
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


# The audit


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


def test_the_audit_is_optional():
    audit = ("verdicts", "divisor", "projections", "what_leaves")
    points = {e["id"]: e["points"] for e in catalogue() if e["id"].startswith("cap")}
    optional = {id for id, count in points.items() if not count}
    assert optional == {f"capstone.{name}" for name in audit}
    report = check("capstone.verdicts", {"input": "wrong"})
    assert (report.points, report.passed) == (0, False)
    assert report.heading.startswith("The audit: optional, not passed yet")


def test_a_title_that_asks_gets_no_colon():
    assert check("capstone.who_notices", None).heading.startswith(
        "Who notices? 0 of 2 points, "
    )
