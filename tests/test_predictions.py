"""Predictions: declared once, right and wrong ones true, heard however they are typed.

Wrong answers as students make them are in tests/bank/predictions.py.
"""

import copy
import json
import math
import re
from decimal import Decimal
from fractions import Fraction

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.bank import predictions as bank
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import vit_encoder
import vit_encoder.fast
from address import ROOT
from predictions import DeclarationError, judged, put_lists
from sources import SourceError, check_headings, read_all
from sync import generated_notebooks, version_of
from vit_encoder import Encoder, EncoderBlock, MultiHeadSelfAttention
from vit_encoder.check import catalogue, check, misconception, task
from vit_encoder.check.judging import oracle
from vit_encoder.check.looking_inside import rolled
from vit_encoder.check.predictions import (
    Choose,
    JudgeClaims,
    Mistake,
    PredictNumbers,
)
from vit_encoder.check.scaling_out import rank_indices
from vit_encoder.data import text_encoder
from vit_encoder.figures.scaling import ring_counts
from vit_encoder.grade.by_value import by_value

ENTRIES = {e["id"]: e for e in catalogue() if e["kind"] == "predict"}
TASKS = {id: task(id) for id in ENTRIES}


def of_type(kind):
    return [id for id, found in TASKS.items() if type(found) is kind]


CHOICES, NUMBERS, CLAIMS = map(of_type, (Choose, PredictNumbers, JudgeClaims))


def whole(id, numbers):
    """Numbers with the right one wherever a mistake leaves it right."""
    return [
        r if n is None else n for n, r in zip(numbers, TASKS[id].right, strict=True)
    ]


# Every declared answer


@pytest.mark.parametrize("id", CHOICES)
def test_every_wrong_choice_explains_itself(id):
    found = TASKS[id]
    right = check(id, found.right)
    assert (right.passed, right.message) == (True, found.because)
    names = {check(id, letter).misconceptions for letter in found.wrong}
    assert len(names) == len(found.wrong) >= 2
    for letter, wrong in found.wrong.items():
        report = check(id, letter)
        assert (report.points, report.passed) == (0, False)
        assert report.message == f"{wrong.seen}\nQuestion: {wrong.ask}"


@pytest.mark.parametrize("id", NUMBERS)
def test_wrong_numbers_explain_themselves(id):
    found = TASKS[id]
    assert check(id, list(found.right)).passed
    for numbers, wrong in found.wrong:
        report = check(id, whole(id, numbers))
        assert (report.points, report.misconceptions) == (0, (wrong.name,)), numbers
        assert f"{wrong.seen}\nQuestion: {wrong.ask}" in report.message
    for place, (name, ask) in enumerate(zip(found.names, found.asks, strict=True)):
        given = list(found.right)
        given[place] = 123456789
        message = check(id, given).message
        assert message.lower().startswith(f"{name} is not 123456789.".lower())
        assert message.endswith(f"Question: {ask}")


@pytest.mark.parametrize("id", CLAIMS)
def test_every_wrong_verdict_explains_itself(id):
    found = TASKS[id]
    right = {name: claim.verdict for name, claim in found.claims.items()}
    assert check(id, {n: f" {word.capitalize()}" for n, word in right.items()}).passed
    assert not check(id, dict.fromkeys(right, ...)).answered
    for name, claim in found.claims.items():
        assert set(claim.others) == set(found.words) - {claim.verdict}
        for word, why in claim.others.items():
            report = check(id, right | {name: word})
            assert report.misconceptions == (f"{name}-called-{word}",)
            assert not report.passed
            assert 0 < report.points < report.out_of or report.out_of == 0
            assert f"{name}: not {word}. {why}" in report.message
            assert f"Question: {claim.ask}" in report.message
        report = check(id, right | {name: ...})
        assert (report.passed, report.misconceptions) == (False, ())
        assert f"Not judged yet: {name}." in report.message


def mistakes(id):
    """All that is said of wrong answers to an exercise."""
    found = TASKS[id]
    if type(found) is Choose:
        return [*found.wrong.values()]
    if type(found) is PredictNumbers:
        return [wrong for _, wrong in found.wrong]
    return [
        Mistake("wrong-word", why, claim.ask)
        for claim in found.claims.values()
        for why in claim.others.values()
    ]


@pytest.mark.parametrize("id", ENTRIES)
def test_what_is_said_is_a_sentence_and_a_question(id):
    for wrong in mistakes(id):
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", wrong.name)
        assert wrong.seen.endswith(".")
        assert wrong.ask.endswith("?")


@pytest.mark.parametrize("id", NUMBERS)
def test_messages_do_not_tell_the_right_numbers(id):
    """But for those of one digit, which a text may hold for many reasons."""
    found = TASKS[id]
    text = section_of(id)
    for numbers, wrong in found.wrong:
        said = re.findall(r"\d+(?:\.\d+)?", f"{wrong.seen} {wrong.ask}")
        for given, right in zip(numbers, found.right, strict=True):
            if given is not None and abs(right) >= 10:
                assert f"{right:.10g}" not in said or f"{right:.10g}" in text


def section_of(id):
    """What a student reads of an exercise before the hints."""
    notebook = ENTRIES[id]["notebook"]
    cells = nbformat.read(ROOT / "exercises" / f"{notebook}.ipynb", 4).cells
    place = next(
        i for i, c in enumerate(cells) if c.metadata.get("exercise", {}).get("id") == id
    )
    return cells[place - 1].source.split("<details>")[0]


# What is right is right, and what a mistake leads to is what it leads to


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def tokens_of_an_image():
    images = torch.zeros(1, 3, 96, 160)
    _, patches, values = oracle.patchify(images, 16).shape
    # The course's part takes square images; what it adds to their patches is the same.
    tokens = vit_encoder.PatchEmbedding(96, 16, 3, 64)(images[..., :96])
    return [patches, values, patches + tokens.shape[1] - 36, tokens.shape[2]]


IN_MEMORY = torch.arange(48).view(1, 2, 4, 6)
PIECE = IN_MEMORY.reshape(1, 6, 8)[0, 1].tolist()


def second_row(cut):
    """Row 1 of the patches that a version cuts."""
    return cut(IN_MEMORY.double(), 2)[0, 1].tolist()


def one_query(attention):
    """What a version makes of the query, the keys and the values of the exercise."""
    q, k = torch.tensor([[1.0, 1, 0, 0]]), torch.zeros(2, 4)
    k[1, :2] = 1.0986
    output, weights = attention(q, k, torch.tensor([[4.0], [8.0]]))
    return [*weights.flatten().tolist(), *output.flatten().tolist()]


