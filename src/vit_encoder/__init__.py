"""The parts of the Vision Transformer's encoder, as the course's chapters build them.

`vit_encoder.figures`, `vit_encoder.data` and `vit_encoder.check` hold what the
notebooks need around the parts; they are imported only where they are used.
"""

import warnings

from vit_encoder.encoder import Encoder
from vit_encoder.encoder_block import EncoderBlock
from vit_encoder.layer_norm import LayerNorm
from vit_encoder.mlp import MLP, dropout, gelu
from vit_encoder.multi_head import MultiHeadSelfAttention, merge_heads, split_heads
from vit_encoder.patches import PatchEmbedding, patchify
from vit_encoder.self_attention import SelfAttention, attention

__all__ = [
    "MLP",
    "Encoder",
    "EncoderBlock",
    "LayerNorm",
    "MultiHeadSelfAttention",
    "PatchEmbedding",
    "SelfAttention",
    "attention",
    "dropout",
    "gelu",
    "merge_heads",
    "patchify",
    "split_heads",
]

# On a GPU, torch says so at the first backward pass that begins with a matrix product.
# It means nothing to a reader: https://github.com/pytorch/pytorch/issues/195256
warnings.filterwarnings("ignore", message="Attempting to run cuBLAS")
