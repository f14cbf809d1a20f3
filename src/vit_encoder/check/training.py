"""Training: what people get wrong, what must hold, and the tasks."""

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vit_encoder.check.hearing.data import Form, ProblemError, Question
from vit_encoder.check.hearing.parameters import ALIASES, FUSED
from vit_encoder.check.judging import kept, oracle
from vit_encoder.check.judging.misconceptions import GITHUB, edit, edits, named
from vit_encoder.check.judging.oracle import Get, oracle_of
from vit_encoder.check.judging.pictures import Show
from vit_encoder.check.judging.properties import (
    EDGES,
    KEEPS_INPUTS,
    LEAVES_THE_SEED,
    PASSES_NAN_ON,
    REPEATS,
    Property,
    agrees,
    as_defined,
    each,
    has_parameters,
    holds,
    learns_no_more,
    refuses,
    returns_right_shapes,
    same_in_training,
    stays_finite,
)
from vit_encoder.check.judging.questions import Normal, double, finish, small, with_nan
from vit_encoder.check.judging.trials import Fails, Trial, Trials, close
from vit_encoder.check.judging.verdicts import has_numbers, same
from vit_encoder.check.tasks import BreakIt, Implement
from vit_encoder.encoder import Encoder
from vit_encoder.patches import PatchEmbedding
from vit_encoder.training import (
    VisionTransformer,
    augment,
    parameter_groups,
    warm_up_cosine,
)

# A classifier, and what people get wrong about it.


