"""Answers on training: right designs, and wrong ones with the names that they get.

What the package itself declares wrong (vit_encoder.check.training) is not repeated;
here stand other ways of writing the same, and other faults.
"""

import math

import torch
import torch.nn.functional as F
from tests.bank.variants import variants
from torch import nn

import vit_encoder
from vit_encoder import Encoder, EncoderBlock, PatchEmbedding, patchify

# Right designs of the classifier.


class Model(nn.Module):
    def __init__(
        self,
        image_size,
        patch_size,
        num_classes,
        depth,
        dim,
        num_heads,
        pool="cls",
        pre_logits_dim=None,
    ):
        super().__init__()
        if pool != "cls" and pool != "mean":
            raise ValueError(pool)
        self.pool = pool
        self.embedding = PatchEmbedding(image_size, patch_size, 1, dim)
        self.encoder = Encoder(depth, dim, num_heads, 4 * dim)
        self.pre_logits = None
        width = dim
        if pre_logits_dim is not None:
            self.pre_logits = nn.Linear(dim, pre_logits_dim)
            width = pre_logits_dim
        self.head = nn.Linear(width, num_classes)

    def forward(self, images):
        tokens = self.encoder(self.embedding(images))
        vector = tokens[:, 1:].mean(1) if self.pool == "mean" else tokens[:, 0]
        if self.pre_logits:
            vector = self.pre_logits(vector).tanh()
        return self.head(vector)


class WithIdentity(Model):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.activation = nn.Tanh() if self.pre_logits else nn.Identity()
        self.pre_logits = self.pre_logits or nn.Identity()

    def forward(self, images):
        tokens = self.encoder(self.embedding(images))
        pooled = {"cls": tokens[:, 0], "mean": tokens[:, 1:].mean(dim=-2)}[self.pool]
        return self.head(self.activation(self.pre_logits(pooled)))


class ByShares(Model):
    def forward(self, images):
        tokens = self.encoder(self.embedding(images))
        N = tokens.shape[1] - 1
        shares = tokens.new_full((N + 1,), 1 / N)
        shares[0] = 0
        if self.pool == "cls":
            shares = torch.zeros_like(shares)
            shares[0] = 1
        vector = torch.einsum("bnd,n->bd", tokens, shares)
        if self.pre_logits is not None:
            vector = torch.tanh(self.pre_logits(vector))
        return F.linear(vector, self.head.weight, self.head.bias)


class HeadOnEveryToken(Model):
    """The head is linear, so the mean may be taken after it."""

    def forward(self, images):
        x = self.encoder(self.embedding(images))
        if self.pre_logits is None and self.pool == "mean":
            return self.head(x)[:, 1:].mean(dim=1)
        x = x[:, 0] if self.pool == "cls" else x[:, 1:].sum(1) / (x.shape[1] - 1)
        return self.head(x if self.pre_logits is None else self.pre_logits(x).tanh())


class Convolution(nn.Module):
    def __init__(self, image_size, patch_size, dim):
        super().__init__()
        count = (image_size // patch_size) ** 2
        self.proj = nn.Conv2d(1, dim, patch_size, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, count + 1, dim))

    def forward(self, images):
        x = self.proj(images).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], 1, -1), x), 1)
        return x + self.pos_embed


class Blocks(nn.Module):
    def __init__(self, depth, dim, num_heads):
        super().__init__()
        made = [EncoderBlock(dim, num_heads, 4 * dim) for _ in range(depth)]
        self.blocks = nn.Sequential(*made)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x):
        return self.norm(self.blocks(x))


class OwnParts(Model):
    def __init__(
        self,
        image_size,
        patch_size,
        num_classes,
        depth,
        dim,
        num_heads,
        pool="cls",
        pre_logits_dim=None,
    ):
        nn.Module.__init__(self)
        assert pool in ("cls", "mean") or refuse(pool)
        self.pool = pool
        self.embedding = Convolution(image_size, patch_size, dim)
        self.encoder = Blocks(depth, dim, num_heads)
        self.pre_logits = pre_logits_dim and nn.Linear(dim, pre_logits_dim)
        self.head = nn.Linear(pre_logits_dim or dim, num_classes)


