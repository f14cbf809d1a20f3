"""Answers on real weights: right designs, and wrong ones with their names.

What the package itself declares wrong (vit_encoder.check.real_weights) is not repeated;
here stand other ways of writing the same, and other faults.
"""

import math

import torch
import torch.nn.functional as F
from tests.bank.variants import variants
from torch import nn

import vit_encoder

# Positions.


def in_steps(pos_embed, rows, columns, prefix):
    n = math.isqrt(pos_embed.shape[1] - prefix)
    first, places = pos_embed[:, :prefix], pos_embed[:, prefix:]
    places = places.reshape(1, n, n, -1).permute(0, 3, 1, 2)
    places = F.interpolate(places, size=(rows, columns), mode="bicubic", antialias=True)
    places = places.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)
    return torch.cat([first, places], dim=1)


def feature_by_feature(pos_embed, rows, columns, prefix):
    n = int((pos_embed.shape[1] - prefix) ** 0.5)
    new = []
    for feature in pos_embed[0, prefix:].T:
        grid = feature.view(1, 1, n, n)
        grid = F.interpolate(grid, (rows, columns), mode="bicubic", antialias=True)
        new.append(grid.flatten())
    places = torch.stack(new, dim=-1)
    return torch.cat([pos_embed[0, :prefix], places]).unsqueeze(0)


def first_rows_then_columns(pos_embed, rows, columns, prefix):
    n = math.isqrt(pos_embed.shape[1] - prefix)
    grid = pos_embed[:, prefix:].mT.unflatten(2, (n, n))
    for size in ((rows, n), (rows, columns)):
        grid = F.interpolate(grid, size, mode="bicubic", antialias=True)
    return torch.cat([pos_embed[:, :prefix], grid.flatten(2).mT], 1)


class AsModule(nn.Module):
    def forward(self, pos_embed, rows, columns, prefix):
        return in_steps(pos_embed, rows, columns, prefix)


def in_half(pos_embed, rows, columns, prefix):
    return in_steps(pos_embed, rows, columns, prefix).half()


def squeezed(pos_embed, rows, columns, prefix):
    return in_steps(pos_embed, rows, columns, prefix).squeeze(0)


def without_gradient(pos_embed, rows, columns, prefix):
    return in_steps(pos_embed.detach(), rows, columns, prefix)


def written_into(pos_embed, rows, columns, prefix):
    new = in_steps(pos_embed, rows, columns, prefix)
    with torch.no_grad():
        pos_embed[:, :prefix] = 0
    return new


def without_return(pos_embed, rows, columns, prefix):
    in_steps(pos_embed, rows, columns, prefix)


def the_course_s(pos_embed, rows, columns, prefix):
    return vit_encoder.interpolate_positions(pos_embed, (rows, columns), prefix)


def with_the_first_of_all(pos_embed, rows, columns, prefix):
    new = in_steps(pos_embed, rows, columns, prefix)
    return torch.cat([0 * new[:, :prefix], new[:, prefix:]], dim=1)


def places(*changes):
    return variants(in_steps, *changes)


RIGHT_PLACES = [in_steps, feature_by_feature, first_rows_then_columns, AsModule()]
WRONG_PLACES = {
    "grid-read-by-columns": places({"permute(0, 3, 1, 2)": "permute(0, 3, 2, 1)"}),
    "rows-and-columns-exchanged": places(
        {"size=(rows, columns)": "size=(columns, rows)"}
    ),
    "features-as-a-grid": places(
        {
            "places.reshape(1, n, n, -1).permute(0, 3, 1, 2)": "places.reshape("
            "1, -1, n, n)"
        }
    ),
    "class-token-interpolated": places(
        {"pos_embed[:, prefix:]": "pos_embed[:, : n * n]"}
    ),
    "prefix-at-the-end": places({"[first, places]": "[places, first]"}),
    "prefix-lost": places({"torch.cat([first, places], dim=1)": "places"}),
    "corners-tied": places({"antialias=True": "antialias=True, align_corners=True"}),
    "not-antialiased": places({", antialias=True": ""}),
    "linear": places({'"bicubic"': '"bilinear"'}),
    "nearest": places({', mode="bicubic", antialias=True': ""}),
    "rows-not-put-back": places({"places.permute(0, 2, 3, 1)": "places"}),
    "turned-on-the-way-back": places({"permute(0, 2, 3, 1)": "permute(0, 3, 2, 1)"}),
    "prefix-changed": [with_the_first_of_all],
    "dtype-changed": [in_half],
    "axis-squeezed": [squeezed],
    "gradient-cut": [without_gradient],
    "input-changed": [written_into],
    "returns-none": [without_return],
    "reference-used": [the_course_s],
}


