"""Looking inside: what people get wrong, what must hold, and the tasks."""

import math

import torch
from torch import Tensor

from vit_encoder import looking_inside
from vit_encoder.check.hearing.data import Form, Question
from vit_encoder.check.judging.misconceptions import GITHUB, edit, edits, named
from vit_encoder.check.judging.oracle import oracle_of_function
from vit_encoder.check.judging.pictures import Show
from vit_encoder.check.judging.properties import (
    EDGES,
    GRADIENTS,
    PASSES_NAN_ON,
    REPEATS,
    agrees,
    each,
    refuses,
    returns_right_shapes,
    shows,
)
from vit_encoder.check.judging.questions import (
    Normal,
    double,
    edges,
    finish,
    small,
    with_nan,
)
from vit_encoder.check.judging.trials import Fails, Trial, close
from vit_encoder.check.tasks import BreakIt, Implement
from vit_encoder.looking_inside import rollout

# Misconceptions of rollout.

MIXED = "((1 - identity) * layer + identity * eye)"
STEP = f"{MIXED} @ result"
HEADS = "maps.mean(dim=2)"
SHARES = "What does one row of the result add up to, and what should it?"
ROLLOUT = edits(
    rollout,
    edit(
        "first-layer-last",
        {STEP: f"result @ {MIXED}"},
        "The layers are multiplied the other way round: the first layer stands where "
        "the last should.",
        "Which layer's rows are the tokens that leave the encoder?",
    ),
    edit(
        "identity-left-out",
        {STEP: "layer @ result"},
        "The identity is not used, as if no block had a residual connection.",
        "What does a token keep when a block adds nothing to it?",
        GITHUB + "google-research/vision_transformer/issues/18",
    ),
    edit(
        "identity-added",
        {MIXED: "(layer + eye)"},
        "The identity is added in full, and nothing is divided: the rows add up to 2 "
        "after one layer, and double with each layer.",
        SHARES,
        GITHUB + "jacobgil/vit-explain/issues/16",
    ),
    edit(
        "identity-always-half",
        {MIXED: "(layer + eye) / 2"},
        "The share of the identity is always one half, whatever is asked for.",
        "Where does the second argument go?",
    ),
    edit(
        "shares-exchanged",
        {MIXED: "(identity * layer + (1 - identity) * eye)"},
        "The two shares have changed places. With one half nothing is wrong.",
        "What should come out if the identity has the share 1?",
    ),
    edit(
        "identity-once",
        {"result = eye\n": "result = identity * eye\n", STEP: "layer @ result"},
        "The identity is used once, before the first layer.",
        "How many layers have a residual connection?",
    ),
    edit(
        "identity-at-the-end",
        {
            STEP: "layer @ result",
            "return result": "return (1 - identity) * result + identity * eye",
        },
        "The layers are multiplied without the identity, and the identity is mixed in "
        "once, at the end.",
        "Around what does a residual connection lead: a block, or the encoder?",
    ),
    edit(
        "heads-as-layers",
        {HEADS: "maps.transpose(1, 2).flatten(0, 1)"},
        "The heads of a layer are multiplied, as if one acted after the other.",
        "Do the heads of a layer work one after another, or side by side?",
    ),
    edit(
        "heads-added",
        {HEADS: "maps.sum(dim=2)"},
        "The heads are added up, not averaged: rows do not add up to 1.",
        SHARES,
    ),
    edit(
        "largest-head",
        {HEADS: "maps.amax(dim=2)"},
        "For each weight the head with the largest one is taken. Some programs do "
        "that, but then rows do not add up to 1, and it is not what is asked for.",
        SHARES,
        GITHUB + "jacobgil/vit-explain",
    ),
    edit(
        "first-head-alone",
        {HEADS: "maps[:, :, 0]"},
        "Only the first head is used.",
        "Which axis counts the heads, and what becomes of them?",
    ),
    edit(
        "images-averaged",
        {HEADS: "maps.mean(dim=1)"},
        "The images are averaged, and the heads are kept apart.",
        "Which of the five axes counts the heads?",
    ),
    edit(
        "maps-transposed",
        {STEP: MIXED.replace("layer", "layer.mT") + " @ result"},
        "Each map is turned: its rows are keys, where they should be queries.",
        "Which axis of a map sums to 1?",
    ),
    edit(
        "result-transposed",
        {"return result": "return result.mT"},
        "The result is turned: a row belongs to a token that went in.",
        "Which token should a row belong to, one that went in or one that comes out?",
    ),
    edit(
        "layers-averaged",
        {STEP: f"result + {MIXED}", "result = eye\n": "result = 0 * eye\n"}
        | {"return result": "return result / len(maps)"},
        "The layers are averaged, not multiplied.",
        "Where does a token in layer 2 have from what it passes on?",
    ),
    edit(
        "last-layer-alone",
        {STEP: MIXED},
        "Only the last layer is left of the result.",
        "What does each turn of the loop do with the result of the one before?",
    ),
    edit(
        "multiplied-entry-by-entry",
        {STEP: MIXED + " * (result if result is not eye else 1)"},
        "The maps are multiplied entry by entry. That is no product of matrices.",
        "Over which tokens does one sum up that lie on the way?",
    ),
)