def refuse(pool):
    raise ValueError(f"unknown pool {pool}")


class InSequence(Model):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        if self.pre_logits is not None:
            self.pre_logits = nn.Sequential(self.pre_logits, nn.Tanh())

    def forward(self, images):
        x = self.encoder(self.embedding(images))
        if self.pool not in ("mean", "cls"):
            raise ValueError(self.pool)
        x = x[:, 1:].mean(dim=1) if self.pool == "mean" else x[:, 0, :]
        x = x if self.pre_logits is None else self.pre_logits(x)
        return self.head(x)


RIGHT_CLASSIFIER = [
    InSequence,
    Model,
    WithIdentity,
    ByShares,
    HeadOnEveryToken,
    OwnParts,
]

# Wrong ones.


def model(*changes):
    """Model with other text in some places."""
    return variants(Model, *changes)


VECTOR = 'tokens[:, 1:].mean(1) if self.pool == "mean" else tokens[:, 0]'
MEAN, FIRST, RETURN = "tokens[:, 1:].mean(1)", "tokens[:, 0]", "self.head(vector)"
TANH, NORM = "self.pre_logits(vector).tanh()", "self.encoder.norm"
PATCHES = "PatchEmbedding(image_size, patch_size, 1, dim)"
STACK = "Encoder(depth, dim, num_heads, 4 * dim)"


class InheritedViT(vit_encoder.VisionTransformer):
    def __init__(self, image_size, patch_size, num_classes, depth, dim, heads, *rest):
        sizes = image_size, patch_size, 1, num_classes, depth, dim, heads, 4 * dim
        super().__init__(*sizes, *rest)


class TokensOfPatches(Model):
    """It cuts and projects by itself, and forgets the positions."""

    def forward(self, images):
        x = self.embedding.proj(patchify(images, self.embedding.patch_size))
        x = torch.cat([self.embedding.cls_token.expand(len(x), -1, -1), x], 1)
        x = self.encoder(x)
        x = x[:, 0] if self.pool == "cls" else x[:, 1:].mean(1)
        return self.head(x if self.pre_logits is None else self.pre_logits(x).tanh())


class HiddenLayerAlways(Model):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        if self.pre_logits is None:
            self.pre_logits = nn.Linear(sizes[4], sizes[4])


class SeveralMistakes(Model):
    """The class token in the mean, and no tanh."""

    def forward(self, images):
        x = self.encoder(self.embedding(images))
        x = x.mean(1) if self.pool == "mean" else x[:, 0]
        return self.head(x if self.pre_logits is None else self.pre_logits(x))


WRONG_CLASSIFIER = {
    "class-token-in-the-mean": [
        SeveralMistakes,
        *model({MEAN: "tokens.mean(1)"}, {MEAN: "tokens.sum(1) / len(tokens[0])"}),
    ],
    "divided-by-all-tokens": model({MEAN: "tokens[:, 1:].sum(1) / len(tokens[0])"}),
    "last-token-read": model({FIRST: "tokens[:, -1]"}),
    "pools-swapped": model({'self.pool == "mean"': 'self.pool != "mean"'}),
    "class-token-always": model({VECTOR: "tokens[:, 0]"}),
    "softmax-in-the-model": model({RETURN: "F.softmax(self.head(vector), 1)"}),
    "log-softmax-in-the-model": model(
        {RETURN: "self.head(vector).softmax(-1).log()"},
    ),
    "tanh-before-the-layer": model({TANH: "self.pre_logits(vector.tanh())"}),
    "no-tanh": model({TANH: "self.pre_logits(vector)"}),
    "normalized-again": model({VECTOR: f"{NORM}({VECTOR})"}),
    "encoder-left-out": model({"self.encoder(self": "(self"}),
    "any-pool-taken": model({"            raise ValueError(pool)": "            pass"}),
    "wrong-error": model({"ValueError(pool)": "TypeError(pool)"}),
    "missing-parameters": model(
        {
            "self.embedding = Patch": "self.patches = Patch",
            "self.embedding(": "self.patches(",
        },
        {"self.head = nn": "self.fc = nn", "self.head(vector)": "self.fc(vector)"},
    ),
    "wrong-parameter-shape": model(
        {PATCHES: "PatchEmbedding(image_size, patch_size, 3, dim)"},
        {STACK: "Encoder(depth, dim, num_heads, 3 * dim)"},
        {"            width = pre_logits_dim\n": ""},
    ),
    "hidden-layer-always": [HiddenLayerAlways],
    "extra-parameters": model(
        {STACK: f"{STACK}\n        self.norm = nn.LayerNorm(dim)"},
    ),
    "unasked-dropout": model(
        {RETURN: "self.head(F.dropout(vector, 0.5, self.training))"}
    ),
    "not-deterministic": model({RETURN: "self.head(F.dropout(vector, 0.1))"}),
    "wrong-dtype": model({RETURN: "self.head(vector).argmax(-1)"}),
    "returns-none": model({"return self.head": "self.head"}),
    "reference-used": [InheritedViT],
}
NAMELESS_CLASSIFIER = [
    TokensOfPatches,
    *model(
        {MEAN: "tokens[:, 1:].mean(1) / 2"},
        {FIRST: "tokens[:, 0] + tokens[:, 1]"},
        {RETURN: "self.head(vector) ** 2"},
    ),
]