class Classifier(nn.Module):
    """Grey images (B, 1, H, W) become logits (B, J)."""

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        num_classes: int,
        depth: int,
        dim: int,
        num_heads: int,
        pool: str = "cls",
        pre_logits_dim: int | None = None,
    ):
        super().__init__()
        if pool not in ("cls", "mean"):
            raise ValueError(f'expected "cls" or "mean" as pool, got {pool!r}')
        self.pool = pool
        self.embedding = PatchEmbedding(image_size, patch_size, 1, dim)
        self.encoder = Encoder(depth, dim, num_heads, 4 * dim)
        self.pre_logits = nn.Linear(dim, pre_logits_dim) if pre_logits_dim else None
        self.head = nn.Linear(pre_logits_dim or dim, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.encoder(self.embedding(images))  # (B, N, D)
        x = x[:, 0] if self.pool == "cls" else x[:, 1:].mean(dim=1)  # (B, D)
        if self.pre_logits is not None:
            x = torch.tanh(self.pre_logits(x))  # (B, R)
        return self.head(x)  # (B, J)


MEAN, TOKEN, LOGITS = "x[:, 1:].mean(dim=1)", "x[:, 0]", "return self.head(x)"
HIDDEN = "x = torch.tanh(self.pre_logits(x))"
ENCODED = "x = self.encoder(self.embedding(images))"
WHICH_AXIS = "Which axis counts the images, which the tokens, which the features?"
CLASSIFIER = edits(
    Classifier,
    edit(
        "class-token-in-the-mean",
        {MEAN: "x.mean(dim=1)"},
        "With `mean` the class token is counted as if it were a patch.",
        "How many of the N tokens came from a patch?",
        GITHUB + "lucidrains/vit-pytorch/issues/226",
    ),
    edit(
        "divided-by-all-tokens",
        {MEAN: "x[:, 1:].sum(dim=1) / x.shape[1]"},
        "With `mean` the sum of the patch tokens is divided by the number of tokens.",
        "How many tokens were added up?",
    ),
    edit(
        "sum-for-mean",
        {MEAN: "x[:, 1:].sum(dim=1)"},
        "With `mean` the patch tokens are added up, not averaged.",
        "By what is a sum divided so that it becomes a mean?",
    ),
    edit(
        "largest-for-mean",
        {MEAN: "x[:, 1:].amax(dim=1)"},
        "With `mean` the largest number of each feature is taken.",
        "Which number stands for all patches alike?",
    ),
    edit(
        "last-patch-left-out",
        {MEAN: "x[:, :-1].mean(dim=1)"},
        "The mean counts the class token and leaves out the last patch.",
        "At which end of the tokens is the one that came from no patch?",
    ),
    edit(
        "mean-over-features",
        {MEAN: "x[:, 1:].mean(dim=2)"},
        "With `mean` the average is taken over the features: one number a token.",
        WHICH_AXIS,
    ),
    edit(
        "mean-over-images",
        {MEAN: "x[:, 1:].mean(dim=0)"},
        "With `mean` the average is taken over the images of the batch.",
        "May the logits of an image depend on the others in its batch?",
    ),
    edit(
        "pools-swapped",
        {'self.pool == "cls"': 'self.pool == "mean"'},
        "`cls` gives the mean, and `mean` the class token.",
        "Which of the two branches runs for `cls`?",
    ),
    edit(
        "class-token-always",
        {MEAN: TOKEN},
        "The class token is read whatever `pool` says.",
        "Who asks in `forward` what `pool` was?",
    ),
    edit(
        "mean-always",
        {TOKEN: MEAN},
        "The mean of the patches is read whatever `pool` says.",
        "Who asks in `forward` what `pool` was?",
    ),
    edit(
        "last-token-read",
        {TOKEN: "x[:, -1]"},
        "With `cls` the last token is read, which belongs to a patch.",
        "Where did the patch embedding put the class token?",
    ),
    edit(
        "first-patch-read",
        {TOKEN: "x[:, 1]"},
        "With `cls` token 1 is read, which belongs to the first patch.",
        "From which number does Python count?",
    ),
    edit(
        "final-norm-left-out",
        {
            ENCODED: """x = self.embedding(images)
        for block in self.encoder.blocks:
            x = block(x)"""
        },
        "The blocks run, and the encoder's final LayerNorm does not.",
        "What does the encoder do after its last block?",
    ),
    edit(
        "normalized-again",
        {
            HIDDEN: f"{HIDDEN.replace('(x)', '(self.encoder.norm(x))')}",
            LOGITS: """if self.pre_logits is None:
            x = self.encoder.norm(x)
        return self.head(x)""",
        },
        "What is read is normalized once more after the pooling.",
        "What has the encoder done to each token before it hands it over?",
    ),
    edit(
        "norm-after-the-mean",
        {
            ENCODED: """x = self.embedding(images)
        for block in self.encoder.blocks:
            x = block(x)""",
            TOKEN: "self.encoder.norm(x[:, 0])",
            MEAN: "self.encoder.norm(x[:, 1:].mean(dim=1))",
        },
        "The mean is taken first and normalized then, as timm's average pooling does.",
        "Of which tokens shall the mean be taken: those before the final norm or "
        "after it?",
        GITHUB + "lucidrains/vit-pytorch/pull/274",
    ),
    edit(
        "encoder-left-out",
        {ENCODED: "x = self.embedding(images)"},
        "The tokens never pass through the encoder.",
        "Where does a class token learn of the patches?",
    ),
    edit(
        "tanh-before-the-mean",
        {
            ENCODED: f"""{ENCODED}
        if self.pre_logits is not None:
            x = self.pre_logits(x).tanh()""",
            f"""        if self.pre_logits is not None:
            {HIDDEN}  # (B, R)
""": "",
        },
        "With a hidden layer, tanh is taken of every token and the mean then.",
        "Is the mean of tanh the same as tanh of the mean?",
    ),
    edit(
        "tanh-on-the-logits",
        {
            HIDDEN: "x = self.pre_logits(x)",
            LOGITS: """if self.pre_logits is not None:
            return torch.tanh(self.head(x))
        return self.head(x)""",
        },
        "With a hidden layer, tanh is taken of the logits: none is above 1.",
        "Between which two layers does tanh stand?",
    ),
    edit(
        "tanh-before-the-layer",
        {HIDDEN: "x = self.pre_logits(torch.tanh(x))"},
        "The tanh stands before the hidden layer, so that layer and head are one "
        "affine map again.",
        "In which order does the text name the hidden layer and the tanh?",
    ),
    edit(
        "no-tanh",
        {HIDDEN: "x = self.pre_logits(x)"},
        "With a hidden layer there is no tanh: two linear layers are one affine map.",
        "What stands between the two linear layers?",
    ),
    edit(
        "gelu-for-tanh",
        {HIDDEN: "x = F.gelu(self.pre_logits(x))"},
        "With a hidden layer, GELU stands in the place of tanh.",
        "Which activation does the task name?",
    ),
    edit(
        "relu-for-tanh",
        {HIDDEN: "x = F.relu(self.pre_logits(x))"},
        "With a hidden layer, ReLU stands in the place of tanh.",
        "Which activation does the task name?",
    ),
    edit(
        "tanh-without-hidden-layer",
        {LOGITS: "return self.head(torch.tanh(x) if self.pre_logits is None else x)"},
        "Without a hidden layer, tanh is taken all the same.",
        "What is asked for where `pre_logits_dim` is None?",
    ),
    edit(
        "softmax-in-the-model",
        {LOGITS: "return self.head(x).softmax(dim=-1)"},
        "The numbers of an image add up to 1: they are probabilities, not logits.",
        "Which function takes the softmax in training: the model or the loss?",
        GITHUB + "ariecattan/SciCo/issues/2",
    ),
    edit(
        "log-softmax-in-the-model",
        {LOGITS: "return self.head(x).log_softmax(dim=-1)"},
        "The numbers are logarithms of probabilities, not logits.",
        "Which function takes the softmax in training: the model or the loss?",
    ),
    edit(
        "activated-logits",
        {LOGITS: "return self.head(x).relu()"},
        "No logit is below 0.",
        "What should a logit be that speaks against a class?",
    ),
    edit(
        "any-pool-taken",
        {
            """        if pool not in ("cls", "mean"):
            raise ValueError(f'expected "cls" or "mean" as pool, got {pool!r}')
""": ""
        },
        'It takes any word as `pool`, such as "max".',
        "Who tells the caller that a word is misspelt?",
    ),
)

# The groups of parameters, and what people get wrong about them.

MATRICES = "[p for p in trained if p.dim() == 2]"
REST = "[p for p in trained if p.dim() != 2]"
TRAINED = "[p for p in model.parameters() if p.requires_grad]"
NAMED = "[(n, p) for n, p in model.named_parameters() if p.requires_grad]"
WHY = "Why is a matrix pulled towards 0, and what would that do to a gain of 1?"
GROUPS = edits(
    parameter_groups,
    edit(
        "all-decay",
        {MATRICES: "trained", REST: "[]"},
        "Every parameter decays.",
        WHY,
        GITHUB + "Lightning-AI/lit-llama/issues/254",
    ),
    edit(
        "embeddings-decay",
        {"p.dim() == 2": "p.dim() > 1", "p.dim() != 2": "p.dim() <= 1"},
        "The class token and the positions decay: they have more axes than two.",
        "Which parameters with more than one axis are not multiplied by tokens?",
        GITHUB + "facebookresearch/deit/issues/60",
    ),
    edit(
        "embeddings-by-name",
        {
            TRAINED: NAMED,
            MATRICES: '[p for n, p in trained if p.dim() > 1 and "embedding" not in n '
            'or n.endswith("proj.weight")]',
            REST: '[p for n, p in trained if not (p.dim() > 1 and "embedding" not in n '
            'or n.endswith("proj.weight"))]',
        },
        "The class token and the positions are known by their names alone: under "
        "other names they decay.",
        "What tells a matrix from an embedding in a model that names nothing so?",
    ),
    edit(
        "gains-decay",
        {
            TRAINED: NAMED,
            MATRICES: '[p for n, p in trained if not n.endswith("bias")]',
            REST: '[p for n, p in trained if n.endswith("bias")]',
        },
        "Only what is called `bias` is left out: gains, class token and positions "
        "decay.",
        "What would the gain γ of a LayerNorm be if it were pulled towards 0?",
        GITHUB + "karpathy/minGPT/issues/23",
    ),
    edit(
        "weights-by-name",
        {
            TRAINED: NAMED,
            MATRICES: '[p for n, p in trained if n.endswith("weight")]',
            REST: '[p for n, p in trained if not n.endswith("weight")]',
        },
        "What is called `weight` decays, also the gain γ of a LayerNorm.",
        "Which `weight` of a model is no matrix?",
        GITHUB + "karpathy/minGPT/issues/23",
    ),
    edit(
        "norms-by-name",
        {
            TRAINED: NAMED,
            MATRICES: '[p for n, p in trained if p.dim() > 1 or "norm" not in n]',
            REST: '[p for n, p in trained if p.dim() <= 1 and "norm" in n]',
        },
        "What is called `norm` is left out, and all else decays, biases included.",
        "What tells a matrix from a vector in a model where nothing is called `norm`?",
    ),
    edit(
        "biases-decay",
        {
            TRAINED: NAMED,
            MATRICES: '[p for n, p in trained if p.dim() == 2 or n.endswith("bias")]',
            REST: '[p for n, p in trained if p.dim() != 2 and not n.endswith("bias")]',
        },
        "Biases decay.",
        "How many axes does a bias have?",
    ),
    edit(
        "vectors-left-out",
        {"p.dim() != 2": "p.dim() > 2"},
        "Biases and gains stand in no group: they are never trained.",
        "Does each parameter that is trained stand in one of your groups?",
    ),
    edit(
        "embeddings-left-out",
        {"p.dim() != 2": "p.dim() < 2"},
        "The class token and the positions stand in no group: they are never trained.",
        "Does each parameter that is trained stand in one of your groups?",
    ),
    edit(
        "matrices-in-both",
        {REST: "trained"},
        "The matrices stand in both groups.",
        "How many groups may one parameter stand in?",
    ),
    edit(
        "groups-swapped",
        {MATRICES: REST, REST: MATRICES},
        "All but the matrices decay.",
        "Which of your two groups holds the matrices?",
    ),
    edit(
        "nothing-decays",
        {'"weight_decay": weight_decay': '"weight_decay": 0.0'},
        "Nothing decays.",
        "Where does the number go that the function is given?",
    ),
    edit(
        "default-left-on",
        {'"params": others, "weight_decay": 0.0': '"params": others'},
        "The second group does not say 0, so AdamW takes its own default, 0.01.",
        "What does AdamW do with a group that says nothing of weight decay?",
    ),
    edit(
        "fixed-decay",
        {'"weight_decay": weight_decay': '"weight_decay": 0.05'},
        "The decay is the same number whatever the function is given.",
        "Where does the number go that the function is given?",
    ),
    edit(
        "frozen-kept",
        {TRAINED: "list(model.parameters())"},
        "Frozen parameters stand in a group, too.",
        "How does a parameter say that it is not trained?",
    ),
)

# A schedule that ends above 0, and what people get wrong about it.


def factor_of(step: int, warm_up: int, steps: int, lowest: float) -> float:
    """What the largest learning rate is multiplied by in a step."""
    if not 0 <= step <= steps:
        raise ValueError(f"expected a step from 0 to {steps}, got {step}")
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    progress = (step - warm_up) / (steps - warm_up)  # from 0 to 1
    left = 0.5 * (1 + math.cos(math.pi * progress))  # from 1 to 0
    return lowest + (1 - lowest) * left


RISE, FALL = "(step + 1) / (warm_up + 1)", "0.5 * (1 + math.cos(math.pi * progress))"
PROGRESS = "(step - warm_up) / (steps - warm_up)"
FLOORED = "lowest + (1 - lowest) * left"
SCHEDULE = edits(
    factor_of,
    edit(
        "lowest-ignored",
        {FLOORED: "left"},
        "The factor falls to 0 whatever `lowest` is.",
        "What should be left of the learning rate when the run is over?",
    ),
    edit(
        "lowest-added",
        {FLOORED: "lowest + left"},
        "`lowest` is added to the whole curve: its top lies above 1.",
        "How high is the curve that falls from 1 to `lowest`?",
    ),
    edit(
        "cut-off-at-lowest",
        {FLOORED: "max(left, lowest)"},
        "The curve falls towards 0 and is cut off at `lowest`: it has an edge there.",
        "How high is the curve that falls from 1 to `lowest`?",
    ),
    edit(
        "squeezed-and-not-raised",
        {FLOORED: "(1 - lowest) * left"},
        "The fall is as high as it should be, and ends at 0: its top is below 1.",
        "By how much must a curve be raised that ends at 0?",
    ),
    edit(
        "falls-by-lowest",
        {FLOORED: "1 - lowest * (1 - left)"},
        "The factor falls by `lowest`, not to it.",
        "What is the factor when the run is over?",
    ),
    edit(
        "rises-from-lowest",
        {RISE: f"lowest + (1 - lowest) * {RISE}"},
        "The warm-up begins above `lowest`, where its steps should begin at 0.",
        "How large is the first factor if the steps of the rise are equal?",
    ),
    edit(
        "starts-at-zero",
        {RISE: "step / warm_up"},
        "The factor of step 0 is 0, so the first batch changes nothing.",
        "By what is the learning rate multiplied in the very first step?",
        GITHUB + "meta-pytorch/torchtune/issues/2010",
    ),
    edit(
        "risen-one-step-early",
        {RISE: "(step + 1) / warm_up"},
        "The factor is 1 one step before the warm-up is over, and stays there.",
        "In how many equal steps does it rise, if the last of them is step `warm_up`?",
    ),
    edit(
        "risen-too-low",
        {RISE: "step / (warm_up + 1)"},
        "The factor of step 0 is 0, and the last step before the top is twice as "
        "large as the others.",
        "By what is the learning rate multiplied in the very first step?",
    ),
    edit(
        "cosine-from-step-0",
        {PROGRESS: "step / steps"},
        "The cosine is counted from step 0: after the warm-up the factor jumps down.",
        "How far has the fall come in step `warm_up`?",
        GITHUB + "huggingface/pytorch-image-models/issues/1242",
    ),
    edit(
        "never-down",
        {PROGRESS: "(step - warm_up) / steps"},
        "The factor has not come down in the end, and the less so the longer the "
        "warm-up.",
        "How many steps long is the fall?",
    ),
    edit(
        "down-too-early",
        {PROGRESS: "(step - warm_up) / (steps - warm_up - 1)"},
        "The factor is `lowest` one step too early, and rises again after it.",
        "How many steps long is the fall?",
    ),
    edit(
        "warm-up-after-the-fall",
        {PROGRESS: "min((step - warm_up) / (steps - 2 * warm_up), 1.0)"},
        "The fall ends as many steps too early as the warm-up has.",
        "From which step to which does the fall go?",
    ),
    edit(
        "whole-wave-down",
        {FALL: "math.cos(math.pi * progress)"},
        "The cosine is taken as it is, from 1 to -1: the factor falls below `lowest`.",
        "What are the largest and the smallest value of a cosine, and what should "
        "they become?",
    ),
    edit(
        "down-and-up-again",
        {FALL: "0.5 * (1 + math.cos(2 * math.pi * progress))"},
        "The factor has fallen halfway, and rises to 1 again.",
        "Over which part of a wave does a cosine fall from 1 to -1?",
    ),
    edit(
        "quarter-wave",
        {FALL: "math.cos(math.pi / 2 * progress)"},
        "The factor falls along a quarter of a wave: too slowly at first, and steeply "
        "in the end.",
        "Which part of a wave is flat at both of its ends?",
    ),
    edit(
        "degrees",
        {FALL: "0.5 * (1 + math.cos(180 * progress))"},
        "The factor jumps up and down: `math.cos` was given degrees.",
        "In which unit does `math.cos` take an angle?",
    ),
    edit(
        "straight-line",
        {FALL: "1 - progress"},
        "The factor falls along a straight line.",
        "Where is a cosine flat, and where is it steep?",
    ),
    edit(
        "square-of-the-cosine",
        {FALL: "(0.5 * (1 + math.cos(math.pi * progress))) ** 2"},
        "The factor falls along the square of the right curve.",
        "What should the factor be halfway down?",
    ),
    edit(
        "rises-for-falls",
        {FALL: "0.5 * (1 - math.cos(math.pi * progress))"},
        "After the warm-up the factor is at its lowest and rises.",
        "What is the cosine of 0?",
    ),
    edit(
        "no-warm-up",
        {
            f"""    if step < warm_up:
        return {RISE}
""": "",
            PROGRESS: "max(step - warm_up, 0) / (steps - warm_up)",
        },
        "The factor is 1 from the first step on: nothing warms up.",
        "What should the factor be in step 0?",
    ),
    edit(
        "cut-to-whole-numbers",
        {RISE: "(step + 1) // (warm_up + 1)"},
        "The factor is 0 in the whole warm-up.",
        "What does `//` make of a half?",
    ),
    edit(
        "percent",
        {RISE: f"100 * {RISE}", FLOORED: f"100 * ({FLOORED})"},
        "The factors are in percent.",
        "By what is the learning rate multiplied at its largest?",
    ),
    edit(
        "warm-up-in-the-other-order",
        {RISE: "(warm_up - step) / (warm_up + 1)"},
        "In the warm-up the factor falls.",
        "Which step has the smaller factor, the first one or the next one?",
    ),
    edit(
        "any-step-taken",
        {"if not 0 <= step <= steps:": "if steps <= warm_up:"},
        "It gives a factor for steps before the first and after the last.",
        "Who tells the caller that the run has ended?",
    ),
)

# Cross-entropy with label smoothing, and what people get wrong about it.


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """The mean over images of the cross-entropy with the smoothed targets."""
    logs = logits - logits.logsumexp(dim=-1, keepdim=True)  # (B, J)
    right = logs.gather(1, labels[:, None]).squeeze(1)  # (B,)
    losses = -(1 - smoothing) * right - smoothing * logs.mean(dim=-1)  # (B,)
    return losses.mean()


LOGS = "logits - logits.logsumexp(dim=-1, keepdim=True)"
OWN = "(1 - smoothing) * right"
EVEN = "smoothing * logs.mean(dim=-1)"
SHARES = "Which share of the target has the right class, and which has another one?"
UNSTABLE = "What is exp of 1000 in float32, and what the logarithm of a number near 0?"
LOSS = edits(
    smoothed_cross_entropy,
    edit(
        "smoothing-ignored",
        {OWN: "right", f" - {EVEN}": ""},
        "The loss is the same whatever the smoothing.",
        SHARES,
    ),
    edit(
        "others-share-alone",
        {EVEN: "smoothing * (logs.sum(dim=-1) - right) / (logits.shape[-1] - 1)"},
        "ε is shared among the other classes alone, ε/(J − 1) each. That is another "
        "convention, and PyTorch's is ε/J for all.",
        "Among how many classes does the task share ε?",
        GITHUB + "mindspore-ai/mindspore/issues/73",
    ),
    edit(
        "own-share-taken-away",
        {OWN: "(1 - smoothing / logits.shape[-1]) * right"},
        "The right class gives up ε/J, and ε is added: the target adds up to more "
        "than 1.",
        "What do the shares of a target add up to?",
        GITHUB + "ildoonet/pytorch-randaugment/issues/30",
    ),
    edit(
        "nothing-taken-away",
        {OWN: "right"},
        "ε is shared out, and the right class keeps all that it had.",
        "What do the shares of a target add up to?",
    ),
    edit(
        "even-share-too-large",
        {EVEN: "logs.mean(dim=-1)"},
        "Every class gets 1/J, not ε/J.",
        "What is the loss with a smoothing of 0?",
        GITHUB + "TimDettmers/ConvE/issues/55",
    ),
    edit(
        "right-class-without-its-share",
        {EVEN: "smoothing * (logs.sum(dim=-1) - right) / logits.shape[-1]"},
        "The other classes get ε/J each, and the right one does not.",
        "Which classes get a share of ε?",
    ),
    edit(
        "classes-added-up",
        {EVEN: "smoothing * logs.sum(dim=-1)"},
        "Every class gets ε, not ε/J.",
        "What do the shares of a target add up to?",
    ),
    edit(
        "shares-swapped",
        {OWN: "smoothing * right", EVEN: "(1 - smoothing) * logs.mean(dim=-1)"},
        "ε and 1 − ε have changed places.",
        "What is the loss with a smoothing of 0?",
    ),
    edit(
        "log-of-softmax",
        {LOGS: "logits.softmax(dim=-1).log()"},
        "Logits that lie far apart give infinity: softmax rounds to 0, and its "
        "logarithm is taken.",
        UNSTABLE,
        GITHUB + "tensorflow/models/pull/181",
    ),
    edit(
        "something-added-in-the-log",
        {LOGS: "(logits.softmax(dim=-1) + 1e-8).log()"},
        "Something is added before the logarithm, so no loss can be large.",
        "How large is the loss of a model that is sure and wrong?",
    ),
    edit(
        "exp-of-large-logits",
        {LOGS: "logits - logits.exp().sum(dim=-1, keepdim=True).log()"},
        "Large logits give infinity: exp is taken of them as they are.",
        UNSTABLE,
    ),
    edit(
        "softmax-twice",
        {LOGS: "logits.softmax(dim=-1).log_softmax(dim=-1)"},
        "Softmax is taken twice: no loss comes near 0.",
        "How far apart can two probabilities be, and what does softmax make of that?",
        GITHUB + "jaehong31/CGES/issues/1",
    ),
    edit(
        "softmax-over-the-batch",
        {LOGS: "logits - logits.logsumexp(dim=0, keepdim=True)"},
        "The probabilities of a class add up to 1 over the images of the batch.",
        "Which axis counts the classes?",
    ),
    edit(
        "no-softmax",
        {LOGS: "logits"},
        "The logits themselves are taken for logarithms of probabilities.",
        "What must the probabilities of one image add up to?",
    ),
    edit(
        "probability-for-logarithm",
        {LOGS: "logits.softmax(dim=-1)"},
        "The probabilities are averaged, not their logarithms.",
        "What is the loss of a class that is predicted with probability 1?",
    ),
    edit(
        "logarithm-to-base-2",
        {"losses.mean()": "losses.mean() / math.log(2)"},
        "The loss is counted in bits: the logarithm is that to base 2.",
        "Which logarithm undoes exp?",
    ),
    edit(
        "sign-turned",
        {"losses.mean()": "-losses.mean()"},
        "The loss is negative: a better model has a larger one.",
        "What is the sign of the logarithm of a probability?",
    ),
    edit(
        "sum-for-mean",
        {"losses.mean()": "losses.sum()"},
        "The losses of the images are added up, so a larger batch has a larger loss.",
        "What happens to the learning rate that fits if the batch is doubled?",
    ),
    edit(
        "divided-by-the-classes-too",
        {"losses.mean()": "losses.mean() / logits.shape[-1]"},
        "The mean was taken over images and classes: the loss is J times too small.",
        "Over which axis are the terms of one cross-entropy added up?",
    ),
    edit(
        "divided-by-the-classes",
        {"losses.mean()": "losses.sum() / logits.shape[-1]"},
        "The sum of the losses is divided by the number of classes.",
        "How many losses were added up?",
    ),
    edit(
        "one-loss-an-image",
        {"losses.mean()": "losses"},
        "A loss for each image came back.",
        "From how many numbers can `backward` start?",
    ),
    edit(
        "all-labels-for-each-image",
        {"logs.gather(1, labels[:, None]).squeeze(1)": "logs[:, labels].mean(dim=1)"},
        "Each image is compared with the labels of the whole batch.",
        "What does `x[:, labels]` pick, and what `x[range, labels]`?",
    ),
)

# The gradient of a batch that does not fit into memory.


def accumulate(model: nn.Module, images: Tensor, labels: Tensor, size: int) -> float:
    """Leave the gradient of the mean loss over all images; return that loss."""
    model.zero_grad()
    parts = list(zip(images.split(size), labels.split(size), strict=True))
    total = 0.0
    for part, wanted in parts:
        loss = F.cross_entropy(model(part), wanted)
        (loss * len(part) / len(images)).backward()
        total += loss.item() * len(part)
    return total / len(images)


BACKWARD = "(loss * len(part) / len(images)).backward()"
WEIGHT = "With which weight does each image enter the gradient?"
ACCUMULATE = edits(
    accumulate,
    edit(
        "every-part-counts-alike",
        {BACKWARD: "(loss / len(parts)).backward()"},
        "Every part has the same weight: where the last one is smaller, its images "
        "weigh more than the others.",
        WEIGHT,
        GITHUB + "huggingface/transformers/pull/34191",
    ),
    edit(
        "parts-added-up",
        {BACKWARD: "loss.backward()"},
        "The gradients of the parts are added up and not divided.",
        WEIGHT,
    ),
    edit(
        "images-added-up",
        {BACKWARD: "(loss * len(part)).backward()"},
        "The gradient is that of the sum over the images, not of the mean.",
        WEIGHT,
    ),
    edit(
        "every-part-counts-as-full",
        {BACKWARD: "(loss * size / len(images)).backward()"},
        "Every part weighs as much as a full one, also the last one.",
        WEIGHT,
    ),
    edit(
        "divided-by-the-size",
        {BACKWARD: "(loss * len(part) / size / len(parts)).backward()"},
        "The sum is divided by the number of images that full parts would have.",
        "How many images are there, where the last part is smaller?",
    ),
    edit(
        "last-part-alone",
        {
            "    model.zero_grad()\n": "",
            "        loss = F": "        model.zero_grad()\n        loss = F",
        },
        "Only the gradient of the last part is left.",
        "For which parts is `backward` called, and how often is the gradient cleared?",
    ),
    edit(
        "old-gradient-kept",
        {"    model.zero_grad()\n": ""},
        "What was left of the step before is added to the gradient.",
        "What does `backward` do with a gradient that is there already?",
    ),
    edit(
        "small-part-dropped",
        {
            "total = 0.0": """parts = [pair for pair in parts if len(pair[0]) == size]
    total = 0.0"""
        },
        "The images of a last part that is not full are left out.",
        "Is every image in one of the parts?",
    ),
    edit(
        "loss-of-equal-parts",
        {
            "loss.item() * len(part)": "loss.item()",
            "total / len(images)": "total / len(parts)",
        },
        "The gradient is right. The loss is the mean over the parts, not over the "
        "images.",
        "With which weight does each image enter the loss?",
    ),
    edit(
        "loss-of-the-last-part",
        {"total / len(images)": "loss.item()"},
        "The gradient is right. The loss is that of the last part.",
        "Which losses does the returned number stand for?",
    ),
)

# Augmentation, and what people get wrong about it.

STARTS = "torch.randint(2 * shift + 1, (2, B), generator=rng)"
MIRRORED = "torch.rand(B, generator=rng) < 0.5"
AUGMENT = edits(
    augment,
    edit(
        "same-shift-for-all",
        {STARTS: STARTS.replace("(2, B)", "(2, 1)") + ".expand(2, B)"},
        "All images of a batch move by the same number of pixels.",
        "How many pairs of numbers are drawn for a batch of B?",
    ),
    edit(
        "mirrored-together",
        {MIRRORED: "(torch.rand(1, generator=rng) < 0.5).expand(B)"},
        "The whole batch is mirrored, or none of it.",
        "How often is a coin tossed for a batch of B?",
    ),
    edit(
        "upside-down",
        {"images.flip(-1)": "images.flip(-2)"},
        "Images are turned upside down, not left to right.",
        "Which axis holds the rows, and which the columns?",
    ),
    edit(
        "wraps-around",
        {"F.pad(images, [shift] * 4)": 'F.pad(images, [shift] * 4, mode="circular")'},
        "What leaves on one side comes in on the other.",
        "What should stand where the image has moved away?",
    ),
    edit(
        "border-repeated",
        {"F.pad(images, [shift] * 4)": 'F.pad(images, [shift] * 4, mode="replicate")'},
        "What moves in repeats the border, where it should be 0.",
        "What should stand where the image has moved away?",
    ),
    edit(
        "never-to-one-side",
        {STARTS: STARTS.replace(" + 1", "")},
        "No image moves the whole way right or down: one of the extremes is missing.",
        "Is the number that `torch.randint` is given drawn, too?",
    ),
    edit(
        "twice-the-shift",
        {
            STARTS: STARTS.replace("2 * shift", "4 * shift"),
            "[shift] * 4": "[2 * shift] * 4",
        },
        "Images move by up to twice as many pixels.",
        "By how much may an image move at most?",
    ),
    edit(
        "along-the-diagonal",
        {"starts[1][:, None]": "starts[0][:, None]"},
        "Images move as far down as right: one number is drawn for both.",
        "How many numbers does it take to say where an image goes?",
    ),
    edit(
        "always-mirrored",
        {MIRRORED: "torch.rand(B, generator=rng) < 1"},
        "Every image is mirrored.",
        "How often does a coin show heads?",
    ),
    edit(
        "mirrored-in-place",
        {"images = torch.where(": "images[:] = torch.where("},
        "It mirrors the caller's own images.",
        "Who else holds these images, and needs them as they were?",
    ),
)
MISCONCEPTIONS = {
    "Classifier": CLASSIFIER,
    "parameter_groups": GROUPS,
    "schedule": SCHEDULE,
    "smoothed_cross_entropy": LOSS,
    "accumulate": ACCUMULATE,
    "augment": AUGMENT,
}

# The oracles.


def logits_of(
    images: Tensor,
    get: Get,
    patch_size: int,
    depth: int,
    num_heads: int,
    pool: str = "cls",
    pre_logits_dim: int | None = None,
    **_built: int,
) -> Tensor:
    """Classifier, with a share for each token in place of a choice."""

    def part(name: str) -> Get:
        return lambda parameter: get(f"{name}.{parameter}")

    x = oracle.patch_embedding(images, part("embedding"), patch_size)
    x = oracle.encoder(x, part("encoder"), depth, num_heads)
    shares = torch.zeros(x.shape[1], dtype=torch.float64, device="cpu")
    if pool == "cls":
        shares[0] = 1
    else:
        shares[1:] = 1 / (len(shares) - 1)
    x = torch.einsum("bnd,n->bd", x, shares)
    if pre_logits_dim is not None:
        x = 2 * torch.special.expit(2 * oracle.linear(x, get, "pre_logits")) - 1
    return oracle.linear(x, get, "head")


def groups_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """For each parameter in how many groups it stands, and by what it decays."""
    kind, weight_decay = question.inputs
    rows = [
        [float(p.requires_grad), weight_decay * (p.requires_grad and len(p.shape) == 2)]
        for p in MODELS[kind]().parameters()
    ]
    return finish(question, {}, (small(*rows),))


def schedule_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """The factors, from a table: the rise, then the squared sines of the fall."""
    _, warm_up, steps, lowest = question.inputs
    rise = torch.linspace(0, 1, warm_up + 2, dtype=torch.float64)[1:-1]
    left = torch.linspace(1, 0, steps - warm_up + 1, dtype=torch.float64)
    fall = torch.lerp(lowest + 0 * left, 1 + 0 * left, (left * torch.pi / 2).sin() ** 2)
    return finish(question, {}, (torch.cat([rise, fall])[:, None],))


def loss_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """The loss from the targets themselves, (1, 1)."""
    logits, labels, smoothing = question.inputs
    logits = double(logits)
    num_classes = logits.shape[1]
    targets = (1 - smoothing) * torch.eye(num_classes, dtype=torch.float64)[
        labels.long()
    ]
    targets = targets + smoothing / num_classes  # (B, J)
    most = logits.detach().amax(1, keepdim=True)
    logs = logits - most - (logits - most).exp().sum(1, keepdim=True).log()
    loss = -torch.einsum("bk,bk->", targets, logs) / len(logits)
    return finish(question, {"input 0": logits}, (loss.view(1, 1),))


def gradient_oracle(question: Question, _taken: tuple[str, ...]) -> tuple:
    """The gradient of the mean loss by its formula, and the loss, (1, 1)."""
    images, labels, _ = question.inputs
    weight, bias = (question.parameters[n] for n in ("weight", "bias"))
    x, rows = images.flatten(1), torch.arange(len(images))
    logits = x @ weight.T + bias
    wrong = logits.softmax(1)
    loss = -wrong[rows, labels.long()].log().mean()
    wrong[rows, labels.long()] -= 1  # (B, J)
    ones = torch.ones(len(x), 1, dtype=x.dtype)
    gradient = wrong.T @ torch.cat([x, ones], 1) / len(x)  # (J, features + 1)
    return finish(question, {}, (gradient, loss.view(1, 1)))


# How answers are called that take or return something else than tensors.


def as_number(found: object, what: str) -> float:
    """A number that was returned, of Python, numpy or torch. ProblemError if none."""
    if found is None:
        text = f"It returned None, expected {what}. Is there a `return`?"
        raise ProblemError("returns-none", text, "")
    try:
        if isinstance(found, Tensor) and found.numel() != 1:
            raise TypeError
        if isinstance(found, bool | str):
            raise TypeError
        return float(found)
    except (TypeError, ValueError):
        came = tuple(found.shape) if isinstance(found, Tensor) else repr(found)[:60]
        text = f"It returned {came}, expected {what}."
        if isinstance(found, Tensor):
            text = f"It returned a tensor of shape {came}, expected {what}."
        ask = "Which one number is asked for?"
        raise ProblemError("wrong-type", text, ask) from None


def call_step_by_step(answer: Callable, inputs: list, _parameters: dict) -> object:
    """The factors of each step, (steps + 1, 1), or of the one that is asked for."""
    step, *others, steps, lowest = inputs
    asked = range(steps + 1) if step == EACH else [step]
    found = [answer(one, *others, steps, lowest) for one in asked]
    if any(factor is Ellipsis for factor in found):
        return Ellipsis
    rows = [[as_number(factor, "a number")] for factor in found]
    return torch.tensor(rows, dtype=torch.float64, device="cpu")


def call_with_model(answer: Callable, inputs: list, _parameters: dict) -> object:
    """For each parameter in how many groups it stands, and by what it decays."""
    kind, weight_decay = inputs
    model = MODELS[kind]()
    groups = answer(model, weight_decay)
    if groups is Ellipsis or groups is None:
        return groups
    places = {id(p): i for i, p in enumerate(model.parameters())}
    found = torch.zeros(len(places), 2, dtype=torch.float64, device="cpu")
    for group in listed_groups(groups):
        for parameter in group["params"]:
            place = places.get(id(parameter))
            if place is None:
                text = "In a group stands something that is no parameter of the model."
                ask = "What does `model.parameters()` give, and what a module's name?"
                raise ProblemError("no-parameter", text, ask)
            found[place, 0] += 1
            # A group that says nothing has AdamW's default.
            decay = group.get("weight_decay", 0.01)
            found[place, 1] = max(found[place, 1], as_number(decay, "a decay"))
    return found


def listed_groups(groups: object) -> list[dict]:
    """The groups with lists of parameters. ProblemError if they are none."""
    try:
        found = [dict(group) for group in groups]
        for group in found:
            given = group["params"]
            given = [given] if isinstance(given, Tensor) else list(given)
            group["params"] = [p[1] if isinstance(p, tuple) else p for p in given]
    except (KeyError, TypeError, ValueError):
        text = "It returned no list of groups that AdamW takes."
        ask = "Which two keys has each of your dictionaries?"
        raise ProblemError("wrong-type", text, ask) from None
    return found


def call_with_labels(answer: Callable, inputs: list, _parameters: dict) -> object:
    """The loss as (1, 1); labels are whole numbers."""
    logits, labels, smoothing = inputs
    loss = answer(logits, labels.detach().long(), smoothing)
    if not isinstance(loss, Tensor) or loss.ndim == 0:
        return loss.view(1, 1) if isinstance(loss, Tensor) else loss
    text = f"It returned a tensor of shape {tuple(loss.shape)}, expected one number, "
    text += f"for logits of shape {tuple(logits.shape)}."
    ask = "Over which axes must be averaged so that one number is left?"
    raise ProblemError("no-single-number", text, ask)


class Watched(nn.Module):
    """A linear classifier that notes how many images it is given at once."""

    def __init__(self, weight: Tensor, bias: Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())
        self.most = 0

    def forward(self, images: Tensor) -> Tensor:
        self.most = max(self.most, len(images))
        return images.flatten(1) @ self.weight.T + self.bias


def call_in_parts(answer: Callable, inputs: list, parameters: dict) -> object:
    """The gradient that the answer leaves, (J, features + 1), and its loss, (1, 1)."""
    images, labels, size = inputs
    model = Watched(parameters["weight"], parameters["bias"])
    for p in model.parameters():
        p.grad = torch.full_like(p, 3.0)  # as the step before left it
    loss = answer(model, images, labels.long(), size)
    if loss is Ellipsis:
        return loss
    loss = as_number(loss, "the mean loss, one number")
    given = (parameters["weight"], parameters["bias"])
    if not all(map(torch.equal, model.parameters(), given)):
        text = "The model's parameters are others after the call."
        ask = "Who takes the step: this function, or whoever calls it?"
        raise ProblemError("parameters-changed", text, ask)
    if model.most > size:
        text = f"The model got {model.most} images at once, where {size} fit."
        ask = "How many images may be in memory at the same time?"
        raise ProblemError("too-many-at-once", text, ask)
    found = [p.grad for p in model.parameters()]
    if any(p is None for p in found):
        text = "After the call the model's parameters have no gradient."
        ask = "Which call leaves a gradient in `p.grad`?"
        raise ProblemError("no-gradient-left", text, ask)
    gradient = torch.cat([found[0], found[1][:, None]], 1)
    return gradient, torch.tensor([[loss]], dtype=torch.float64, device="cpu")


# The questions.

EACH = "every one"
OPTIONAL = ("query.bias", "key.bias", "value.bias")
VIT = "a ViT"
HIDDEN_VIT = "a ViT with a hidden layer"
FROZEN = "a ViT whose encoder is frozen"
OTHER_NAMES = "a model with other names"
MODELS: dict[str, Callable[[], nn.Module]] = {}


def model(kind: str) -> Callable:
    """A decorator for what builds a model of this kind."""

    def declare(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        MODELS[kind] = build
        return build

    return declare


@model(VIT)
def vit() -> nn.Module:
    """Two heads, one block."""
    return VisionTransformer(4, 2, 1, 3, depth=1, dim=4, num_heads=2, mlp_dim=6)


@model(HIDDEN_VIT)
def hidden_vit() -> nn.Module:
    """With one more matrix before the head."""
    return VisionTransformer(
        4, 2, 1, 3, depth=1, dim=4, num_heads=2, mlp_dim=6, pre_logits_dim=5
    )


@model(FROZEN)
def frozen_vit() -> nn.Module:
    """Only the embedding and the head are trained."""
    found = vit()
    found.encoder.requires_grad_(False)
    return found


@model(OTHER_NAMES)
def otherwise_named() -> nn.Module:
    """No name tells a matrix from a gain or from an embedding."""
    found = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2))
    found.register_parameter("start", nn.Parameter(torch.zeros(1, 1, 3)))
    found.register_parameter("places", nn.Parameter(torch.ones(1, 5, 3)))
    return found


