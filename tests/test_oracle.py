"""What the checks hold for right equals torch's modules, and the course's parts."""

import pytest
import torch
from torch import nn

import vit_encoder
from vit_encoder.check import self_attention
from vit_encoder.check.hearing.data import Question
from vit_encoder.check.judging import oracle
from vit_encoder.check.judging.questions import Normal

EXACT = {"rtol": 0, "atol": 1e-12}


def load(module, parameters):
    """Set parameters; query, key and value are held joined, as `qkv`."""
    state = {}
    for name, value in parameters.items():
        if "query." in name:
            others = (parameters[name.replace("query", n)] for n in ("key", "value"))
            state[name.replace("query", "qkv")] = torch.cat([value, *others])
        elif "key." not in name and "value." not in name:
            state[name] = value
    module.double().load_state_dict(state)
    return module


def values(parameters):
    return lambda name: parameters[name]


@pytest.fixture
def normal():
    return Normal(0)


def test_multi_head(normal):
    parameters = oracle.attention_parameters(normal, 12)
    x = normal(2, 5, 12)
    got = oracle.multi_head(x, values(parameters), 3)
    ours = load(vit_encoder.MultiHeadSelfAttention(12, 3), parameters)
    torch.testing.assert_close(got, ours(x), **EXACT)
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.proj.weight,
            "out_proj.bias": ours.proj.bias,
        }
    )
    torch.testing.assert_close(got, theirs(x, x, x)[0], **EXACT)


def test_cross_attention(normal):
    """One head of nn.MultiheadAttention, which asks with what is projected already."""
    asked = self_attention.reading(normal, 6, 3, 4)
    parameters, (x, context) = asked["parameters"], (normal(2, 5, 6), normal(2, 7, 3))
    question = Question("a context", (x, context), **asked)
    (got,), _ = self_attention.cross_attention_oracle(question, tuple(parameters))
    theirs = nn.MultiheadAttention(4, 1, kdim=3, vdim=3, batch_first=True).double()
    theirs.load_state_dict(
        {
            "q_proj_weight": torch.eye(4),
            "k_proj_weight": parameters["key.weight"],
            "v_proj_weight": parameters["value.weight"],
            "in_proj_bias": torch.cat(
                [torch.zeros(4), parameters["key.bias"], parameters["value.bias"]]
            ),
            "out_proj.weight": torch.eye(4),
            "out_proj.bias": torch.zeros(4),
        }
    )
    q = oracle.linear(x, values(parameters), "query")
    torch.testing.assert_close(got, theirs(q, context, context)[0], **EXACT)


def test_attention_with_a_mask(normal):
    """As F.scaled_dot_product_attention, also where a query may see nothing."""
    q, k, v = normal(2, 3, 5, 7), normal(2, 3, 4, 7), normal(2, 3, 4, 6)
    visible = normal(2, 1, 5, 4) > 0
    visible[0, 0, 2] = False
    question = Question("a mask", (q, k, v, visible), cotangent=normal(2, 3, 5, 6))
    (got, _), gradients = self_attention.masked_oracle(question, ())
    leaves = [x.requires_grad_() for x in (q, k, v)]
    theirs = nn.functional.scaled_dot_product_attention(*leaves, attn_mask=visible)
    torch.testing.assert_close(got, theirs, **EXACT)
    wanted = torch.autograd.grad(theirs, leaves, question.cotangent)
    torch.testing.assert_close(tuple(gradients.values()), wanted, **EXACT)


def test_layer_norm_and_gelu(normal):
    x, weight, bias = normal(2, 5, 7), normal(7), normal(7)
    got = oracle.layer_norm(x, weight, bias, 0.1)
    torch.testing.assert_close(
        got, nn.functional.layer_norm(x, (7,), weight, bias, 0.1), **EXACT
    )
    torch.testing.assert_close(oracle.gelu(x), nn.functional.gelu(x), **EXACT)


def test_encoder(normal):
    parameters = oracle.norm_parameters(normal, "norm", 12)
    for i in range(3):
        parameters |= oracle.block_parameters(normal, 12, 20, f"blocks.{i}.")
    x = normal(2, 5, 12)
    got = oracle.encoder(x, values(parameters), depth=3, num_heads=4)
    ours = load(vit_encoder.Encoder(3, 12, 4, 20), parameters)
    torch.testing.assert_close(got, ours(x), **EXACT)


def test_patch_embedding(normal):
    ours = vit_encoder.PatchEmbedding(8, 4, 3, 10).double()
    parameters = {name: normal(*p.shape) for name, p in ours.named_parameters()}
    ours.load_state_dict(parameters)
    images = normal(2, 3, 8, 8)
    got = oracle.patch_embedding(images, values(parameters), 4)
    torch.testing.assert_close(got, ours(images), **EXACT)
    torch.testing.assert_close(
        oracle.patchify(images, 4), vit_encoder.patchify(images, 4), **EXACT
    )


def test_a_bias_that_is_not_there_counts_as_zero(normal):
    parameters = oracle.linear_parameters(normal, "fc1", 5, 3)
    x = normal(2, 3)
    question = Question("x", (x,), parameters=parameters, cotangent=normal(2, 5))
    compute = oracle.oracle_of(lambda x, get: oracle.linear(x, get, "fc1"))
    (output,), gradients = compute(question, ("fc1.weight",))
    torch.testing.assert_close(output, x @ parameters["fc1.weight"].T, **EXACT)
    assert set(gradients) == {"input 0", "fc1.weight"}