def costs(layer, products=(400, 400)):
    """Parameters of a version with 1 and 8 heads; products and weights as given."""
    return [count(layer(16, 1)), count(layer(16, 8)), *products, 25, 200]


def right_costs():
    """Counted on the tensors: (h, N, D_h) queries and keys, (h, N, N) scores."""
    heads = [vit_encoder.split_heads(torch.zeros(1, 5, 16), h)[0] for h in (1, 8)]
    products = [(q[:, :, None] * q[:, None]).numel() for q in heads]
    return costs(MultiHeadSelfAttention, products)[:4] + [
        (q @ q.mT).numel() for q in heads
    ]


def by_hand(version):
    """The first and the last feature that a version makes of the token."""
    x = torch.tensor([[-2.0, 3, 3, 3, 3]], dtype=torch.float64)
    gain, bias = torch.full((5,), 3.0), torch.full((5,), 10.0)
    output = version(x, gain.double(), bias.double(), 1e-6)[0].tolist()
    return [output[0], output[-1]]


def silent_blocks():
    """The first feature behind two norms that nothing was added between, or none."""
    x = torch.tensor([7.0, 3, 7, 3])

    def norm(x):
        return F.layer_norm(x, (4,), torch.full((4,), 3.0), torch.ones(4))

    return [x[0].item(), norm(norm(x))[0].item()]


def silent_encoder():
    encoder = Encoder(3, 4, 2, 16)
    for block in encoder.blocks:
        for part in (block.attn.proj, block.mlp.fc2):
            for parameter in part.parameters():
                parameter.data.zero_()
    with torch.no_grad():
        y = encoder(torch.tensor([[[1.0, 1, 5, 5], [10, 10, 50, 50]]]))[0]
    return y[:, [0, -1]].flatten().tolist()


def parts_of(block):
    return [count(block.attn), count(block.mlp), count(block.norm1, block.norm2)]


def share_of_the_mlp():
    block = EncoderBlock(5, 1, 20)
    assert (count(block.attn), count(block.norm1, block.norm2)) == (120, 20)
    mlp = block.mlp
    return [count(mlp.fc1), count(mlp.fc2), count(mlp) / count(block)]


def large_encoder():
    with torch.device("meta"):
        encoder = Encoder(8, 512, 8, 2048)
    return [count(encoder.blocks[0]), count(encoder)]


def text_encoder_counts():
    encoder = text_encoder()
    return [count(encoder.blocks[0].attn), count(encoder.blocks[0].mlp), count(encoder)]


def a_run(progress=None, target=None, fall=None):
    """The five numbers of a run, with another progress, target, or shape of the fall.

    progress: step → the part of the fall that is over. target: of the right class and
    of each other one. fall: progress → factor.
    """
    model = vit_encoder.VisionTransformer(4, 2, 1, 37, 1, 4, 2, 6)
    for parameter in model.head.parameters():
        torch.nn.init.zeros_(parameter)
    first = F.cross_entropy(model(torch.randn(128, 1, 4, 4)), torch.arange(128) % 37)
    epoch = len(torch.arange(3680).split(128)) - 1
    factors = [vit_encoder.warm_up_cosine(t, 100, 25 * epoch) for t in (400, 550)]
    if progress or fall:
        fall = fall or (lambda part: 0.5 * (1 + math.cos(math.pi * part)))
        progress = progress or (lambda t: (t - 100) / 600)
        factors = [fall(progress(t)) for t in (400, 550)]
    right, other = target or (0.9 + 0.1 / 37, 0.1 / 37)
    p = torch.tensor([right, *[other] * 36], dtype=torch.float64)
    if not target:
        least = F.cross_entropy(p.log()[None], torch.tensor([0]), label_smoothing=0.1)
    else:
        least = -(p * p.log()).sum()
    return [first.item(), epoch, *factors, least.item()]


def row_of_six():
    """Three positions in a row of a grid, stretched to six in both ways."""
    places = torch.tensor([0.0, 6, 12]).repeat(3).view(1, 9, 1)
    return [
        x
        for align_corners in (False, True)
        for x in vit_encoder.interpolate_positions(
            places, (1, 6), 0, "bilinear", False, align_corners
        )
        .flatten()
        .tolist()
    ]


def learned(rank=2, depth=4):
    """What a probe learns, and what LoRA does."""
    head, encoder = nn.Linear(20, 5), Encoder(depth, 20, 4, 40).requires_grad_(False)
    for block in encoder.blocks:
        for name in ("qkv", "proj"):
            layer = getattr(block.attn, name)
            setattr(block.attn, name, vit_encoder.LoRALinear(layer, rank, 1.0))
    new = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    return [count(head), new + count(head)]


def on_paper(version):
    """The share of input token 1 in output token 0, without the identity and with."""
    layers = [[0.4, 0.6], [0.1, 0.9]], [[0.2, 0.8], [0.7, 0.3]]
    maps = torch.tensor(layers, dtype=torch.float64)[:, None, None]
    return [version(maps, share)[0, 0, 1].item() for share in (0.0, 0.5)]


def work_of_a_block(proj=4, mlp=8, products=2, heads=1.0, flops=2):
    """FLOPs of a block 32 wide for 40 and 80 tokens, and where attention takes half.

    proj, mlp: how many D × D matrices. products: of attention. heads: how often these.
    """
    matrices, maps = flops * (proj + mlp) * 32**2, flops * products * heads * 32
    return [n * matrices + n**2 * maps for n in (40, 80)] + [matrices / (maps or 1)]


def counted_block():
    """The same, counted by PyTorch while a block runs."""
    found = []
    for tokens in (40, 80, 192):
        x = torch.zeros(1, tokens, 32)
        block = EncoderBlock(32, 4, 128)
        with FlopCounterMode(display=False) as counter:
            block(x)
        found.append(counter.get_total_flops())
    assert found[2] == 2 * (4 * 192**2 * 32)  # as much for attention as for the rest
    return [*found[:2], 192]


def bound(weight=4, flops=2, number=4, tokens=(1, 1000), when=max):
    """Milliseconds of a layer from 1000 to 1000 features, for both counts of tokens."""
    return [
        when(
            1e3 * flops * n * 1e6 / 100e9,
            1e3 * (weight * 1e6 + number * 2 * n * 1e3) / 10e9,
        )
        for n in tokens
    ]


def layer_bound(**how):
    """The four numbers, with weights of 4 bytes and of 1 byte."""
    return bound(4, **how) + bound(1, **how)