def twice(pos_embed, rows, columns, prefix):
    new = in_steps(pos_embed, rows, columns, prefix)
    return torch.cat([new[:, :prefix], 2 * new[:, prefix:]], dim=1)


# LoRA.


class Lora(nn.Module):
    def __init__(self, in_features, out_features, rank, alpha):
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.linear.weight.requires_grad = False
        self.linear.bias.requires_grad = False
        self.lora_A = nn.Parameter(torch.empty(rank, in_features))
        self.lora_B = nn.Parameter(torch.zeros(out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)
        self.scaling = alpha / rank

    def forward(self, x):
        change = (x @ self.lora_A.T) @ self.lora_B.T
        return self.linear(x) + change * self.scaling


class OfLayers(nn.Module):
    def __init__(self, in_features, out_features, rank, alpha):
        super().__init__()
        self.linear = nn.Linear(in_features, out_features).requires_grad_(False)
        self.lora_A = nn.Linear(in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)
        self.alpha, self.rank = alpha, rank

    def forward(self, x):
        return self.linear(x) + self.alpha / self.rank * self.lora_B(self.lora_A(x))


class InTheWeight(Lora):
    def forward(self, x):
        weight = self.linear.weight + self.scaling * self.lora_B @ self.lora_A
        return F.linear(x, weight, self.linear.bias)


class Detached(Lora):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.linear.requires_grad_(True)

    def forward(self, x):
        old = F.linear(x, self.linear.weight.detach(), self.linear.bias.detach())
        return old + self.scaling * F.linear(F.linear(x, self.lora_A), self.lora_B)


class WithBias(OfLayers):
    def __init__(self, in_features, out_features, rank, alpha):
        super().__init__(in_features, out_features, rank, alpha)
        self.lora_B = nn.Linear(rank, out_features)
        nn.init.zeros_(self.lora_B.weight)
        nn.init.zeros_(self.lora_B.bias)


class AllOnes(Lora):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        nn.init.ones_(self.lora_A)


class OtherNames(Lora):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.A, self.B = self.lora_A, self.lora_B
        del self.lora_A, self.lora_B

    def forward(self, x):
        return self.linear(x) + self.scaling * x @ self.A.T @ self.B.T


class WithDropout(Lora):
    def forward(self, x):
        change = F.dropout(x, 0.1, self.training) @ self.lora_A.T @ self.lora_B.T
        return self.linear(x) + self.scaling * change


class UnderNoGrad(Lora):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class FromTheCourse(nn.Module):
    def __init__(self, in_features, out_features, rank, alpha):
        super().__init__()
        layer = nn.Linear(in_features, out_features)
        self.inner = vit_encoder.LoRALinear(layer, rank, alpha)
        self.linear, self.lora_A = self.inner.linear, self.inner.lora_A
        self.lora_B = self.inner.lora_B

    def forward(self, x):
        return self.inner(x)


class Subtracted(Lora):
    def forward(self, x):
        return self.linear(x) - self.scaling * x @ self.lora_A.T @ self.lora_B.T


def lora(*changes):
    return variants(Lora, *changes)


RIGHT_LORA = [Lora, OfLayers, InTheWeight, Detached]
FREE = """        self.linear.weight.requires_grad = False
        self.linear.bias.requires_grad = False
"""
WRONG_LORA = {
    "both-start-at-zero": lora(
        {"        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)\n": ""}
        | {"torch.empty(rank": "torch.zeros(rank"}
    ),
    "starts-with-a-change": lora({"torch.zeros(out": "torch.randn(out"}),
    "zero-and-random-exchanged": lora(
        {
            "nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)": "nn.init.normal_(self."
            "lora_B)"
        }
        | {"torch.empty(rank": "torch.zeros(rank"}
    ),
    "starts-all-alike": [AllOnes],
    "not-frozen": lora({FREE: ""}),
    "bias-not-frozen": lora({"        self.linear.bias.requires_grad = False\n": ""}),
    "not-scaled": lora({"change * self.scaling": "change"}),
    "rank-not-used": lora({"alpha / rank": "alpha"}),
    "alpha-not-used": lora({"alpha / rank": "1 / rank"}),
    "upside-down": lora({"alpha / rank": "rank / alpha"}),
    "root-of-the-rank": lora({"alpha / rank": "alpha / math.sqrt(rank)"}),
    "whole-number": lora({"alpha / rank": "int(alpha / rank)"}),
    "old-layer-scaled": lora(
        {"self.linear(x) + change * self": "(self.linear(x) + change) * self"}
    ),
    "old-layer-left-out": lora({"self.linear(x) + change": "change"}),
    "bent-between": lora({"(x @ self.lora_A.T)": "F.gelu(x @ self.lora_A.T)"}),
    "extra-parameters": [WithBias],
    "missing-parameters": [OtherNames],
    "unasked-dropout": [WithDropout],
    "gradient-cut": [UnderNoGrad],
    "reference-used": [FromTheCourse],
}

# The weights of the JAX code.


def by_flattening(query, key, value, out):
    qkv = torch.cat([kernel.flatten(1).mT for kernel in (query, key, value)])
    return qkv, out.flatten(0, 1).mT


def by_einsum(query, key, value, out):
    D = len(query)
    qkv = torch.stack([query, key, value])
    qkv = torch.einsum("sdhw->shwd", qkv).reshape(-1, D)
    return qkv, torch.einsum("hwd->dhw", out).reshape(out.shape[2], -1)


def by_loops(query, key, value, out):
    rows = []
    for kernel in (query, key, value):
        for head in kernel.unbind(1):  # (D, D_h)
            rows.extend(head.unbind(1))
    columns = [row for head in out for row in head]
    return torch.stack(rows), torch.stack(columns, dim=1)


def jax(*changes):
    return variants(by_flattening, *changes)


WRONG_JAX = {
    "same-as-the-bug": jax({"out.flatten(0, 1)": "out.transpose(0, 1).flatten(0, 1)"}),
    "rows-interleaved": jax({"kernel.flatten(1)": "kernel.transpose(1, 2).flatten(1)"}),
    "output-not-turned": jax({"out.flatten(0, 1).mT": "out.flatten(0, 1)"}),
    "keys-and-values-exchanged": jax(
        {"in (query, key, value)": "in (query, value, key)"}
    ),
}

# Tests of loaders.


GOOD = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}