# Misconceptions of attention_distance, with any number of tokens in front.


def attention_distance(maps: Tensor, patch_size: int, prefix: int) -> Tensor:
    """The chapter's, where `prefix` tokens, and not one, stand in front of the patches.

    maps: weights (..., N, N). patch_size: P, in pixels. Returns (...). ValueError where
    the patches fill no square.
    """
    weights = maps[..., prefix:, prefix:]  # (..., n, n)
    side = math.isqrt(weights.shape[-1])
    if side**2 != weights.shape[-1]:
        raise ValueError(f"expected a square grid, got {weights.shape[-1]} patches")
    steps = torch.arange(side, device=maps.device, dtype=maps.dtype) * patch_size
    places = torch.cartesian_prod(steps, steps)  # (n, 2)
    apart = (places[:, None] - places).square().sum(-1).sqrt()  # (n, n)
    far = (weights * apart).sum(-1) / weights.sum(-1)
    return far.mean(-1)


PATCHES, STEPS = "maps[..., prefix:, prefix:]", " * patch_size\n"
LEFT = "far = (weights * apart).sum(-1) / weights.sum(-1)"
APART = "(places[:, None] - places).square().sum(-1).sqrt()"
NO_CLASS = "Which token comes first, and where does it lie in the image?"
DISTANCE = edits(
    attention_distance,
    edit(
        "not-divided-by-what-is-left",
        {" / weights.sum(-1)": ""},
        "The weights on the class token are left out, and what is left is not made to "
        "add up to 1: a head that looks at the class token seems to look near.",
        "What do the weights on the patches of one row add up to?",
    ),
    edit(
        "divided-over-queries",
        {" / weights.sum(-1)": " / weights.sum(-2)"},
        "It is divided by what a key gets, not by what a query gives to patches.",
        "Whose weights have to add up to 1?",
    ),
    edit(
        "last-token-left-out",
        {PATCHES: "maps[..., : -prefix or None, : -prefix or None]"},
        "The last patches are left out, and the class token has a place in the image.",
        NO_CLASS,
    ),
    edit(
        "one-token-in-front",
        {PATCHES: "maps[..., 1:, 1:]"},
        "One token is left out, however many stand in front of the patches.",
        "Which argument says how many tokens are no patches?",
    ),
    edit(
        "registers-as-keys",
        {PATCHES: "maps[..., prefix:, :][..., 1 : 1 + maps.shape[-1] - prefix]"},
        "The rows of the tokens in front are left out, but of their columns only one.",
        "Which columns of a row belong to patches?",
    ),
    edit(
        "distance-in-patches",
        {STEPS: "\n"},
        "The distance is counted in patches, not in pixels.",
        "How many pixels lie between the centres of two neighbours?",
    ),
    edit(
        "distance-squared",
        {".sqrt()": ""},
        "These are squared distances.",
        "What is left to do after the squares are added?",
    ),
    edit(
        "distance-by-blocks",
        {".square().sum(-1).sqrt()": ".abs().sum(-1)"},
        "Rows and columns are added, as if one walked around the corner.",
        "How long is the straight line from (0, 0) to (3, 4)?",
    ),
    edit(
        "larger-of-both",
        {".square().sum(-1).sqrt()": ".abs().amax(-1)"},
        "Of rows and columns the larger difference is taken.",
        "How long is the straight line from (0, 0) to (3, 4)?",
    ),
    edit(
        "distance-along-the-list",
        {
            "torch.cartesian_prod(steps, steps)": "(\n        patch_size * "
            "torch.arange(weights.shape[-1]).to(maps)[:, None]\n    )"
        },
        "The distance is counted along the list of tokens: the end of one row and the "
        "start of the next count as neighbours.",
        "In which row and column of the grid does token 8 lie?",
    ),
    edit(
        "class-token-asks",
        {"far.mean(-1)": "far[..., 0]"},
        "It looks at one query alone.",
        "Over which queries is the mean taken?",
    ),
    edit(
        "queries-added",
        {"far.mean(-1)": "far.sum(-1)"},
        "The queries are added up, not averaged.",
        "How far can a head look in an image of that size?",
    ),
    edit(
        "queries-kept",
        {"return far.mean(-1)": "return far"},
        "There is a distance for each query; one for each map is asked for.",
        "Over what is the mean taken?",
    ),
    edit(
        "maps-transposed",
        {PATCHES: "maps[..., prefix:, prefix:].mT"},
        "Queries and keys have changed places.",
        "Which axis of a map sums to 1, with the class token?",
    ),
    edit(
        "mean-over-keys",
        {LEFT: "far = (weights * apart).mean(-1) / weights.sum(-1)"},
        "It is divided by the number of patches although the weights are shares.",
        "What do the weights of one query add up to already?",
    ),
    edit(
        "any-count-taken",
        {
            "    if side**2 != weights.shape[-1]:\n        raise ValueError("
            'f"expected a square grid, got {weights.shape[-1]} patches")\n': "    "
            "weights = weights[..., : side**2, : side**2]\n"
        },
        "Where the patches fill no square, some of them are left out without a word.",
        "Seven patches: which square grid has seven places?",
    ),
)