def about(normal: Normal, **sizes: object) -> dict:
    """What a classifier of these sizes is built with, and random parameters."""
    dim, width = sizes["dim"], sizes.get("pre_logits_dim") or sizes["dim"]
    patches = (sizes["image_size"] // sizes["patch_size"]) ** 2
    parameters = oracle.linear_parameters(
        normal, "embedding.proj", dim, sizes["patch_size"] ** 2
    )
    parameters["embedding.cls_token"] = normal(1, 1, dim)
    parameters["embedding.pos_embed"] = normal(1, patches + 1, dim)
    for i in range(sizes["depth"]):
        name = f"encoder.blocks.{i}."
        parameters |= oracle.block_parameters(normal, dim, 4 * dim, name)
    parameters |= oracle.norm_parameters(normal, "encoder.norm", dim)
    if sizes.get("pre_logits_dim"):
        parameters |= oracle.linear_parameters(normal, "pre_logits", width, dim)
    classes = sizes["num_classes"]
    parameters |= oracle.linear_parameters(normal, "head", classes, width)
    return {"arguments": sizes, "parameters": parameters}


def of_patches(**other: object) -> dict:
    """A small classifier whose blocks are silent and whose patches are its tokens."""
    sizes = {"image_size": 4, "patch_size": 2, "num_classes": 2}
    sizes |= {"depth": 1, "dim": 4, "num_heads": 2, **other}
    asked = about(Normal(8), **sizes)
    ends = ("attn.proj.weight", "attn.proj.bias", "mlp.fc2.weight", "mlp.fc2.bias")
    parameters = {
        n: p * 0 if n.endswith(ends) else p for n, p in asked["parameters"].items()
    }
    eye = torch.eye(4, dtype=torch.float64, device="cpu")
    parameters |= {
        "embedding.proj.weight": eye,
        "embedding.proj.bias": 0 * eye[0],
        "embedding.cls_token": small([6, 0, 0, 0])[None],
        "embedding.pos_embed": 0 * parameters["embedding.pos_embed"],
        "encoder.norm.weight": 1 + 0 * eye[0],
        "encoder.norm.bias": 0 * eye[0],
    }
    return {"arguments": sizes, "parameters": parameters}


SMALL_IMAGES = torch.stack(
    [
        small([1, 0, 0, 5], [0, 0, 0, 0], [2, 2, 0, 0], [0, 0, 3, 3]),
        small([0, 0, 4, 0], [4, 0, 0, 0], [1, 0, 2, 0], [0, 1, 0, 5]),
    ]
)[:, None]
SMALL_CLS, SMALL_MEAN = of_patches(pool="cls"), of_patches(pool="mean")
SMALL_HIDDEN = of_patches(pool="mean", pre_logits_dim=3)


def classifier_questions(seed: int) -> list[Question]:
    """Small fixed ones for messages, random ones for the verdict.

    Sizes differ within a random one, so that a wrong axis cannot hide.
    """
    normal = Normal(seed)
    x, y = 2 * normal(2, 1, 12, 12), 2 * normal(3, 1, 6, 6)
    cls = about(
        normal,
        **{"image_size": 12, "patch_size": 4, "num_classes": 7},
        **{"depth": 2, "dim": 12, "num_heads": 3, "pool": "cls"},
    )
    mean = about(
        normal,
        **{"image_size": 6, "patch_size": 3, "num_classes": 6},
        **{"depth": 1, "dim": 8, "num_heads": 4, "pool": "mean"},
    )
    both = about(
        normal,
        **{"image_size": 6, "patch_size": 2, "num_classes": 5},
        **{"depth": 1, "dim": 4, "num_heads": 1, "pool": "mean"},
        pre_logits_dim=11,
    )
    hidden = about(
        normal,
        **{"image_size": 6, "patch_size": 3, "num_classes": 4},
        **{"depth": 1, "dim": 6, "num_heads": 2, "pool": "cls"},
        pre_logits_dim=7,
    )
    largest = {"arguments": {**mean["arguments"], "pool": "max"}}
    return [
        Question("small images, cls", (SMALL_IMAGES,), **SMALL_CLS),
        Question("small images, mean", (SMALL_IMAGES,), **SMALL_MEAN),
        Question("small images, hidden layer", (SMALL_IMAGES,), **SMALL_HIDDEN),
        Question("one small image", (SMALL_IMAGES[:1],), **SMALL_MEAN),
        Question("cls", (x,), **cls),
        Question("mean", (y,), **mean),
        Question("mean and a hidden layer", (y,), **both),
        Question("cls and a hidden layer", (y,), **hidden),
        Question("in training", (y[[0, 0]],), **mean, training=True, secondary=True),
        Question("a nan", (with_nan(y),), **mean),
        Question("float32", (y.float(),), **mean),
        Question("float32 again", (y.float(),), **mean),
        Question("another word", (y,), **{**mean, **largest}, refused=True),
        Question("gradients", (y,), **both, cotangent=normal(3, 5)),
        Question("another device", (y,), **mean, device="meta"),
    ]


def groups_questions(seed: int) -> list[Question]:
    """Each kind of model, with a decay of its own."""
    normal = Normal(seed)
    decays = [round(0.02 + abs(float(normal(1))) / 5, 3) for _ in MODELS]
    return [
        Question(kind, (kind, decay))
        for kind, decay in zip(MODELS, decays, strict=True)
    ]


def schedule_questions(seed: int) -> list[Question]:
    """Few steps for messages, then any number of them."""
    generator = Normal(seed).generator
    warm_up, fall = (
        int(torch.randint(*ends, (), generator=generator))
        for ends in ((4, 9), (13, 30))
    )
    steps = warm_up + fall
    lowest = round(0.05 + 0.4 * float(torch.rand((), generator=generator)), 2)
    after = (steps + 1, warm_up, steps, lowest)
    return [
        Question("nine steps", (EACH, 3, 9, 0.2)),
        Question("no warm-up", (EACH, 0, 7, 0.0)),
        Question("a long warm-up", (EACH, 11, 16, 0.1)),
        Question("many steps", (EACH, warm_up, steps, lowest)),
        Question("a step before the first", (-1, 3, 9, 0.2), refused=True),
        Question("a step after the last", after, refused=True),
    ]


def loss_questions(seed: int) -> list[Question]:
    """Few images for messages, random ones, and logits that exp cannot take."""
    normal = Normal(seed)
    x, labels = 2 * normal(4, 7), small([3, 0, 6, 3])[0]
    common = (x, labels, 0.1)
    apart = small([0, -900, -300], [-500, 0, -120]).float()
    large = small([900, 899, 898], [500, 502, 501]).float()
    square = (2 * normal(5, 5), small([4, 4, 1, 0, 2])[0], 0.35)
    return [
        Question("two images", (small([3, 0, 1], [0, 2, 2]), small([0, 2])[0], 0.3)),
        Question("no smoothing", (small([2, 0], [0, 2]), small([0, 0])[0], 0.0)),
        Question("four images", common),
        Question("five images, five classes", square),
        Question("many classes", (normal(2, 50), small([49, 7])[0], 0.2)),
        Question("logits far apart", (apart, small([1, 1])[0].float(), 0.1)),
        Question("large logits", (large, small([2, 1])[0].float(), 0.1)),
        Question("float32", (x.float(), labels, 0.1)),
        Question("float32 again", (x.float(), labels, 0.1)),
        Question("gradients", common, cotangent=normal(1, 1)),
        Question("another device", common, device="meta"),
    ]


def gradient_questions(seed: int) -> list[Question]:
    """Parts that are equal, and a last one that is smaller."""
    normal = Normal(seed)
    parameters = {"weight": small([1, 0], [0, 1], [0, 0]), "bias": small([0, 0, 1])[0]}
    others = {"weight": normal(4, 6), "bias": normal(4)}
    three = small([2, 0], [0, 2], [4, 1]).view(3, 1, 1, 2)
    x = normal(11, 1, 2, 3)
    labels = torch.arange(11, dtype=torch.float64, device="cpu") % 4
    return [
        Question("equal parts", (x[:8], labels[:8], 4), parameters=others),
        Question("one part", (x[:5], labels[:5], 9), parameters=others),
        Question(
            "two images and one", (three, small([1, 1, 2])[0], 2), parameters=parameters
        ),
        Question("a small last part", (x, labels, 3), parameters=others),
        Question("a last part of one", (x, labels, 5), parameters=others),
        Question("one at a time", (x[:3], labels[:3], 1), parameters=others),
    ]


# The properties that are their own.


@holds(
    "an image's logits do not depend on the other images",
    "May the logits of one image depend on the others in its batch?",
    core=True,
)
def separates_images(trials: Trials) -> None:
    """An image alone and in a batch."""
    alone, together = trials["one small image"], trials["small images, mean"]
    if not torch.allclose(together.output[:1], alone.output):
        text = "An image gives other logits in a batch of two than alone."
        raise Fails(text, "images-mixed")


@each(
    "without a width there is no hidden layer",
    ("cls",),
    "What is asked for where `pre_logits_dim` is None?",
    core=True,
)
def has_no_hidden_layer(trial: Trial) -> None:
    """One that is there all the same has numbers of its own."""
    if any(name.startswith("pre_logits") for name in trial.reply.parameters):
        text = "Built without `pre_logits_dim`, it has a hidden layer all the same."
        raise Fails(text, "hidden-layer-always")


FORM = Form(
    outputs=("logits",),
    is_class=True,
    fused=FUSED,
    aliases=ALIASES | {"pre_logits": ("pre_logits.0",)},  # before an nn.Tanh
    reference=(VisionTransformer, Classifier, logits_of),
)


def reads(name: str, *questions: str, ask: str, core: bool = False) -> Property:
    """The logits of these questions are right.

    Where they are those of a known wrong version, it gives its name, whatever else is
    wrong in other questions.
    """

    @each(name, questions, ask, core=core)
    def test(trial: Trial) -> None:
        if trial.right():
            return
        trial.require_no_rounding()
        for wrong in CLASSIFIER:
            reply = kept.said(wrong, FORM, trial.question, 0)
            if has_numbers(reply) and same(reply, trial.reply):
                raise Fails.like(wrong)
        trial.require_right()

    return test


WHAT_IS_READ = "Which token is read, or which tokens are averaged, and when?"
CLASSIFIER_PROPERTIES: tuple[Property, ...] = (
    REPEATS,
    has_parameters(
        "the embedding, the encoder and the head are there",
        "cls",
        ask="Which parts does the task name?",
        optional=OPTIONAL,
    ),
    has_parameters(
        "a hidden layer is there if its width is given",
        "cls and a hidden layer",
        ask="Which part does `pre_logits_dim` ask for?",
        optional=OPTIONAL,
    ),
    returns_right_shapes(
        "logits (B, J) come back",
        *("cls", "mean", "mean and a hidden layer"),
        ask="Which axis of the tokens shall disappear?",
    ),
    has_no_hidden_layer,
    separates_images,
    reads(
        "`cls` reads the class token",
        *("cls", "small images, cls"),
        ask=WHAT_IS_READ,
        core=True,
    ),
    reads(
        "`mean` reads the mean of the patch tokens",
        *("mean", "small images, mean"),
        ask=WHAT_IS_READ,
        core=True,
    ),
    reads(
        "a hidden layer has tanh after it",
        *("cls and a hidden layer", "mean and a hidden layer"),
        ask="In which order do pooling, hidden layer, tanh and head come?",
    ),
    learns_no_more("cls"),
    same_in_training("mean"),
    refuses(
        "another word than `cls` and `mean` is refused",
        "any-pool-taken",
        "another word",
        ask="Who tells the caller that a word is misspelt?",
    ),
    PASSES_NAN_ON,
    *EDGES,
)


def rows_of(trial: Trial) -> Iterable[tuple[str, list[float], list[float]]]:
    """The name of each parameter, what came, and what is right."""
    names = [n for n, _ in MODELS[trial.question.name]().named_parameters()]
    got, expected = trial.output.tolist(), trial.expected[0].tolist()
    return zip(names, got, expected, strict=True)


def is_near(a: float, b: float) -> bool:
    """Two decays are the same number."""
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)