# Groups of parameters.


def by_layers(model, weight_decay):
    decayed, kept = [], []
    matrices = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    for p in model.parameters():
        if p.requires_grad:
            (decayed if id(p) in matrices else kept).append(p)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0},
    ]


def lazily(model, weight_decay):
    def some(is_matrix):
        return (
            p
            for p in model.parameters()
            if p.requires_grad and (len(p.shape) == 2) == is_matrix
        )

    return (
        {"params": some(False), "weight_decay": 0.0},
        {"params": some(True), "weight_decay": weight_decay},
    )


def one_group_each(model, weight_decay):
    return [
        {"params": [p], "weight_decay": weight_decay if p.ndim == 2 else 0.0}
        for p in model.parameters()
        if p.requires_grad
    ]


def three_groups(model, weight_decay):
    groups = {n: [] for n in (1, 2, 3)}
    for _, p in model.named_parameters():
        if not p.requires_grad:
            continue
        groups[p.dim()].append(p)
    return [
        {"params": p, "weight_decay": weight_decay * (n == 2)}
        for n, p in groups.items()
    ]


RIGHT_GROUPS = [by_layers, lazily, one_group_each, three_groups]


def grouped(model, weight_decay):
    decayed, kept = [], []
    named = model.named_parameters()
    for name, p in named:
        if not p.requires_grad or not name:
            continue
        if p.dim() == 2:
            decayed.append(p)
        else:
            kept.append(p)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]


TWO = "p.dim() == 2"
NO_EMBEDDING = 'p.dim() > 1 and name.split(".")[-1] not in ("cls_token", "pos_embed")'
WRONG_GROUPS = {
    "embeddings-decay": variants(grouped, {TWO: "p.dim() >= 2"}, {TWO: "p.ndim != 1"}),
    "embeddings-by-name": variants(grouped, {TWO: NO_EMBEDDING}),
    "gains-decay": variants(grouped, {TWO: '"bias" not in name'}),
    "weights-by-name": variants(grouped, {TWO: '"weight" in name'}),
    "all-decay": variants(
        grouped, {TWO: "True"}, {'"weight_decay": 0.0': '"weight_decay": weight_decay'}
    ),
    "groups-swapped": variants(grouped, {TWO: "p.dim() != 2"}),
    "default-left-on": variants(grouped, {', "weight_decay": 0.0': ""}),
    "nothing-decays": variants(grouped, {TWO: "False"}),
    "frozen-kept": variants(grouped, {"not p.requires_grad or ": ""}),
    "in-no-group": variants(grouped, {"        else:": "        elif 'norm' in name:"}),
    "matrices-in-both": variants(grouped, {"        else:": "        if len(p):"}),
    "in-two-groups": variants(grouped, {"kept.append(p)": "kept.extend([p, p])"}),
    "wrong-type": [
        lambda model, weight_decay: torch.optim.AdamW(model.parameters()),
        lambda model, weight_decay: list(model.parameters()),
        *variants(grouped, {'{"params": kept': '{"parameters": kept'}),
    ],
    "no-parameter": variants(grouped, {"kept.append(p)": "kept.append(name)"}),
    "returns-none": variants(grouped, {"    return [": "    groups = ["}),
    "reference-used": [vit_encoder.parameter_groups],
}
NAMELESS_GROUPS = variants(
    grouped,
    {TWO: "p.dim() == 2 and p.shape[0] > p.shape[1]"},
    {'"weight_decay": weight_decay': '"weight_decay": weight_decay / 2'},
)

