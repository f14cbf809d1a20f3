"""The same encoder with fewer trips to memory."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from vit_encoder import encoder as textbook
from vit_encoder import training
from vit_encoder.arguments import require_tokens
from vit_encoder.encoder_block import EncoderBlock
from vit_encoder.layer_norm import LayerNorm
from vit_encoder.mlp import dropout


def norm(x: torch.Tensor, part: LayerNorm) -> torch.Tensor:
    return F.layer_norm(x, part.weight.shape, part.weight, part.bias, part.eps)


def run_block(block: EncoderBlock, x: torch.Tensor, first: int | None = None):
    attn, mlp, p = block.attn, block.mlp, block.dropout
    h, train = attn.num_heads, block.training
    y = norm(x, block.norm1)
    if first is None:
        q, k, v = attn.qkv(y).unflatten(-1, (3 * h, -1)).transpose(1, 2).chunk(3, 1)
    else:
        D = x.shape[-1]
        W, b = attn.qkv.weight, attn.qkv.bias
        q = F.linear(y[:, :first], W[:D], b[:D]).unflatten(-1, (h, -1)).transpose(1, 2)
        k, v = F.linear(y, W[D:], b[D:]).unflatten(-1, (2 * h, -1)).transpose(1, 2).chunk(2, 1)
        x = x[:, :first]
    y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = x + dropout(attn.proj(y), p, train)
    y = mlp.fc1(norm(x, block.norm2))
    y = F.gelu(y) if torch.is_grad_enabled() else torch.ops.aten.gelu_(y)
    y = mlp.fc2(dropout(y, p, train))
    return x + dropout(y, p, train)


def encode(encoder, x, first=None):
    require_tokens(x, len(encoder.norm.weight))
    *blocks, last = encoder.blocks
    for block in blocks:
        x = run_block(block, x)
    return norm(run_block(last, x, first), encoder.norm)


class Encoder(textbook.Encoder):
    def forward(self, x):
        return encode(self, x)


class VisionTransformer(training.VisionTransformer):
    def forward(self, images):
        x = dropout(self.embedding(images), self.dropout, self.training)
        if self.pool == "cls":
            x = encode(self.encoder, x, first=1)[:, 0]
        else:
            x = encode(self.encoder, x)[:, 1:].mean(dim=1)
        if self.pre_logits is not None:
            x = torch.tanh(self.pre_logits(x))
        return self.head(x)
