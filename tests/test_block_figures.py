"""The drawings of chapter 06 are true."""

import pytest
import torch
from torch import nn

from vit_encoder.check import misconception
from vit_encoder.figures.drawings.block import (
    START,
    example,
    normed_skip,
    post_norm,
    pre_norm,
)


@pytest.mark.parametrize("norm_first", [True, False])
def test_drawn_sizes_are_those_of_pytorch_s_layer(norm_first):
    block, x = example()
    dim, mlp_dim = block.mlp.fc1.in_features, block.mlp.fc1.out_features
    layer = nn.TransformerEncoderLayer(
        dim, 1, mlp_dim, 0.0, "gelu", 1e-6, True, norm_first
    ).double()
    with torch.no_grad():
        attention = layer.self_attn
        attention.in_proj_weight.copy_(block.attn.qkv.weight)
        attention.in_proj_bias.copy_(block.attn.qkv.bias)
        attention.out_proj.load_state_dict(block.attn.proj.state_dict())
        layer.linear1.load_state_dict(block.mlp.fc1.state_dict())
        layer.linear2.load_state_dict(block.mlp.fc2.state_dict())
        expected = layer(x)[0].square().mean(-1).sqrt()
    drawn = pre_norm()["y"] if norm_first else post_norm()
    assert drawn == pytest.approx(expected.tolist(), abs=1e-12)


def test_drawn_stream_keeps_sizes_and_norms_do_not():
    sizes = pre_norm()
    assert sizes["x"] == pytest.approx(START, rel=1e-5)
    for place in ("LayerNorm 1", "LayerNorm 2"):
        assert sizes[place] == pytest.approx([1, 1, 1], rel=1e-5)
    assert max(sizes["y"]) > 2 * min(sizes["y"])


def test_drawn_skip_is_the_one_that_the_chapter_shows():
    block, x = example()
    mistake = misconception("encoder_block.EncoderBlock", "norm-on-the-skip")
    wrong = mistake.wrong(block.mlp.fc1.in_features, 1, block.mlp.fc1.out_features)
    wrong.double().load_state_dict(block.state_dict())
    with torch.no_grad():
        expected = wrong(x)[0].square().mean(-1).sqrt()
    assert normed_skip() == pytest.approx(expected.tolist(), abs=1e-5)
    assert max(normed_skip()) < 1.5 * min(normed_skip())