# The schedule.


def by_sines(step, warm_up, steps, lowest):
    if step < 0 or step > steps:
        raise ValueError(step)
    if step <= warm_up:
        return (step + 1) / (warm_up + 1)
    share = math.sin(math.pi / 2 * (steps - step) / (steps - warm_up)) ** 2
    return share + lowest * (1 - share)


def by_tensors(step, warm_up, steps, lowest):
    if step not in range(steps + 1):
        raise ValueError
    rise = torch.tensor((step + 1) / (warm_up + 1))
    done = torch.tensor(max(step - warm_up, 0) / (steps - warm_up))
    fall = torch.lerp(
        torch.tensor(lowest), torch.ones(()), (1 + (math.pi * done).cos()) / 2
    )
    return torch.minimum(rise, fall) if step < warm_up else fall


def by_a_table(step, warm_up, steps, lowest):
    if not 0 <= step <= steps:
        raise ValueError(f"no step {step}")
    rise = torch.linspace(0, 1, warm_up + 2)[1:]
    fall = torch.linspace(0, math.pi, steps - warm_up + 1).cos()
    fall = (1 + lowest) / 2 + (1 - lowest) / 2 * fall
    return torch.cat([rise, fall[1:]])[step].item()


RIGHT_SCHEDULE = [by_sines, by_tensors, by_a_table]
FALL = "math.sin(math.pi / 2 * (steps - step) / (steps - warm_up)) ** 2"
RISE, FLOORED = "(step + 1) / (warm_up + 1)", "share + lowest * (1 - share)"
EARLIER = {"step <= warm_up": "step < warm_up"}


def of_the_chapter(step, warm_up, steps, lowest):
    """What the chapter prints ends at 0."""
    if not 0 <= warm_up < steps or not 0 <= step <= steps:
        raise ValueError(step, warm_up, steps)
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    progress = (step - warm_up) / (steps - warm_up)
    return 0.5 * (1 + math.cos(math.pi * progress))


def rescaled(step, warm_up, steps, lowest):
    return lowest + (1 - lowest) * vit_encoder.warm_up_cosine(step, warm_up, steps)


WRONG_SCHEDULE = {
    "lowest-ignored": [of_the_chapter, *variants(by_sines, {FLOORED: "share"})],
    "lowest-added": variants(by_sines, {FLOORED: "share + lowest", **EARLIER}),
    "cut-off-at-lowest": variants(by_sines, {FLOORED: "max(lowest, share)"}),
    "starts-at-zero": variants(by_sines, {RISE: "step / warm_up", **EARLIER}),
    "risen-one-step-early": variants(
        by_sines, {RISE: "(step + 1) / warm_up", **EARLIER}
    ),
    "cosine-from-step-0": variants(
        by_sines, {FALL: "math.cos(math.pi / 2 * step / steps) ** 2", **EARLIER}
    ),
    "straight-line": variants(by_sines, {FALL: "(steps - step) / (steps - warm_up)"}),
    "quarter-wave": variants(by_sines, {" ** 2": ""}),
    "square-of-the-cosine": variants(by_sines, {"** 2": "** 4"}),
    "any-step-taken": variants(by_sines, {"step < 0 or step > steps": "False"}),
    "wrong-error": variants(by_sines, {"ValueError(step)": "IndexError(step)"}),
    "rounded": variants(by_sines, {FLOORED: f"round({FLOORED}, 2)"}),
    "wrong-type": [
        lambda step, warm_up, steps, lowest: [step],
        lambda step, warm_up, steps, lowest: "1",
    ],
    "returns-none": variants(by_sines, {f"return {FLOORED}": FLOORED}),
    "reference-used": [rescaled],
}
NAMELESS_SCHEDULE = variants(
    by_sines, {FALL: f"0.1 + 0.9 * {FALL}"}, {RISE: f"({RISE}) ** 2"}
)