@each(
    "each trained parameter stands in one group",
    (VIT, HIDDEN_VIT, OTHER_NAMES),
    "Is there a parameter that none of your conditions is true for, or two are?",
    core=True,
)
def in_one_group(trial: Trial) -> None:
    """Never in none, never in two."""
    for name, (times, _), _ in rows_of(trial):
        if times != 1:
            text = f"In {trial.question.name}, `{name}` stands in {times:.0f} groups."
            raise Fails(text, "in-no-group" if times == 0 else "in-two-groups")


@each(
    "matrices decay by what the function is given",
    (VIT, HIDDEN_VIT, OTHER_NAMES),
    "Which parameters are matrices, and where does the number go?",
    core=True,
)
def matrices_decay(trial: Trial) -> None:
    """Whatever their names are."""
    for name, (_, decay), (_, wanted) in rows_of(trial):
        if wanted and not is_near(decay, wanted):
            text = f"In {trial.question.name}, `{name}` decays by {decay:g}, "
            raise Fails(f"{text}expected {wanted:g}.")


@each(
    "nothing else decays",
    (VIT, HIDDEN_VIT, OTHER_NAMES),
    "What tells a matrix from all other parameters, in every model?",
    core=True,
)
def others_stay(trial: Trial) -> None:
    """Biases, gains, the class token and the positions."""
    for name, (_, decay), (_, wanted) in rows_of(trial):
        if not wanted and not is_near(decay, 0):
            text = f"In {trial.question.name}, `{name}` decays by {decay:g}, "
            raise Fails(f"{text}expected 0.")