def a_cluster(machines=6, gpus=4, passes=3, numbers=4, padded=True):
    """Images, repeats, memory and traffic of a cluster, from what each rank does."""
    ranks, order = machines * gpus, torch.arange(50_003)
    if not padded:
        order = order[: len(order) // ranks * ranks]
    shares = [rank_indices(order, rank, ranks) for rank in range(ranks)]
    read = torch.cat(shares)
    sent = sum(8 / ranks for _ in ring_counts(ranks)[1:])  # MB: a piece in each round
    return [
        ranks * 20 * passes,
        len(shares[-1]),
        len(read) - len(read.unique()),
        2e6 * 4 * numbers / 1e6,
        ranks,
        sent,
    ]


RIGHT = {
    "patches.count_tokens": tokens_of_an_image,
    "patches.rows_in_memory": lambda: [*PIECE, *second_row(oracle.patchify)],
    "self_attention.one_query": lambda: one_query(oracle.exact),
    "multi_head.costs": right_costs,
    "layer_norm.by_hand": lambda: by_hand(oracle.layer_norm),
    "mlp.parameters": share_of_the_mlp,
    "encoder_block.silent": silent_blocks,
    "encoder_block.parameters": lambda: parts_of(EncoderBlock(10, 5, 40)),
    "encoder.count": large_encoder,
    "encoder.silent": silent_encoder,
    "training.a_run": a_run,
    "real_weights.edges": row_of_six,
    "real_weights.learned": learned,
    "capstone.parameters": text_encoder_counts,
    "looking_inside.on_paper": lambda: on_paper(rolled),
    "fast.flops": counted_block,
    "fast.bound": layer_bound,
    "scaling_out.a_cluster": a_cluster,
}


@pytest.mark.parametrize("id", NUMBERS)
def test_the_right_numbers_are_computed(id):
    assert list(TASKS[id].right) == pytest.approx(RIGHT[id](), abs=1e-4)


LED = [  # exercise, part, what a version of it leads to, its misconceptions
    (
        "patches.rows_in_memory",
        "patches.patchify",
        lambda cut: [*PIECE, *second_row(cut)],
        "bare-reshape column-by-column patches-transposed channels-last "
        "channels-not-moved pixels-spread image-turned",
    ),
    (
        "self_attention.one_query",
        "self_attention.attention",
        one_query,
        "no-scale divided-by-width multiplied-by-root divided-by-key-count "
        "scaled-after-softmax softmax-over-queries exponential-not-normalized "
        "normalized-without-exponential no-softmax",
    ),
    (
        "multi_head.costs",
        "multi_head.MultiHeadSelfAttention",
        costs,
        "token-sliced one-head-repeated",
    ),
    (
        "layer_norm.by_hand",
        "layer_norm.layer_norm",
        by_hand,
        "unbiased-variance divided-by-variance squared-instead-of-root "
        "root-of-deviation multiplied-by-deviation squares-not-averaged spread-kept "
        "mean-not-subtracted mean-kept gain-added bias-multiplied "
        "gain-and-bias-swapped gain-forgotten bias-forgotten no-gain-and-bias "
        "bias-stretched",
    ),
    (
        "looking_inside.on_paper",
        "looking_inside.rollout",
        on_paper,
        "first-layer-last last-layer-alone result-transposed layers-averaged "
        "multiplied-entry-by-entry",
    ),
]


@pytest.mark.parametrize(
    ("id", "part", "numbers", "name"),
    [
        pytest.param(*row, name, id=f"{row[0]}-{name}")
        for *row, names in LED
        for name in names.split()
    ],
)
def test_a_misconception_leads_to_the_declared_numbers(id, part, numbers, name):
    led = numbers(misconception(part, name).wrong)
    assert pytest.approx(led, abs=1e-4) in declared(id, name)


CLUSTERS = {  # mistake → its cluster, and the places of the numbers that it changes
    "accumulation-forgotten": (a_cluster(passes=1), [0]),
    "accumulation-divides": (a_cluster(passes=1 / 3), [0]),
    "machines-for-ranks": (a_cluster(gpus=1), [0, 1, 4, 5]),
    "one-machine-counted": (a_cluster(machines=1), [0, 1, 4, 5]),
    "rest-left-out": (a_cluster(padded=False), [1, 2]),
    "parameters-alone": (a_cluster(numbers=1), [3]),
    "no-optimizer": (a_cluster(numbers=2), [3]),
    "one-of-four-missing": (a_cluster(numbers=3), [3]),
    "sent-in-every-pass": ([0] * 5 + [3 * a_cluster()[5]], [5]),
    "sharded-already": ([0] * 3 + [a_cluster()[3] / a_cluster()[4]], [3]),
    "mebibytes": ([a_cluster()[i] / 1.048576 for i in range(6)], [3, 5]),
}


@pytest.mark.parametrize("name", CLUSTERS)
def test_another_cluster_gives_the_declared_numbers(name):
    numbers, places = CLUSTERS[name]
    right = list(TASKS["scaling_out.a_cluster"].right)
    for place in places:
        wrong = [*right[:place], numbers[place], *right[place + 1 :]]
        assert pytest.approx(wrong, abs=1e-3) in declared("scaling_out.a_cluster", name)


def declared(id, name):
    """The numbers that the source declares for a mistake."""
    return [whole(id, n) for n, wrong in TASKS[id].wrong if wrong.name == name]


def sizes(fc1, fc2, rest=140):
    """The parameters of both layers, and their share beside the rest of a block."""
    return [fc1, fc2, (fc1 + fc2) / (fc1 + fc2 + rest)]


def counted(matrices=12, vectors=13, final=2, depth=8, dim=512):
    """Parameters of a block and an encoder, from how many D² and D are in them."""
    block = matrices * dim**2 + vectors * dim
    return [block, depth * block + final * dim]


def text_counted(attention=58080, mlp=57960, norms=480, final=240, depth=2):
    """Parameters of the capstone's encoder, from those of its parts."""
    return [attention, mlp, depth * (attention + mlp + norms) + final]


def heads_of_full_width(dim, heads):
    """The four projections, where each head is as wide as a token."""
    ways = [(dim, heads * dim)] * 3 + [(heads * dim, dim)]
    return torch.nn.ModuleList(torch.nn.Linear(*way) for way in ways)


def over_all(*numbers):
    """What a LayerNorm makes of all numbers together."""
    x = torch.tensor(numbers, dtype=torch.float64)
    return ((x - x.mean()) / x.std(correction=0)).tolist()


ROOT_3_4, ROOT_13 = math.sqrt(3 / 4), math.sqrt(13)
COUNTED = {
    "multi_head.costs": {
        "more-heads-cost-more": costs(heads_of_full_width, (400, 3200)),
        "one-head-counted": costs(MultiHeadSelfAttention, (400, 50)),
    },
    "mlp.parameters": {
        "two-thirds-everywhere": [120, 105, 2 / 3],
        "norms-forgotten": sizes(120, 105, rest=120),
        "ratio-for-share": [120, 105, 225 / 120],
        "no-biases": sizes(100, 100),
        "layers-swapped": sizes(105, 120),
        "bias-as-wide-as-input": sizes(105, 105),
        "bias-as-wide-as-hidden": sizes(120, 120),
        "hidden-width-ignored": sizes(30, 30),
        "two-biases": sizes(125, 125),
        "bias-of-one-number": sizes(101, 101),
        "attention-forgotten": sizes(120, 105, rest=20),
        "share-of-the-rest": [120, 105, 140 / 365],
        "share-turned-round": [120, 105, 365 / 225],
        "share-of-one-layer": [120, 105, 120 / 365],
    },
    "encoder.count": {
        "final-norm-not-counted": counted(final=0),
        "norm-without-bias": counted(final=1),
        "blocks-share-parameters": counted(depth=1),
        "only-matrices-counted": counted(vectors=0, final=0),
        "linear-biases-not-counted": counted(vectors=4),
        "block-norms-not-counted": counted(vectors=9),
        "one-norm-a-block": counted(vectors=11),
        "output-projection-not-counted": counted(matrices=11, vectors=12),
        "heads-multiply-parameters": counted(matrices=4 * 8 + 8, vectors=4 * 8 + 9),
        "biases-too-short": counted(vectors=10),
        "hidden-width-ignored": counted(matrices=6, vectors=10),
        "one-mlp-layer": counted(matrices=8, vectors=12),
        "one-projection-for-three": counted(matrices=10, vectors=11),
        "final-norm-in-every-block": counted(final=16),
        "another-depth": counted(depth=12),
        "another-model": counted(depth=12, dim=768),
    },
    "encoder.silent": {
        "sample-variance": [-ROOT_3_4, ROOT_3_4] * 2,
        "mean-left-in": [1 / ROOT_13, 5 / ROOT_13] * 2,
        "normalized-over-all-tokens": [
            over_all(1, 1, 5, 5, 10, 10, 50, 50)[i] for i in (0, 3, 4, 7)
        ],
    },
    "training.a_run": {
        "cosine-from-step-0": a_run(progress=lambda t: t / 700),
        "divided-by-all-steps": a_run(progress=lambda t: (t - 100) / 700),
        "straight-line": a_run(fall=lambda part: 1 - part),
        "whole-wave": a_run(fall=lambda part: math.cos(math.pi * part)),
        "quarter-wave": a_run(fall=lambda part: math.cos(math.pi / 2 * part)),
        "down-and-up": a_run(fall=lambda part: math.sin(math.pi / 2 * part) ** 2),
        "others-share-alone": a_run(target=(0.9, 0.1 / 36)),
    },
    "real_weights.learned": {
        "one-block": learned(depth=1),
        "rank-one": learned(rank=1),
    },
    "fast.flops": {
        "multiply-adds-counted": work_of_a_block(flops=1),
        "one-product-of-attention": work_of_a_block(products=1),
        "heads-of-full-width": work_of_a_block(heads=4),
        "one-head-counted": work_of_a_block(heads=1 / 4),
        "mlp-forgotten": work_of_a_block(mlp=0),
        "hidden-width-ignored": work_of_a_block(mlp=2),
        "output-projection-forgotten": work_of_a_block(proj=3),
        "one-projection-for-three": work_of_a_block(proj=2),
        "attention-products-alone": [*work_of_a_block(proj=0, mlp=0)[:2], 192],
        "attention-products-forgotten": [*work_of_a_block(products=0)[:2], 192],
        "projections-left-out": work_of_a_block()[:2] + work_of_a_block(proj=0)[2:],
    },
    "fast.bound": {
        "faster-of-the-two": layer_bound(when=min),
        "both-added": layer_bound(when=lambda *both: sum(both)),
        "computing-alone": layer_bound(when=lambda computing, _: computing),
        "moving-alone": layer_bound(when=lambda _, moving: moving),
        "multiply-adds-counted": layer_bound(flops=1),
        "int8-changes-nothing": bound() * 2,
        "stored-as-float32-again": [*bound()[:1], 20, *bound(1 + 4)[:1], 20],
    },
    "capstone.parameters": {
        "mlp-of-vit": text_counted(mlp=2 * 120 * 480 + 480 + 120),
        "norms-left-out": text_counted(norms=0, final=0),
        "final-norm-left-out": text_counted(final=0),
        "one-block": text_counted(depth=1),
        "no-output-projection": text_counted(attention=3 * (120**2 + 120)),
        "heads-of-full-width": text_counted(attention=8 * 58080),
        "one-norm-a-block": text_counted(norms=240),
        "norms-without-biases": text_counted(norms=240, final=120),
        "bias-as-wide-as-hidden": text_counted(mlp=2 * 120 * 240 + 2 * 240),
        "bias-as-wide-as-input": text_counted(mlp=2 * 120 * 240 + 2 * 120),
        "another-depth": text_counted(depth=12),
    },
}


@pytest.mark.parametrize(
    ("id", "name"), [(id, name) for id, names in COUNTED.items() for name in names]
)
def test_a_mistake_leads_to_the_declared_numbers(id, name):
    assert pytest.approx(COUNTED[id][name], abs=0.006) in declared(id, name)


@pytest.mark.parametrize(
    ("name", "number"),
    [("identity-added", 2.24), ("identity-left-out", 0.84)],
)
def test_a_rollout_with_another_identity(name, number):
    wrong = misconception("looking_inside.rollout", name).wrong
    assert on_paper(wrong)[1] == pytest.approx(number)
    assert pytest.approx([0.84, number]) in declared("looking_inside.on_paper", name)


def test_entropy_without_the_scale():
    generator = torch.Generator().manual_seed(0)
    measured = []
    for width in (4, 64, 1024):
        q = torch.randn(2000, width, generator=generator)
        k = torch.randn(197, width, generator=generator)
        p = (q @ k.T).softmax(-1)
        measured.append(-(p * p.clamp_min(1e-30).log()).sum(-1).mean().item())
    assert measured == pytest.approx([3.8, 0.7, 0.15], abs=0.05)
    assert math.log(197) == pytest.approx(5.28, abs=0.005)
    assert right_text(ENTROPY) == "about 3.8, 0.7 and 0.15 nats"


def right_text(id):
    """The text of the right choice."""
    return TASKS[id].choices[TASKS[id].right]


def test_one_tolerance_tells_three_formulas_apart():
    x = torch.linspace(-6, 6, 10_001)
    versions = (
        x * torch.special.ndtr(x),
        F.gelu(x, approximate="tanh"),
        x * torch.sigmoid(1.702 * x),
    )
    off = [(version - F.gelu(x)).abs().max().item() for version in versions]
    passing = {
        tolerance: [difference < float(tolerance) for difference in off]
        for tolerance in TASKS["mlp.tolerance"].choices.values()
    }
    assert passing == {
        "1e-1": [True, True, True],
        "1e-3": [True, True, False],
        "1e-5": [True, False, False],
        "1e-10": [False, False, False],
    }
    assert right_text("mlp.tolerance") == "1e-5"


def test_shifted_stretched_negated():
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).double()
    gain, bias = torch.tensor([[1.0, -2, 3, 0, 1], [2, 0, -1, 5, 1]]).double()
    turned = oracle.layer_norm(3 - 2 * x, gain, bias, 1e-12)
    y = oracle.layer_norm(x, gain, bias, 1e-12)
    torch.testing.assert_close(turned, 2 * bias - y)
    assert right_text("layer_norm.shifted") == r"$2\beta - y$"