# The smoothed loss.


def from_targets(logits, labels, smoothing):
    K = logits.shape[1]
    targets = F.one_hot(labels, K) * (1 - smoothing) + smoothing / K
    return -(targets * logits.log_softmax(1)).sum(1).mean()


def scattered(logits, labels, smoothing):
    B, K = logits.shape
    targets = torch.full_like(logits, smoothing / K)
    targets.scatter_(1, labels.unsqueeze(1), 1 - smoothing + smoothing / K)
    most = logits.amax(1, keepdim=True)
    logs = logits - most - (logits - most).exp().sum(1, keepdim=True).log()
    return -(targets * logs).sum() / B


def in_two_losses(logits, labels, smoothing):
    total = logits.logsumexp(1)
    hard = total - logits[torch.arange(len(logits)), labels]
    even = total - logits.mean(1)
    return torch.lerp(hard, even, smoothing).mean()


def image_by_image(logits, labels, smoothing):
    losses = []
    for x, y in zip(logits, labels, strict=True):
        logs = torch.log_softmax(x, 0)
        right = logs.index_select(0, y[None])[0]
        losses.append(-(1 - smoothing) * right - smoothing * logs.mean())
    return torch.stack(losses).mean()


RIGHT_LOSS = [from_targets, scattered, in_two_losses, image_by_image]
SUM, ONE_HOT = ".sum(1).mean()", "F.one_hot(labels, K) * (1 - smoothing)"


def built_in(logits, labels, smoothing):
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def layer(logits, labels, smoothing):
    return nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)


def negative_log_likelihood(logits, labels, smoothing):
    logs = logits.log_softmax(1)
    return (1 - smoothing) * F.nll_loss(logs, labels) - smoothing * logs.mean()


WRONG_LOSS = {
    "others-share-alone": variants(
        from_targets,
        {
            f"{ONE_HOT} + smoothing / K": "torch.where(F.one_hot(labels, K) == 1, "
            "1 - smoothing, smoothing / (K - 1))"
        },
    ),
    "own-share-taken-away": variants(
        from_targets, {ONE_HOT: "F.one_hot(labels, K) * (1 - smoothing / K)"}
    ),
    "nothing-taken-away": variants(from_targets, {ONE_HOT: "F.one_hot(labels, K)"}),
    "even-share-too-large": variants(from_targets, {"+ smoothing / K": "+ 1 / K"}),
    "classes-added-up": variants(from_targets, {"+ smoothing / K": "+ smoothing"}),
    "smoothing-ignored": variants(
        from_targets, {f"{ONE_HOT} + smoothing / K": "F.one_hot(labels, K)"}
    ),
    "divided-by-the-classes-too": variants(from_targets, {SUM: ".mean()"}),
    "sum-for-mean": variants(from_targets, {SUM: ".sum()"}),
    "one-loss-an-image": variants(from_targets, {SUM: ".sum(1)"}),
    "divided-by-the-classes": variants(scattered, {" / B": " / K"}),
    "log-of-softmax": variants(
        from_targets, {"logits.log_softmax(1)": "torch.log(logits.softmax(1))"}
    ),
    "softmax-twice": variants(
        from_targets, {"logits.log_softmax(1)": "logits.softmax(1).log_softmax(1)"}
    ),
    "softmax-over-the-batch": variants(
        from_targets, {"log_softmax(1)": "log_softmax(0)"}
    ),
    "exp-of-large-logits": variants(scattered, {"logits.amax(1, keepdim=True)": "0"}),
    "sign-turned": variants(from_targets, {"-(targets": "(targets"}),
    "no-single-number": variants(from_targets, {SUM: ".sum(0)"}),
    "number-returned": variants(from_targets, {SUM: f"{SUM}.item()"}),
    "gradient-cut": variants(
        from_targets, {"logits.log_softmax(1)": "logits.detach().log_softmax(1)"}
    ),
    "device-fixed": variants(
        scattered,
        {
            "torch.full_like(logits, smoothing / K)": "smoothing / K * "
            "torch.ones((B, K), dtype=logits.dtype)"
        },
    ),
    "built-in-used": [built_in, layer, negative_log_likelihood],
    "returns-none": variants(from_targets, {"return -": "-"}),
}
NAMELESS_LOSS = variants(
    from_targets,
    {SUM: ".sum(1).median()"},
    {SUM: ".sum(1).mean() + smoothing"},
)