@each(
    "frozen parameters stand in no group",
    (FROZEN,),
    "How does a parameter say that it is not trained?",
)
def leaves_frozen_out(trial: Trial) -> None:
    """They have no gradient."""
    for name, (times, _), (wanted, _) in rows_of(trial):
        if times and not wanted:
            text = f"In {trial.question.name}, `{name}` stands in a group."
            raise Fails(text, "frozen-kept")
    trial.require_right()


GROUPS_PROPERTIES: tuple[Property, ...] = (
    returns_right_shapes(
        "groups come back that AdamW takes",
        *MODELS,
        ask="Which two keys has each of your dictionaries?",
    ),
    in_one_group,
    matrices_decay,
    others_stay,
    leaves_frozen_out,
)


def require_factors(trial: Trial, *, rising: bool) -> None:
    """Fails at the first step of the rise, or of the fall, with another factor."""
    _, warm_up, steps, lowest = trial.question.inputs
    trial.require_no_rounding()
    pairs = zip(trial.output[:, 0].tolist(), trial.expected[0][:, 0], strict=True)
    for step, (got, wanted) in enumerate(pairs):
        if (step < warm_up) == rising and not abs(got - wanted) < 1e-5:
            raise Fails(
                f"In step {step} of {steps}, with warm_up {warm_up} and lowest "
                f"{lowest:g}, the factor is {got:.4g}, expected {wanted:.4g}."
            )