def test_what_is_said_about_layer_norm():
    """In evaluation one image changes no other, in training BatchNorm lets it."""
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    changed = torch.cat([x[:2], x[2:] + 1])
    both = layer, _ = nn.LayerNorm(5), nn.BatchNorm1d(5)
    with torch.no_grad():
        layer.weight.fill_(3)  # the output has another spread than 1

    def kept(norm):
        outputs = (norm(z.flatten(0, 1)).unflatten(0, (3, 4))[:2] for z in (x, changed))
        return torch.equal(*outputs)

    modes = [[kept(norm.train(mode)) for mode in (True, False)] for norm in both]
    assert modes == [[True, True], [False, True]]
    assert layer(x).std(-1, correction=0).mean() > 2.9
    assert right_text("layer_norm.claim").startswith("In evaluation, neither")


def test_one_number_changes_every_row_of_every_head():
    torch.manual_seed(0)
    layer, x = MultiHeadSelfAttention(12, 3), torch.randn(1, 7, 12)
    changed = x.clone()
    changed[0, 2, 0] += 1
    heads = []
    for tokens in (x, changed):
        parts = layer.qkv(tokens).chunk(3, dim=-1)
        split = (vit_encoder.split_heads(part, 3) for part in parts)
        heads.append(vit_encoder.attention(*split)[0])
    assert ((heads[0] - heads[1]).abs().amax(-1) > 0).all()
    assert right_text("multi_head.one_number") == "all rows of $Y_0$, $Y_1$ and $Y_2$"