# The gradient in parts.


def weighted(model, images, labels, size):
    for p in model.parameters():
        p.grad = None
    total = 0
    for start in range(0, len(images), size):
        x, y = images[start : start + size], labels[start : start + size]
        loss = F.cross_entropy(model(x), y) * (len(x) / len(images))
        loss.backward()
        total += loss.detach()
    return total


def divided_at_the_end(model, images, labels, size):
    model.zero_grad()
    total = 0.0
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        loss = F.cross_entropy(model(x), y, reduction="sum")
        loss.backward()
        total += float(loss)
    for p in model.parameters():
        p.grad /= len(images)
    return total / len(images)


def by_autograd(model, images, labels, size):
    parameters = list(model.parameters())
    sums = [torch.zeros_like(p) for p in parameters]
    losses = []
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        each = F.cross_entropy(model(x), y, reduction="none")
        losses.append(each.detach())
        found = torch.autograd.grad(each.sum(), parameters)
        sums = [a + b for a, b in zip(sums, found, strict=True)]
    for p, total in zip(parameters, sums, strict=True):
        p.grad = total / len(images)
    return torch.cat(losses).mean().item()


RIGHT_GRADIENT = [weighted, divided_at_the_end, by_autograd]
SHARE = " * (len(x) / len(images))"


def all_at_once(model, images, labels, size):
    model.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    return loss.item()


def last_of_all(model, images, labels, size):
    model.zero_grad()
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        loss = F.cross_entropy(model(x), y) * len(x) / len(images)
    loss.backward()
    return loss.item()