LENGTHS = ("nine steps", "many steps", "a long warm-up", "no warm-up")
SCHEDULE_PROPERTIES: tuple[Property, ...] = (
    returns_right_shapes(
        "a number comes back for each step",
        *LENGTHS,
        ask="What does your function return in each of its branches?",
    ),
    each(
        "the factor rises in equal steps",
        LENGTHS,
        "How large is the first factor, and by how much does each next one grow?",
        core=True,
    )(lambda trial: require_factors(trial, rising=True)),
    each(
        "then it falls from 1 to `lowest` along half a cosine",
        LENGTHS,
        "How far has the fall come, in step `warm_up` and in step `steps`?",
        core=True,
    )(lambda trial: require_factors(trial, rising=False)),
    refuses(
        "steps outside of the run are refused",
        "any-step-taken",
        *("a step before the first", "a step after the last"),
        ask="Who tells the caller that the run has ended?",
    ),
)
LOSS_PROPERTIES: tuple[Property, ...] = (
    REPEATS,
    returns_right_shapes(
        "one number comes back",
        *("four images", "two images"),
        ask="Over which axes must be averaged so that one number is left?",
    ),
    agrees(
        "without smoothing it is the cross-entropy",
        "no smoothing",
        ask="What is the logarithm of the probability of the right class?",
        core=True,
    ),
    as_defined(
        *("four images", "five images, five classes", "many classes", "two images"),
        ask=SHARES,
    ),
    stays_finite("logits far apart give a number", "logits far apart", UNSTABLE),
    stays_finite("large logits give a number", "large logits", UNSTABLE),
    *EDGES,
)


