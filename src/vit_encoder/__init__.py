"""The parts of the Vision Transformer's encoder, as the course's chapters build them.

`vit_encoder.figures`, `vit_encoder.data` and `vit_encoder.check` hold what the
notebooks need around the parts. All modules, those of the parts too, are imported when
they are first asked for: a notebook depends on those alone.
"""

import warnings
from importlib import import_module

_HOMES = {
    "Encoder": "encoder",
    "EncoderBlock": "encoder_block",
    "LayerNorm": "layer_norm",
    "LoRALinear": "real_weights",
    "MLP": "mlp",
    "MultiHeadSelfAttention": "multi_head",
    "PatchEmbedding": "patches",
    "SelfAttention": "self_attention",
    "VisionTransformer": "training",
    "attention": "self_attention",
    "attention_distance": "looking_inside",
    "attention_entropy": "looking_inside",
    "attention_maps": "looking_inside",
    "augment": "training",
    "average_gradients": "scaling_out",
    "block_flops": "fast",
    "distribute": "scaling_out",
    "dropout": "mlp",
    "encode": "fast",
    "gelu": "mlp",
    "interpolate_positions": "real_weights",
    "logit_lens": "looking_inside",
    "merge_heads": "multi_head",
    "my_parts": "own_parts",
    "online_attention": "fast",
    "parameter_groups": "training",
    "patchify": "patches",
    "quantize_rows": "fast",
    "residual_stream": "looking_inside",
    "ring_all_reduce": "scaling_out",
    "ring_seconds": "scaling_out",
    "rollout": "looking_inside",
    "run_block": "fast",
    "split_heads": "multi_head",
    "step_seconds": "scaling_out",
    "warm_up_cosine": "training",
}

__all__ = [*_HOMES]

# On a GPU, torch says so at the first backward pass that begins with a matrix product.
# It means nothing to a reader: https://github.com/pytorch/pytorch/issues/195256
warnings.filterwarnings("ignore", message="Attempting to run cuBLAS")


def __getattr__(name: str) -> object:
    """Find a part in its chapter's module, or that module, which is imported now."""
    if name in _HOMES.values():
        return import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What can be imported, for an editor that completes names."""
    return sorted({*globals(), *_HOMES, *_HOMES.values()})