def test_shuffled_patches():
    torch.manual_seed(0)
    encoder = Encoder(2, 12, 3, 20).eval()
    tokens, rows = torch.randn(1, 9, 12), torch.randn(1, 2, 12)
    places = torch.cat([torch.zeros(1, 1, 12), rows.repeat_interleave(4, 1)], 1)
    order = [0, 3, 1, 2, 4, 7, 8, 6, 5]  # token 0 is the class token; 4 patches a row

    def leaving(tokens):
        return encoder(tokens + places)

    torch.testing.assert_close(leaving(tokens[:, order]), leaving(tokens)[:, order])
    other_rows = [0, 5, 6, 7, 8, 1, 2, 3, 4]
    moved = leaving(tokens[:, other_rows]) - leaving(tokens)[:, other_rows]
    assert moved[:, 0].abs().max() > 0.01
    text = right_text("patches.shuffled_patches")
    assert "The outputs of the patches are the same vectors, in the new order." in text


def test_only_queries_that_are_divided_first_fit_float16():
    q = torch.full((1, 16), 90.0, dtype=torch.float16)
    k = torch.stack([q[0], -q[0] / 8])
    v = torch.tensor([[1.0], [2]], dtype=torch.float16)
    scores = q @ k.mT
    assert scores[0, 0].isinf()
    late = (scores - scores.amax(-1, keepdim=True)) / 4
    ways = {
        "A": late.softmax(-1) @ v,
        "B": (scores.float() / 4).softmax(-1) @ v.float(),
        "C": ((q / 4) @ k.mT).softmax(-1) @ v,
        "D": vit_encoder.fast.online_attention(q, k, v, 1),
    }
    assert [w for w, output in ways.items() if output.isfinite().all()] == ["C"]
    assert ways["C"].item() == 1
    assert TASKS["fast.float16"].right == "C"
    assert (q / 4 @ k.mT).max() == 32400


def test_what_stays_the_same():
    """Each claim on a small ViT with random weights, in float64."""
    torch.manual_seed(0)
    model = vit_encoder.VisionTransformer(8, 2, 1, 5, 3, 12, 3, 20).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    blocks, images = model.encoder.blocks, torch.randn(2, 1, 8, 8).double()
    x = model.embedding(images)

    def class_token(*queries):
        tokens = x
        for block, wanted in zip(blocks, queries, strict=True):
            tokens = vit_encoder.fast.run_block(block, tokens, wanted)
        return model.encoder.norm(tokens)[:, 0]

    right = model.encoder(x)[:, 0]
    q, k, v = torch.randn(3, 2, 200, 6).double()
    whole = vit_encoder.attention(q, k, v)[0]
    tiled = vit_encoder.fast.online_attention(q, k, v, 64)
    found = {
        "tiles": torch.allclose(tiled, whole),
        "last": torch.allclose(class_token(None, None, 1), right),
        "two": torch.allclose(class_token(None, 1, 1), right),
        "checkpoint": gradients_are_equal(model.encoder, x.detach()),
    }
    with torch.no_grad():
        blocks[0].attn.qkv.bias[12:24] = 0
        found["biases"] = torch.allclose(model.encoder(x)[:, 0], right)
        W, b = blocks[0].attn.qkv.weight[:12], blocks[0].attn.qkv.bias[:12]
        q, divided = F.linear(x, W, b), F.linear(x, W / 2, b / 2)  # D_h = 4
        scores = [q[..., :4] @ x[..., :4].mT / 2, divided[..., :4] @ x[..., :4].mT]
        found["scale"] = torch.allclose(*scores)
        levels, scale = vit_encoder.fast.quantize_rows(blocks[0].mlp.fc1.weight)
        blocks[0].mlp.fc1.weight.copy_(levels * scale)
        other = model.encoder(x)[:, 0]
    found["int8"] = torch.allclose(other, right, rtol=1e-5, atol=1e-5)
    z = torch.linspace(-6, 6, 10_001)
    off = (F.gelu(z, approximate="tanh") - F.gelu(z)).abs().max().item()
    assert off == pytest.approx(4.7e-4, abs=1e-5)
    found["tanh"] = off < 1e-6
    said = {
        n: claim.verdict == "same" for n, claim in TASKS["fast.same"].claims.items()
    }
    assert found == said