def means_of_means(model, images, labels, size):
    model.zero_grad()
    losses = []
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        losses.append(F.cross_entropy(model(x), y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.item()


def parts(model, images, labels, size):
    model.zero_grad()
    total, count = 0.0, 0
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        loss = F.cross_entropy(model(x), y)
        (loss * len(x) / len(images)).backward()
        total += loss.item() * len(x)
        count += len(x)
    return total / count


BACK = "(loss * len(x) / len(images)).backward()"
WRONG_GRADIENT = {
    "same-as-the-bug": [
        means_of_means,
        *variants(parts, {BACK: "(loss / math.ceil(len(images) / size)).backward()"}),
    ],
    "parts-added-up": variants(parts, {BACK: "loss.backward()"}),
    "images-added-up": variants(parts, {BACK: "(loss * len(x)).backward()"}),
    "last-part-alone": [
        last_of_all,
        *variants(
            parts, {"        loss = F": "        model.zero_grad()\n        loss = F"}
        ),
    ],
    "old-gradient-kept": variants(parts, {"    model.zero_grad()\n": ""}),
    "too-many-at-once": [all_at_once],
    "parameters-changed": variants(
        parts,
        {
            "return total": "torch.optim.SGD(model.parameters(), 0.1).step()\n"
            "    return total"
        },
    ),
    "no-gradient-left": variants(parts, {BACK: "pass"}),
    "wrong-type": variants(parts, {"total / count": "[total / count]"}),
    "returns-none": variants(parts, {"return total / count": "total / count"}),
    "loss-of-the-last-part": variants(parts, {"total / count": "loss.item()"}),
}
NAMELESS_GRADIENT = variants(
    parts, {BACK: "(loss / size).backward()"}, {BACK: "(loss * 2).backward()"}
)

# Tests that a student may write.


def pictures(images):
    return {tuple(x.flatten().tolist()) for x in images}


def possible(image, shift):
    _, H, W = image.shape
    wide = F.pad(torch.stack([image, image.flip(-1)]), [shift] * 4)
    cuts = wide.unfold(2, H, 1).unfold(3, W, 1)  # (2, C, 2s + 1, 2s + 1, H, W)
    return pictures(cuts.permute(0, 2, 3, 1, 4, 5).flatten(0, 2))


def by_sets(part):
    image = torch.rand(2, 4, 5) + 1
    images = image.expand(2000, -1, -1, -1).contiguous()
    before = images.clone()
    assert pictures(part(images, 2)) == possible(image, 2)
    assert torch.equal(images, before)


def one_bright_pixel(part):
    """Where a pixel goes, and whether its right neighbour follows."""
    image = torch.zeros(1, 1, 7, 9)
    image[0, 0, 3, 4], image[0, 0, 3, 5], image[0, 0, 0, 4] = 1, 2, 3
    images = image.repeat(600, 1, 1, 1)
    came = part(images, 1, torch.Generator().manual_seed(3))
    if not (images == image).all():
        return False
    places, sides, tops = set(), set(), set()
    for x in came:
        row, column = (x[0] == 1).nonzero()[0].tolist()
        side = (x[0] == 2).nonzero()[0].tolist()
        places.add((row, column))
        sides.add(side[1] - column)
        if side[0] != row:
            return False
        top = (x[0] == 3).nonzero().tolist()
        if len(top) > 1 or (top and top[0][0] != row - 3) or (not top and row != 2):
            return False
        tops.add((row, column, side[1] - column))
    everywhere = {(r, c) for r in (2, 3, 4) for c in (3, 4, 5)}
    return places == everywhere and sides == {-1, 1} and len(tops) == 18


def shapes(part):
    images = torch.rand(5, 2, 6, 7)
    return part(images, 2).shape == images.shape


def unchanged(part):
    images = torch.rand(50, 1, 6, 7)
    before = images.clone()
    part(images, 2)
    return torch.equal(images, before)


def only_possible(part):
    """It does not ask whether all that is possible comes."""
    image = torch.rand(1, 4, 5) + 1
    images = image.repeat(300, 1, 1, 1)
    return pictures(part(images, 1)) <= possible(image, 1)


def without_the_given(part):
    image = torch.rand(1, 4, 5) + 1
    return pictures(part(image.repeat(900, 1, 1, 1), 1)) == possible(image, 1)


def by_the_seed(part):
    """A version that draws in another order is right, too."""
    images = torch.rand(20, 1, 6, 7)
    rngs = (torch.Generator().manual_seed(0) for _ in range(2))
    ours, theirs = (
        vit_encoder.augment(images, 1, next(rngs)),
        part(images, 1, next(rngs)),
    )
    return torch.equal(ours, theirs)


def something_changes(part):
    images = torch.rand(20, 1, 6, 7)
    return not torch.equal(part(images, 1), images)


# What tests/test_exercises.py runs: task → answers.

RIGHT = {
    "Classifier": RIGHT_CLASSIFIER,
    "parameter_groups": RIGHT_GROUPS,
    "schedule": RIGHT_SCHEDULE,
    "smoothed_cross_entropy": RIGHT_LOSS,
    "find_the_bug": RIGHT_GRADIENT,
}
WRONG = {
    "Classifier": WRONG_CLASSIFIER,
    "parameter_groups": WRONG_GROUPS,
    "schedule": WRONG_SCHEDULE,
    "smoothed_cross_entropy": WRONG_LOSS,
    "find_the_bug": WRONG_GRADIENT,
}
NAMELESS = {
    "Classifier": NAMELESS_CLASSIFIER,
    "parameter_groups": NAMELESS_GROUPS,
    "schedule": NAMELESS_SCHEDULE,
    "smoothed_cross_entropy": NAMELESS_LOSS,
    "find_the_bug": NAMELESS_GRADIENT,
}
GOOD_TESTS = {"wrong_augmentation": [by_sets, one_bright_pixel]}
WEAK_TESTS = {
    "wrong_augmentation": [
        (shapes, 0, "test-accepts-wrong"),
        (unchanged, 0, "test-accepts-wrong"),
        (only_possible, 1, "test-accepts-wrong"),
        (without_the_given, 2, "test-accepts-wrong"),
        (something_changes, 0, "test-accepts-wrong"),
        (by_the_seed, 0, "test-rejects-right"),
    ]
}