GRADIENT_FORM = Form(
    outputs=("gradient", "loss"),
    reference=(accumulate,),
    call=call_in_parts,
    optimizers=True,
)


def of_the_whole(
    name: str, output: int, *questions: str, ask: str, core: bool = False
) -> Property:
    """The gradient (output 0) or the loss (output 1) of these questions is right.

    A gradient that is that of a known wrong version gets its name, whatever the loss.
    """

    @each(name, questions, ask, core=core)
    def test(trial: Trial) -> None:
        got, right = trial.outputs[output], trial.expected[output]
        if close(got, right):
            return
        images, _, size = trial.question.inputs
        what = ("gradient", "loss")[output]
        text = f"The {what} of {len(images)} images in parts of {size} differs."
        for wrong in () if output else ACCUMULATE:
            came = kept.said(wrong, GRADIENT_FORM, trial.question, 0).outputs
            if came and close(came[0], got):
                if wrong == BUG:
                    text = "The gradient is that of the version with the bug."
                    raise Fails(text, "same-as-the-bug", BUG.ask)
                raise Fails.like(wrong)
        raise Fails(text)

    return test


(BUG,) = named(ACCUMULATE, "every-part-counts-alike")
EQUAL = ("equal parts", "one part", "one at a time")
UNEQUAL = ("two images and one", "a small last part", "a last part of one")
GRADIENT_PROPERTIES: tuple[Property, ...] = (
    returns_right_shapes(
        "a gradient is left and a loss comes back",
        *("equal parts", "one at a time", "a small last part"),
        ask="What is left in `p.grad`, and what is returned?",
    ),
    of_the_whole(
        "equal parts leave the gradient of the whole", 0, *EQUAL, ask=WEIGHT, core=True
    ),
    of_the_whole(
        "a smaller last part changes nothing", 0, *UNEQUAL, ask=WEIGHT, core=True
    ),
    of_the_whole(
        "the loss of the whole comes back",
        *(1, *EQUAL, *UNEQUAL),
        ask="With which weight does each image enter the loss?",
    ),
    KEEPS_INPUTS,
    LEAVES_THE_SEED,
)