def gradients_are_equal(encoder, x):
    """With the inside of each block computed twice, and once."""
    x = x.requires_grad_()
    found = [
        torch.autograd.grad(
            vit_encoder.fast.encode(encoder, x, checkpointing=twice).square().sum(),
            [x, *encoder.parameters()],
        )
        for twice in (True, False)
    ]
    return all(map(torch.allclose, *found))


def test_a_larger_image_takes_4_and_a_half_times_as_much():
    def flops(tokens, dim=768):
        return 24 * tokens * dim**2 + 4 * tokens**2 * dim

    assert flops(785) / flops(197) == pytest.approx(4.47, abs=0.005)
    assert right_text("encoder.larger_image") == "about 4.5 times"
    assert "4.47 times" in TASKS["encoder.larger_image"].because


# However they are typed

ONE_QUERY, ENTROPY = "self_attention.one_query", "self_attention.entropy"
AUDIT = "capstone.verdicts"
AUDITED = {name: claim.verdict for name, claim in TASKS[AUDIT].claims.items()}


@pytest.mark.parametrize(
    "answer",
    [
        [0.25, 0.75, 7],
        ((0.252, 0.748), 7.0),
        ["0.25", "0.75", "7"],
        "0.25, 0.75, 7",
        "[0.25 0.75 7.0]",
        ["25 %", "75%", 7],
        ["1/4", " 3 / 4 ", "７"],
        {"key 0": 0.25, "key 1": 0.75, "output": 7},
        [Fraction(1, 4), Fraction(3, 4), Decimal(7)],
        np.array([0.25, 0.75, 7]),
        np.array(["0.25", "0.75", "7"]),
        [np.float32(0.25), np.array([0.75]), np.int8(7)],
        torch.tensor([0.25, 0.75, 7.0], requires_grad=True),
        torch.tensor([0.25, 0.75, 7.0], dtype=torch.bfloat16),
        [torch.tensor(0.25), torch.tensor([[0.75]]), 7],
    ],
    ids=repr,
)
def test_numbers_are_read(answer):
    assert check(ONE_QUERY, answer).passed


class Spiteful:
    """An object that raises what no `except Exception` catches."""

    def __iter__(self):
        raise SystemExit

    __float__ = __repr__ = __iter__


class SpitefulText(str):
    def __str__(self):
        raise SystemExit

    __repr__ = __str__


HOLDS_ITSELF = []
HOLDS_ITSELF.append(HOLDS_ITSELF)
ODD = {
    "a word": ("many", "not the text 'many'."),
    "a word among numbers": ([0.25, "many", 7], "key 1 is the text 'many'."),
    "division by 0": ("1/0", "not the text '1/0'."),
    "empty text": (["", "", ""], "The weight of key 0 is the text ''."),
    "too few": ([0.25, 7], "not 2 of them. They are: the weight of key 0, the"),
    "none": ([], "not 0 of them."),
    "one number": (7.0, "not 1 of them."),
    "an output as a vector": ([0.25, 0.75, [1, 6]], "not 4 of them."),
    "decimal commas": ([0, 25, 0, 75, 7], "A comma inside a number makes two of it"),
    "decimal commas in a text": ("0,25; 0,75; 7", "A comma inside a number"),
    "half open": ([0.25, ..., 7], "Still open: the weight of key 1."),
    "half none": ([0.25, None, 7], "Still open: the weight of key 1."),
    "a truth": ([True, 0.75, 7], "The weight of key 0 is True."),
    "a tensor of truths": (torch.tensor([True, True, True]), "not True."),
    "complex": ([0.25 + 0j, 0.75, 7], "The weight of key 0 is (0.25+0j)."),
    "nan": ([0.25, float("nan"), 7], "The weight of key 1 is nan."),
    "infinite": ([0.25, 0.75, -math.inf], "The output is -inf."),
    "huge": ([10**400, 0.75, 7], "key 0 is larger than any number in float64."),
    "a set": ({0.25, 0.75, 7}, "not a set, which has no order."),
    "a generator": ((x for x in (0.25, 0.75, 7)), "which can be read only once."),
    "without data": (torch.ones(3, device="meta"), "numbers cannot be read."),
    "sparse": (torch.ones(3).to_sparse(), "numbers cannot be read."),
    "endless": (torch.ones(1).expand(10**12), "with 1000000000000 entries."),
    "long": (range(10**12), "not more than 1000."),
    "holds itself": (HOLDS_ITSELF, "is in more than 9 lists."),
    "a function": (lambda: [0.25, 0.75, 7], "not the function <lambda>."),
    "a class": (list, "not the class list."),
    "spiteful": (Spiteful(), "SystemExit"),
    "spiteful inside": ([Spiteful()] * 3, "SystemExit"),
    "spiteful text": (SpitefulText("many"), "SystemExit"),
}


@pytest.mark.parametrize(("answer", "text"), ODD.values(), ids=ODD)
def test_what_is_no_number_is_told(answer, text):
    report = check(ONE_QUERY, answer)
    assert text in report.message
    assert (report.points, report.passed) == (0, False)


@pytest.mark.parametrize("id", ["encoder.count", "capstone.parameters"])
def test_commas_in_large_numbers_are_told(id):
    given = [int(part) for n in TASKS[id].right for part in f"{n:,.0f}".split(",")]
    assert "A comma inside a number" in check(id, given).message


LETTERS = [
    *("B", "b", " b ", "Ｂ", "ｂ", "B)", "(B)", "b.", "B:", "*B*", '"B"', "B!"),
    *("choice B", "Choice b.", "Answer: B", "option b", "letter B"),
    *("В", "Β", "Ⓑ"),  # Cyrillic, Greek, in a circle
    *(["B"], ("b",), {"B"}, np.str_("B")),
    "about 3.8, 0.7 and 0.15 nats",
    "B: about 3.8, 0.7 and 0.15 nats",
]


@pytest.mark.parametrize("answer", LETTERS, ids=repr)
def test_a_letter_is_read(answer):
    assert check(ENTROPY, answer).passed


@pytest.mark.parametrize("id", CHOICES)
def test_the_text_of_a_choice_is_read_as_its_letter(id):
    for letter, text in TASKS[id].choices.items():
        plain = re.sub(r"[$`]", "", text)
        for typed in (text, text.upper(), plain, f"{letter}. {plain}"):
            assert check(id, typed) == check(id, letter)