def delete(patches: Tensor, scores: Tensor, count: int) -> Tensor:
    """Set the `count` patches with the largest scores of each image to 0.

    patches: (B, n, F). scores: (B, n). Returns new patches (B, n, F).
    """
    order = scores.argsort(dim=-1, descending=True)  # (B, n)
    mask = torch.zeros_like(scores, dtype=torch.bool)
    mask = mask.scatter(-1, order[:, :count], True)
    return patches.masked_fill(mask[..., None], 0)


MASK = "mask.scatter(-1, order[:, :count], True)"
ORDERED = "`order` says which patch comes first, second, third. Is that a patch's rank?"
DELETE = edits(
    delete,
    edit(
        "order-taken-for-rank",
        {
            "    mask = torch.zeros_like(scores, dtype=torch.bool)\n": "",
            MASK: "order < count",
        },
        "As many patches vanish as should, but others: the numbers of the patches are "
        "read as their ranks.",
        ORDERED,
    ),
    edit(
        "smallest-first",
        {", descending=True": ""},
        "The patches with the smallest scores vanish.",
        "In which order does `argsort` put numbers if you say nothing?",
    ),
    edit(
        "equal-ones-too",
        {
            "    mask = torch.zeros_like(scores, dtype=torch.bool)\n": "    least = "
            "scores.topk(max(count, 1)).values[:, -1:]\n",
            MASK: "(scores >= least) & (count > 0)",
        },
        "All patches vanish that score as much as the last one that should: where two "
        "are equal, more than `count`.",
        "How many patches should vanish if all scores are the same?",
    ),
    edit(
        "one-order-for-all",
        {MASK: "mask.index_fill(-1, order[0, :count], True)"},
        "All images lose the patches that the first image ranks first.",
        "Does each image have an order of its own?",
    ),
    edit(
        "best-of-the-whole-batch",
        {
            "scores.argsort(dim=-1, descending=True)": "scores.flatten().argsort("
            "descending=True)",
            MASK: "mask.flatten().scatter(-1, order[: count * len(scores)], True)"
            ".view_as(mask)",
        },
        "The largest scores of the whole batch were taken: some images lose more "
        "patches than others.",
        "How many patches should vanish in each image?",
    ),
    edit(
        "one-too-many",
        {"order[:, :count]": "order[:, : count + 1]"},
        "One patch more vanishes than was asked for.",
        "How many patches should vanish if count is 1?",
    ),
    edit(
        "kept-for-removed",
        {"patches.masked_fill(mask": "patches.masked_fill(~mask"},
        "What should vanish is kept, and the rest vanishes.",
        "Which patches should be 0 afterwards?",
    ),
)
MISCONCEPTIONS = {
    "rollout": ROLLOUT,
    "attention_distance": DISTANCE,
    "delete": DELETE,
}