# The tasks.

WRITE_CLASSIFIER = Implement(
    form=FORM,
    ask_about=classifier_questions,
    oracle=oracle_of(logits_of),
    properties=CLASSIFIER_PROPERTIES,
    misconceptions=CLASSIFIER,
    show=Show(
        (
            "small images, cls",
            "small images, mean",
            "small images, hidden layer",
        ),
        axes={"logits": ("picture", "class")},
        notes={
            "small images, cls": "with silent blocks",
            "small images, mean": "with silent blocks",
            "small images, hidden layer": "with silent blocks",
        },
    ),
)
WRITE_GROUPS = Implement(
    form=Form(
        outputs=("groups",),
        reference=(parameter_groups,),
        call=call_with_model,
        optimizers=True,
    ),
    ask_about=groups_questions,
    oracle=groups_oracle,
    properties=GROUPS_PROPERTIES,
    misconceptions=GROUPS,
)
WRITE_SCHEDULE = Implement(
    form=Form(
        outputs=("factors",),
        reference=(warm_up_cosine, factor_of),
        call=call_step_by_step,
    ),
    ask_about=schedule_questions,
    oracle=schedule_oracle,
    properties=SCHEDULE_PROPERTIES,
    misconceptions=SCHEDULE,
    show=Show(
        ("nine steps", "no warm-up"),
        inputs=("step", "warm_up", "steps", "lowest"),
        axes={"factors": ("step", "factor")},
    ),
)
WRITE_LOSS = Implement(
    form=Form(
        outputs=("loss",),
        builtins=("cross_entropy", "nll_loss"),
        reference=(smoothed_cross_entropy,),
        call=call_with_labels,
    ),
    ask_about=loss_questions,
    oracle=loss_oracle,
    properties=LOSS_PROPERTIES,
    misconceptions=LOSS,
    show=Show(
        ("no smoothing", "two images", "logits far apart", "large logits"),
        axes={"loss": ("batch", "loss")},
    ),
)


def shifted_one_by_one(
    images: Tensor, shift: int, rng: torch.Generator | None = None
) -> Tensor:
    """A right augmentation: image by image, the shift drawn before the mirroring."""
    made = torch.zeros_like(images)
    H, W = images.shape[2:]
    for image, place in zip(images, made, strict=True):
        down, right = (
            torch.randint(-shift, shift + 1, (2,), generator=rng).clamp(
                -min(H, W), min(H, W)
            )
        ).tolist()
        if torch.rand(1, generator=rng) >= 0.5:
            image = image.flip(-1)
        place[:, max(down, 0) : H + down, max(right, 0) : W + right] = image[
            :, max(-down, 0) : H - down, max(-right, 0) : W - right
        ]
    return made


def mirrored_at_the_end(
    images: Tensor, shift: int, rng: torch.Generator | None = None
) -> Tensor:
    """A right augmentation: it moves first, by rows and columns that are looked up."""
    B, C, H, W = images.shape
    rows, columns = (
        torch.arange(side).expand(B, -1)
        + torch.randint(-shift, shift + 1, (B, 1), generator=rng)
        for side in (H, W)
    )
    inside = ((rows >= 0) & (rows < H))[:, None, :, None]
    inside = inside & ((columns >= 0) & (columns < W))[:, None, None, :]
    rows = rows.clamp(0, H - 1)[:, None, :, None].expand(B, C, H, W)
    columns = columns.clamp(0, W - 1)[:, None, None, :].expand(B, C, H, W)
    moved = images.gather(2, rows.to(images.device))
    moved = moved.gather(3, columns.to(images.device))
    moved = moved.masked_fill(~inside.to(images.device), 0)
    coins = torch.rand(B, generator=rng) < 0.5
    return torch.stack(
        [x.flip(-1) if coin else x for x, coin in zip(moved, coins, strict=True)]
    )


TEST_THE_AUGMENTATION = BreakIt(
    right={
        "the course's own": augment,
        "one that goes image by image": shifted_one_by_one,
        "one that mirrors at the end": mirrored_at_the_end,
    },
    wrong=named(
        AUGMENT,
        *("same-shift-for-all", "mirrored-together", "upside-down"),
        *("wraps-around", "never-to-one-side", "mirrored-in-place"),
    ),
    ask="Which images can come back from one small image, and do all of them?",
)

TASKS = {
    "Classifier": WRITE_CLASSIFIER,
    "parameter_groups": WRITE_GROUPS,
    "schedule": WRITE_SCHEDULE,
    "smoothed_cross_entropy": WRITE_LOSS,
    "wrong_augmentation": TEST_THE_AUGMENTATION,
    "find_the_bug": Implement(
        form=GRADIENT_FORM,
        ask_about=gradient_questions,
        oracle=gradient_oracle,
        properties=GRADIENT_PROPERTIES,
        misconceptions=ACCUMULATE,
        show=Show(
            ("two images and one",),
            inputs=("images", "labels", "size"),
            axes={
                "gradient": ("class", "weight, the last one the bias"),
                "loss": ("batch", "loss"),
            },
            parameters=("weight", "bias"),
            notes={"two images and one": "where an earlier step left gradients of 3"},
        ),
        bug=BUG,
    ),
}