NO_LETTERS = {
    "Z": "There is no choice Z.",
    "": "and nothing else. You gave ''.",
    "AB": "You gave 'AB'.",
    "A or B": "You gave 'A or B'.",
    "2": "You gave '2'.",
    "B because softmax saturates": "You gave 'B because softmax saturates'.",
    2: "not an object of type int.",
    1e-5: "not an object of type float.",
    b"B": "not an object of type bytes.",
    ("A", "B"): "not an object of type tuple.",
    len: "not an object of type builtin_function_or_method.",
}


@pytest.mark.parametrize(("answer", "text"), NO_LETTERS.items(), ids=repr)
def test_what_is_no_letter_is_told(answer, text):
    report = check(ENTROPY, answer)
    assert report.message.startswith("Give one of the letters A, B, C, D in quotes")
    assert text in report.message
    assert (report.points, report.misconceptions) == (0, ("wrong-kind",))


@pytest.mark.parametrize(
    "answer",
    [
        {name.upper(): f"{word.title()}." for name, word in AUDITED.items()},
        {f" {name}": word.replace("r", "ｒ") for name, word in AUDITED.items()},
        dict(reversed(AUDITED.items())),
    ],
)
def test_words_are_read(answer):
    assert check(AUDIT, answer).passed


NO_WORDS = {
    "unknown claim": (AUDITED | {"inputs": "wrong"}, "No claim is called 'inputs'."),
    "number for a claim": ({1: "right"}, "No claim is called 1. The keys are input,"),
    "synonym": (AUDITED | {"block": "unclear"}, "For block, give one of the words"),
    "truth": (AUDITED | {"input": False}, "not False."),
    "list of one": (AUDITED | {"input": ["wrong"]}, "not ['wrong']."),
    "empty": (AUDITED | {"input": ""}, "not ''."),
    "list": (list(AUDITED.values()), "with the keys input, formula, block,"),
    "text": (str(AUDITED), "not an object of type str."),
    "spiteful": (AUDITED | {"input": Spiteful()}, "SystemExit"),
}


@pytest.mark.parametrize(("answer", "text"), NO_WORDS.values(), ids=NO_WORDS)
def test_what_is_no_word_is_told(answer, text):
    report = check(AUDIT, answer)
    assert text in report.message
    assert (report.points, report.passed) == (0, False)


def test_a_claim_that_is_left_out_costs_its_own_points():
    claims = TASKS["capstone.who_notices"].claims
    words = {name: claim.verdict for name, claim in claims.items()}
    del words["mean"], words["depth"]
    report = check("capstone.who_notices", words)
    assert (report.points, report.message) == (1, "Not judged yet: depth, mean.")


@pytest.mark.parametrize("id", ENTRIES)
@pytest.mark.parametrize("answer", [None, ...], ids=repr)
def test_stubs_are_not_answered_yet(id, answer):
    report = check(id, answer)
    assert (report.points, report.answered, report.misconceptions) == (0, False, ())
    assert report.message.startswith("Not answered yet")


@pytest.mark.parametrize("id", NUMBERS)
def test_a_list_of_stubs_is_not_answered_yet(id):
    assert not check(id, [...] * len(TASKS[id].right)).answered
    assert not check(id, [[..., ...], ...]).answered


# Wrong numbers as students make them


@pytest.mark.parametrize(
    ("id", "names", "answer"),
    [
        pytest.param(id, tuple(names.split()), answer, id=f"{id}-{answer}")
        for id, found in bank.NUMBERS.items()
        for names, answers in found.items()
        for answer in answers
    ],
)
def test_wrong_numbers_get_their_names(id, names, answer):
    report = check(id, answer)
    assert (report.points, report.misconceptions) == (0, names), report.message
    assert report.answered


def test_each_task_has_wrong_numbers_in_the_bank():
    assert sorted(bank.NUMBERS) == sorted(NUMBERS)
    for found in bank.NUMBERS.values():
        assert sum(map(len, found.values())) >= 20


def test_a_mistake_in_one_number_is_told_with_it():
    message = check("encoder_block.parameters", [440, 800, 40]).message
    assert message.startswith("800: These are the weights alone.\nQuestion: ")
    _, _, also = check("encoder_block.parameters", [330, 850, 20]).message.splitlines()
    assert also.startswith("Also seen: 20: 20 is what one LayerNorm learns")