def refuses(load, state, model=None):
    """It raises a ValueError, and the model is as before."""
    model = model or nn.Linear(3, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        load(model, state)
    except ValueError:
        return all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    return False


def all_faults(load):
    bad = [{"weight": GOOD["weight"]}, GOOD | {"other": torch.ones(1)}]
    bad += [GOOD | {"bias": torch.ones(1)}, GOOD | {"bias": torch.ones(3)}]
    return all(refuses(load, state) for state in bad)


def with_a_larger_model(load):
    model = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    good = {
        name: torch.randn(value.shape) for name, value in model.state_dict().items()
    }
    for name in good:
        assert refuses(load, {n: v for n, v in good.items() if n != name}, model)
        assert refuses(load, good | {f"{name}.1": good[name]}, model)
        assert refuses(load, good | {name: torch.zeros(1)}, model)
        assert refuses(load, good | {name: torch.zeros(7, 7)}, model)
    load(model, good)
    assert all(torch.equal(v, good[n]) for n, v in model.state_dict().items())


def with_pytest_s_words(load):
    for changed in (
        {"bias": torch.ones(3)},
        {"bias": torch.ones(1)},
        {"c": torch.ones(1)},
    ):
        assert refuses(load, GOOD | changed)
    assert refuses(load, {"bias": torch.ones(2)})


def loads(load):
    model = nn.Linear(3, 2)
    load(model, GOOD)
    return bool((model.weight == 1).all())


def missing_alone(load):
    return refuses(load, {"weight": GOOD["weight"]})


def two_keys_alone(load):
    bad = [{"weight": GOOD["weight"]}, GOOD | {"other": torch.ones(1)}]
    return all(refuses(load, state) for state in bad)


def raises_alone(load):
    """It never looks into the model."""
    bad = [{"weight": GOOD["weight"]}, GOOD | {"other": torch.ones(1)}]
    for state in [*bad, GOOD | {"bias": torch.ones(1)}]:
        try:
            load(nn.Linear(3, 2), state)
        except ValueError:
            continue
        return False
    return True


def wants_a_runtime_error(load):
    try:
        load(nn.Linear(3, 2), {})
    except RuntimeError:
        return True
    except ValueError:
        return False
    return False


RIGHT = {
    "interpolate_positions": RIGHT_PLACES,
    "LoRALinear": RIGHT_LORA,
    "find_the_bug": [by_flattening, by_einsum, by_loops],
}
WRONG = {
    "interpolate_positions": WRONG_PLACES,
    "LoRALinear": WRONG_LORA,
    "find_the_bug": WRONG_JAX,
}
NAMELESS = {
    "interpolate_positions": [twice],
    "LoRALinear": [
        Subtracted,
        *lora({"self.linear(x) + change * self.scaling": "self.linear(x)"}),
    ],
}
GOOD_TESTS = {"load": [all_faults, with_a_larger_model, with_pytest_s_words]}
WEAK_TESTS = {
    "load": [
        (loads, 0, "test-accepts-wrong"),
        (missing_alone, 0, "test-accepts-wrong"),
        (two_keys_alone, 1, "test-accepts-wrong"),
        (raises_alone, 2, "test-accepts-wrong"),
        (wants_a_runtime_error, 0, "test-rejects-right"),
    ]
}