# The oracles.


def rolled(maps: Tensor, identity: float) -> Tensor:
    """Rollout, image by image and with sums over indices."""
    L, B, h, T, _ = maps.shape
    results = []
    for b in range(B):
        result = torch.eye(T, dtype=maps.dtype, device=maps.device)
        for i in range(L):
            mixed = torch.einsum("hnm->nm", maps[i, b]) * (1 - identity) / h
            mixed = mixed + identity * torch.eye(
                T, dtype=maps.dtype, device=maps.device
            )
            result = torch.einsum("nk,km->nm", mixed, result)
        results.append(result)
    return torch.stack(results)


def far(maps: Tensor, patch_size: int, prefix: int) -> Tensor:
    """The attention distance, patch by patch."""
    n = maps.shape[-1] - prefix
    side = round(math.sqrt(n))
    rows = []
    for i in range(n):
        apart = [
            patch_size * math.hypot(i // side - j // side, i % side - j % side)
            for j in range(n)
        ]
        weights = maps[..., prefix + i, prefix:]
        lengths = torch.tensor(apart, dtype=maps.dtype, device="cpu")
        rows.append((weights @ lengths) / weights.sum(-1))
    return sum(rows) / n


def delete_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """The patches that are left, by a comparison with the score of rank `count`."""
    leaves = {"input 0": double(question.inputs[0])}
    scores, count = question.inputs[1].double(), question.inputs[2]
    rank = (scores[:, None] > scores[..., None]).sum(-1)  # how many are larger
    return finish(question, leaves, (leaves["input 0"] * (rank >= count)[..., None],))


# The questions.


def shares(normal: Normal, *shape: int) -> Tensor:
    """Random attention weights; the rows are far from even."""
    return (2 * normal(*shape)).softmax(-1)


TWO = torch.stack(
    [small([0.2, 0.8], [0.6, 0.4]), small([0.9, 0.1], [0.3, 0.7])]
)  # (2, 2, 2)


def rollout_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict."""
    normal = Normal(seed)
    maps = shares(normal, 4, 2, 3, 5, 5)  # (L, B, h, N, N)
    return [
        Question("two layers", (TWO[:, None, None], 0.5)),
        Question("one layer, two heads", (TWO[None, None], 0.5)),
        Question("two layers, no identity", (TWO[:, None, None], 0.0)),
        Question("maps", (maps, 0.5)),
        Question("a fifth of identity", (maps, 0.2)),
        Question("nothing but identity", (maps, 1.0)),
        Question("no identity", (maps, 0.0)),
        Question("one layer", (shares(normal, 1, 3, 2, 4, 4), 0.5)),
        Question("as many heads as images", (shares(normal, 3, 2, 2, 4, 4), 0.3)),
        Question("a nan", (with_nan(maps), 0.5), secondary=True),
        *edges((maps, 0.5)),
    ]


def distance_questions(seed: int) -> list[Question]:
    """As for rollout. n is 4, 9 and 16, so that a wrong side cannot hide."""
    normal = Normal(seed)
    maps = shares(normal, 2, 3, 10, 10)  # (B, h, N, N)
    near = torch.eye(5, dtype=torch.float64, device="cpu")
    to_class = torch.tensor(
        [0.5, 0.1, 0.1, 0.1, 0.2], dtype=torch.float64, device="cpu"
    )
    return [
        Question("even weights", (torch.full_like(near, 0.2)[None], 3, 1)),
        Question("half on the class token", (to_class.expand(1, 5, 5).clone(), 3, 1)),
        Question("each itself", (near[None], 3, 1)),
        Question("maps", (maps, 4, 1)),
        Question("larger patches", (maps, 7, 1)),
        Question("sixteen patches", (shares(normal, 3, 17, 17), 2, 1)),
        # Who leaves out one token gets a number too: 9 and 16 fill a square.
        Question("six tokens in front", (shares(normal, 2, 10, 10), 4, 6)),
        Question("seven registers", (shares(normal, 2, 2, 17, 17), 3, 8)),
        Question("no token in front", (shares(normal, 3, 9, 9), 4, 0), secondary=True),
        Question("two axes", (shares(normal, 5, 5), 6, 1)),
        Question("five axes", (shares(normal, 2, 1, 3, 5, 5), 2, 1)),
        Question("seven patches", (shares(normal, 2, 8, 8), 4, 1), refused=True),
        Question("a nan", (with_nan(maps), 4, 1), secondary=True),
        *edges((maps, 4, 1), normal(2, 3)),
    ]


PIECES = torch.arange(1.0, 9.0, dtype=torch.float64, device="cpu").view(1, 4, 2)


def delete_questions(seed: int) -> list[Question]:
    """Scores that all differ; those of the images are ordered in other ways."""
    normal = Normal(seed)
    patches, scores = normal(3, 7, 4), normal(3, 7)
    ranked = small([0.2, 0.9, 0.4, 0.7])
    falling = small([4, 3, 2, 1])
    return [
        Question("four patches", (PIECES, ranked, 2)),
        Question("the best one", (PIECES, ranked, 1)),
        Question("falling scores", (PIECES, falling, 2)),
        Question("two score as much", (PIECES, small([0.4, 0.9, 0.4, 0.1]), 2)),
        Question("patches", (patches, scores, 3)),
        Question("one of seven", (patches, scores, 1)),
        Question("none", (patches, scores, 0)),
        Question("all", (patches, scores, 7)),
        *edges((patches, scores, 3)),
    ]


# The properties that are these functions' own.


@each("each row adds up to 1", ("maps",), SHARES, core=True)
def rows_are_shares(trial: Trial) -> None:
    """Row n holds shares of the tokens that went in."""
    sums = trial.output.double().sum(-1)
    if close(sums, torch.ones_like(sums)):
        return
    columns = trial.output.double().sum(-2)
    if close(columns, torch.ones_like(columns)):
        raise Fails(
            "The columns add up to 1, the rows do not.",
            "result-transposed",
            "Which token should a row belong to, one that went in or one that comes "
            "out?",
        )
    worst = float(sums.flatten()[(sums - 1).abs().argmax()])
    raise Fails(f"One row adds up to {worst:.4g}.")


@each(
    "with the share 1 the identity is all that is left",
    ("nothing but identity",),
    "What comes out if the attention has the share 0 in every layer?",
    core=True,
)
def identity_is_left(trial: Trial) -> None:
    """The product of identities."""
    trial.require_right("With identity = 1 the result is not the identity.")


@each(
    "a head that looks at its own patch looks 0 pixels far",
    ("each itself",),
    "How far is a patch from itself?",
    core=True,
)
def own_patch_is_near(trial: Trial) -> None:
    """The diagonal counts nothing."""
    trial.require_right("Each patch looks at itself alone, and the distance is not 0.")


@each(
    "the share of the class token does not matter",
    ("half on the class token",),
    "What do the weights on the patches of one row add up to?",
    core=True,
    example=True,
)
def class_token_is_left_out(trial: Trial) -> None:
    """Weights on the class token change nothing."""
    if not trial.right():
        got, right = float(trial.output[0]), float(trial.expected[0][0])
        half = abs(got - right / 2) < 1e-6
        text = "Each patch gives half of its weight to the class token, and the "
        text += f"distance is {got:.4g}, expected {right:.4g}."
        raise shows(DISTANCE, "not-divided-by-what-is-left") if half else Fails(text)


@each(
    "of equal scores no more vanish than should",
    ("two score as much",),
    "Two patches have the second largest score. How many may vanish if count is 2?",
)
def no_more_vanish(trial: Trial) -> None:
    """Which of the two vanishes is left open."""
    *_, count = trial.question.inputs
    gone = int((trial.output == 0).all(-1).sum())
    if gone != count:
        raise (
            shows(DELETE, "equal-ones-too")
            if gone > count
            else Fails(
                f"Where two patches have the same score, {gone} vanish, not {count}."
            )
        )


@each(
    "the patches with the largest scores vanish",
    ("patches", "one of seven", "falling scores"),
    "Which patches should be 0 afterwards? Look them up in the scores.",
    core=True,
    example=True,
)
def best_vanish(trial: Trial) -> None:
    """Those and no others."""
    trial.require_right()


# A rollout that divides by the sums of rows, which are 1, has other gradients, and who
# deletes patches needs none.
NO_GRADIENTS = tuple(edge for edge in EDGES if edge is not GRADIENTS)
ROLLOUT_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "one matrix (N, N) for each image comes back",
        *("maps", "two layers", "one layer, two heads"),
        ask="Which of the five axes are still there in the end?",
    ),
    identity_is_left,
    rows_are_shares,
    agrees(
        "one layer is mixed with the identity",
        *("one layer", "one layer, two heads"),
        ask="What is the mean of the heads, and what is half of it?",
        core=True,
    ),
    agrees(
        "the numbers agree with the equation in float64",
        *("two layers", "maps", "as many heads as images"),
        ask="In which order do the layers act, and from which side is multiplied?",
        core=True,
    ),
    agrees(
        "any share of the identity can be asked for",
        *("a fifth of identity", "no identity"),
        ask="Where does the second argument go?",
    ),
    PASSES_NAN_ON,
    *NO_GRADIENTS,
)
DISTANCE_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "one number for each map comes back",
        *("maps", "even weights"),
        ask="Over which axes is there a sum, and over which a mean?",
    ),
    own_patch_is_near,
    class_token_is_left_out,
    agrees(
        "the numbers agree with the equation in float64",
        *("even weights", "maps", "larger patches", "sixteen patches"),
        ask="Write down row and column of patch 0 and of patch 5. How far apart are "
        "they?",
        core=True,
    ),
    agrees(
        "tokens in front of the patches are left out, however many",
        *("six tokens in front", "seven registers", "no token in front"),
        ask="How many tokens come before the first patch?",
        core=True,
    ),
    agrees(
        "any number of axes may stand in front",
        *("two axes", "five axes"),
        ask="From which end do you count the axes?",
    ),
    refuses(
        "patches that fill no square are refused",
        "any-count-taken",
        "seven patches",
        ask="Seven patches: which square grid has seven places?",
    ),
    PASSES_NAN_ON,
    *EDGES,
)
DELETE_PROPERTIES = (
    REPEATS,
    returns_right_shapes(
        "patches of the same shape come back",
        *("patches", "four patches"),
        ask="What should be left where a patch was?",
    ),
    best_vanish,
    no_more_vanish,
    agrees(
        "none or all may vanish",
        *("none", "all"),
        ask="What does your code do for a count of 0, and of n?",
    ),
    *NO_GRADIENTS,
)

# The tasks.

WRITE_ROLLOUT = Implement(
    form=Form(outputs=("shares",), reference=(rollout, rolled)),
    ask_about=rollout_questions,
    oracle=oracle_of_function(rolled),
    properties=ROLLOUT_PROPERTIES,
    misconceptions=ROLLOUT,
    show=Show(
        ("one layer, two heads", "two layers", "two layers, no identity"),
        axes={"shares": ("token that comes out", "token that went in")},
    ),
)
WRITE_DISTANCE = Implement(
    form=Form(
        outputs=("pixels",),
        reference=(attention_distance, looking_inside.attention_distance, far),
    ),
    ask_about=distance_questions,
    oracle=oracle_of_function(far),
    properties=DISTANCE_PROPERTIES,
    misconceptions=DISTANCE,
)
REPAIR_DELETE = Implement(
    form=Form(outputs=("patches",), reference=(delete,)),
    ask_about=delete_questions,
    oracle=delete_oracle,
    properties=DELETE_PROPERTIES,
    misconceptions=DELETE,
    show=Show(
        ("the best one", "four patches", "falling scores"),
        axes={"patches": ("patch", "value")},
    ),
    bug=named(DELETE, "order-taken-for-rank")[0],
)


def from_the_last(maps: Tensor, identity: float = 0.5) -> Tensor:
    """A right rollout that begins with the last layer."""
    eye = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    mixed = identity * eye + (1 - identity) * maps.mean(dim=2)
    result = mixed[-1]
    for layer in mixed[:-1].flip(0):
        result = result @ layer
    return result


TEST_THE_ORDER = BreakIt(
    right={"the course's own": rollout, "one that begins with the last": from_the_last},
    wrong=named(ROLLOUT, "first-layer-last", "heads-as-layers", "identity-left-out"),
    ask="Do your two layers differ, do your two heads, and do you know what must come "
    "out?",
)

TASKS = {
    "rollout": WRITE_ROLLOUT,
    "attention_distance": WRITE_DISTANCE,
    "wrong_rollouts": TEST_THE_ORDER,
    "find_the_bug": REPAIR_DELETE,
}