SLIPS = {
    "shifted": ([58080, 57960, 233.28], "Its digits are right, its decimal point is"),
    "too-coarse": ([58080, 57960, 233000], "It needs more digits."),
    "close": ([58080, 57960, 233281], "It is close, off by less than 3 %."),
    "sign": ([58080, 57960, -233280], "Its size is right, its sign is not."),
    "several-times": ([58080, 57960, 466560], "Something is counted more than once."),
    "a-part-of-it": ([58080, 57960, 58320], "Something is left out."),
    "another-order": ([233280, 58080, 57960], "in another order. They are: the number"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_slips_are_told(name):
    answer, text = SLIPS[name]
    report = check("capstone.parameters", answer)
    assert report.misconceptions == (name,)
    assert text in report.message


# One declaration, and who may know what

# To read the sources takes a second: one process reads them, for these tests alone.
reads_sources = pytest.mark.xdist_group("sources")


@pytest.fixture(scope="module")
def sources(address):
    return read_all(address)


@pytest.fixture(scope="module")
def cells(sources):
    """An exercise's id → its cell."""
    return {
        cell.metadata["exercise"]["id"]: cell
        for source in sources
        for cell in source.cells("exercise")
    }


def secrets(id):
    """Texts that tell what is right, or why something is wrong."""
    told = [wrong.seen for wrong in mistakes(id)]
    return [*told, TASKS[id].because] if id in CHOICES else told


@pytest.mark.parametrize("id", ENTRIES)
def test_a_listener_holds_nothing_of_what_is_right(id):
    known = ENTRIES[id]["prediction"]
    (given,) = {
        "choices": [{"choices": known.get("choices")}],
        "numbers": [{"names": known.get("numbers")}],
        "claims": [
            {"claims": [*known.get("claims", ())], "words": [*known.get("words", ())]}
        ],
    }[next(iter(known))]
    listener = TASKS[id].listener(TASKS[id].questions(0))
    assert (listener.args, listener.keywords) == ((), given)
    pickled = by_value(listener)
    assert not any(text.encode() in pickled for text in secrets(id))


@reads_sources
def test_students_files_hold_nothing_of_what_is_right(sources, address):
    catalogue_file = ROOT / "src/vit_encoder/check/catalogue.json"
    made = catalogue_file.read_text(encoding="utf-8")
    given = {"id", "title", "kind", "points", "minutes", "version"}
    for path, _, notebook in generated_notebooks(sources, address):
        if path.parent.name == "exercises":
            made += nbformat.writes(notebook)
            exercises = [c.metadata.get("exercise") for c in notebook.cells]
            assert all(e is None or set(e) == given for e in exercises)
    made += "".join(
        p.read_text(encoding="utf-8") for p in ROOT.glob("exercises/*.ipynb")
    )
    for id in ENTRIES:
        for text in secrets(id):
            assert json.dumps(text, ensure_ascii=False)[1:-1] not in made, text


@pytest.mark.parametrize("id", CHOICES)
def test_the_text_lists_the_choices(id):
    choices = TASKS[id].choices.items()
    listed = "\n".join(f"- {letter}: {text}" for letter, text in choices)
    assert f"{listed}\n\n" in section_of(id)


def test_the_text_lists_claims_and_words():
    made = (ROOT / "exercises/08_capstone.ipynb").read_text(encoding="utf-8")
    text = "\n".join(c.source for c in nbformat.reads(made, 4).cells)
    known = ENTRIES[AUDIT]["prediction"]
    for name, claim in known["claims"].items():
        assert f"| `{name}` | {claim} |" in text
    meanings = [f'- `"{word}"`: {meaning}' for word, meaning in known["words"].items()]
    assert ";\n".join(meanings) + ".\n" in text


@reads_sources
@pytest.mark.parametrize("id", [ENTROPY, ONE_QUERY, AUDIT])
def test_the_version_changes_with_what_a_student_is_given(id, cells):
    cell = copy.deepcopy(cells[id])
    exercise = cell.metadata["exercise"]
    assert version_of(cell) == ENTRIES[id]["version"]
    secret = exercise.get("wrong") or [exercise.get("choices", {}).get("A", {})]
    secret[0]["seen"] = "Something else."
    cell.source = re.sub(r"(# BEGIN SOLUTION\n).*?(\n *#)", r"\1    1\2", cell.source)
    assert version_of(cell) == ENTRIES[id]["version"]
    if id == ONE_QUERY:
        exercise["numbers"][0]["what"] = "the first weight"
    else:
        texts = exercise.get("choices") or exercise["claims"]
        texts[next(iter(texts))]["text"] = "another text"
    assert version_of(cell) != ENTRIES[id]["version"]


def spoil(exercise, *path, to=None):
    """Set, or take away, what stands at the end of a path of keys."""
    *path, last = path
    for key in path:
        exercise = exercise[key]
    if to is None:
        del exercise[last]
    else:
        exercise[last] = to


SPOILT = {  # exercise, where, what, words of the message
    "no form": (ENTROPY, ["choices"], None, "one of `choices`, `numbers` and `claims`"),
    "two forms": (ENTROPY, ["numbers"], ["x"], "found choices and numbers"),
    "unknown key": (ENTROPY, ["chioces"], "x", "the exercise has `chioces`; known are"),
    "no such letter": (ENTROPY, ["choices", "B"], None, "are A, B, C and so on"),
    "explained": (
        ENTROPY,
        ["choices", "B", "seen"],
        "x",
        "choice B, the solution, has",
    ),
    "no because": (ENTROPY, ["choices", "B", "because"], None, "has no `because`"),
    "no text": (ENTROPY, ["choices", "C", "text"], None, "choice C, which is not the"),
    "no question": (ENTROPY, ["choices", "C", "ask"], "", "has no `ask`"),
    "number for text": (ENTROPY, ["choices", "C", "text"], 5, "is no text; put it in"),
    "other shape": (ENTROPY, ["choices"], ["A", "B"], "not of the form"),
    "numbers": (
        ONE_QUERY,
        ["numbers", 0],
        None,
        "has 3 numbers, and `numbers` names 2",
    ),
    "no ask": (ONE_QUERY, ["numbers", 0], "a weight", "`ask` is missing for a weight"),
    "short": (ONE_QUERY, ["wrong", 0, "numbers"], [1, 2], "has 2 numbers, and"),
    "right": (
        ONE_QUERY,
        ["wrong", 0, "numbers"],
        [None, 0.75, None],
        "of the solution",
    ),
    "same": (ONE_QUERY, ["wrong", 2, "numbers"], [0.1, 0.9, 7.6], "have the same"),
    "claims": (AUDIT, ["claims", "end"], None, "has not the claims of its options"),
    "words": (
        AUDIT,
        ["words", "missing"],
        None,
        "the claim input, which is imprecise, has",
    ),
    "claim": (
        AUDIT,
        ["claims", "end", "wrong"],
        None,
        "the claim end, which is missing",
    ),
}


@reads_sources
@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
def test_a_spoilt_declaration_is_told(spoilt, cells):
    id, path, to, words = spoilt
    cell = copy.deepcopy(cells[id])
    judged(cell)
    spoil(cell.metadata["exercise"], *path, to=to)
    with pytest.raises(DeclarationError, match=re.escape(words)):
        judged(cell)


@reads_sources
@pytest.mark.parametrize(
    ("solution", "words"),
    [
        ('"E"', "its solution is 'E', and no choice is called so"),
        ("chr(66)", "read without running it"),
        ("B", "read without running it"),
        ("1 / 0", "read without running it"),
    ],
)
def test_a_solution_that_cannot_be_read_is_told(solution, words, cells):
    cell = copy.deepcopy(cells[ENTROPY])
    cell.source = cell.source.replace('"B"\n', f"{solution}\n")
    with pytest.raises(DeclarationError, match=words):
        judged(cell)


@reads_sources
@pytest.mark.parametrize(
    "texts", [[], ["```{claims} X\n```"], ["```{choices}\n```"] * 2], ids=len
)
def test_a_text_without_its_list_is_told(texts, cells):
    prose = [nbformat.v4.new_markdown_cell(text) for text in texts]
    with pytest.raises(DeclarationError, match=r"one ```\{choices\}```"):
        put_lists([*prose, cells[ENTROPY]])


@reads_sources
def test_what_to_read_again_is_a_heading(sources, cells):
    known = {e["id"]: e["again"] for e in catalogue()}
    assert known == {
        id: cell.metadata["exercise"]["again"] for id, cell in cells.items()
    }
    (source,) = (s for s in sources if cells[ENTROPY] in s.cells("exercise"))
    spoilt = copy.deepcopy(source)
    spoilt.cells("exercise")[0].metadata["exercise"]["again"] = "Break them"
    others = [s for s in sources if s is not source]
    check_headings(sources, ROOT)
    with pytest.raises(SourceError, match="`again: Break them` of self"):
        check_headings([*others, spoilt], ROOT)
