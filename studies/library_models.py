"""The same ViT in the course's parts and in four libraries, with initial weights.

Nothing is downloaded. The sizes and the weights are for the caller to choose.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import torchvision_operators  # noqa: F401  before what imports torchvision
from vit_encoder import Encoder, PatchEmbedding
from vit_encoder.loading import Weights

# isort: split

from timm.models.vision_transformer import VisionTransformer as TimmViT
from torchvision.models.vision_transformer import VisionTransformer as TorchvisionViT
from transformers import ViTConfig, ViTForImageClassification, ViTModel

__all__ = [
    "CourseViT",
    "Sizes",
    "ViTModel",
    "jax_arrays",
    "randomize",
    "timm_vit",
    "torch_encoder",
    "torchvision_vit",
    "transformers_vit",
]


@dataclass(frozen=True)
class Sizes:
    """The sizes of a ViT; as they stand, those of ViT-Ti/16."""

    image_size: int = 224
    patch_size: int = 16
    in_channels: int = 3
    depth: int = 12
    dim: int = 192
    num_heads: int = 3
    mlp_dim: int = 768
    num_classes: int = 1000


class CourseViT(nn.Module):
    """Patch embedding, encoder, and a linear head on the class token."""

    def __init__(self, sizes: Sizes, dropout: float = 0.0):
        super().__init__()
        s = sizes
        self.embedding = PatchEmbedding(
            s.image_size, s.patch_size, s.in_channels, s.dim
        )
        self.encoder = Encoder(s.depth, s.dim, s.num_heads, s.mlp_dim, dropout)
        self.head = nn.Linear(s.dim, s.num_classes)

    def load(self, weights: Weights) -> "CourseViT":
        """Take the weights of a library, strictly."""
        self.embedding.load_state_dict(weights.embedding)
        self.encoder.load_state_dict(weights.encoder)
        self.head.load_state_dict(weights.head)
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.embedding(images))[:, 0])


def timm_vit(sizes: Sizes, **options) -> TimmViT:
    """timm's, whose other options are at their defaults unless given."""
    return TimmViT(
        img_size=sizes.image_size,
        patch_size=sizes.patch_size,
        in_chans=sizes.in_channels,
        depth=sizes.depth,
        embed_dim=sizes.dim,
        num_heads=sizes.num_heads,
        mlp_ratio=sizes.mlp_dim / sizes.dim,
        num_classes=sizes.num_classes,
        **options,
    )


def torchvision_vit(sizes: Sizes, **options) -> TorchvisionViT:
    """torchvision's, which has three channels."""
    if sizes.in_channels != 3:
        raise ValueError(f"expected 3 channels, got {sizes.in_channels}")
    return TorchvisionViT(
        image_size=sizes.image_size,
        patch_size=sizes.patch_size,
        num_layers=sizes.depth,
        hidden_dim=sizes.dim,
        num_heads=sizes.num_heads,
        mlp_dim=sizes.mlp_dim,
        num_classes=sizes.num_classes,
        **options,
    )


def transformers_vit(
    sizes: Sizes, model: type = ViTForImageClassification, **options
) -> ViTForImageClassification | ViTModel:
    """transformers', with a head, or without one as ViTModel."""
    config = ViTConfig(
        image_size=sizes.image_size,
        patch_size=sizes.patch_size,
        num_channels=sizes.in_channels,
        num_hidden_layers=sizes.depth,
        hidden_size=sizes.dim,
        num_attention_heads=sizes.num_heads,
        intermediate_size=sizes.mlp_dim,
        num_labels=sizes.num_classes,
        **options,
    )
    return model(config)


def torch_encoder(
    sizes: Sizes, last_norm: bool = True, **options
) -> nn.TransformerEncoder:
    """PyTorch's own encoder, with the options of its layer."""
    layer = nn.TransformerEncoderLayer(
        sizes.dim, sizes.num_heads, sizes.mlp_dim, **options
    )
    norm = nn.LayerNorm(sizes.dim, eps=layer.norm1.eps) if last_norm else None
    return nn.TransformerEncoder(layer, sizes.depth, norm, enable_nested_tensor=False)


def jax_arrays(sizes: Sizes) -> dict[str, np.ndarray]:
    """Random arrays with the names and axes of the JAX code's `.npz` files."""
    D, h, M, P = sizes.dim, sizes.num_heads, sizes.mlp_dim, sizes.patch_size
    D_h, J, C = D // h, sizes.num_classes, sizes.in_channels
    N = (sizes.image_size // P) ** 2 + 1
    shapes = {
        "cls": (1, 1, D),
        "Transformer/posembed_input/pos_embedding": (1, N, D),
        "embedding/kernel": (P, P, C, D),
        "embedding/bias": (D,),
        "Transformer/encoder_norm/scale": (D,),
        "Transformer/encoder_norm/bias": (D,),
        "head/kernel": (D, J),
        "head/bias": (J,),
    }
    for i in range(sizes.depth):
        block = f"Transformer/encoderblock_{i}"
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            shapes |= {f"{block}/{norm}/{word}": (D,) for word in ("scale", "bias")}
        for name in ("query", "key", "value"):
            shapes[f"{attention}/{name}/kernel"] = (D, h, D_h)
            shapes[f"{attention}/{name}/bias"] = (h, D_h)
        shapes[f"{attention}/out/kernel"] = (h, D_h, D)
        shapes[f"{attention}/out/bias"] = (D,)
        shapes[f"{block}/MlpBlock_3/Dense_0/kernel"] = (D, M)
        shapes[f"{block}/MlpBlock_3/Dense_0/bias"] = (M,)
        shapes[f"{block}/MlpBlock_3/Dense_1/kernel"] = (M, D)
        shapes[f"{block}/MlpBlock_3/Dense_1/bias"] = (D,)
    rng = np.random.default_rng(0)
    return {name: 0.3 * rng.standard_normal(shape) for name, shape in shapes.items()}


def randomize(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random numbers in every parameter, so that no difference can hide in a zero.

    Matrices keep the scale of their input. Gains are 1 ± 0.1, other vectors ± 0.1, the
    class token and the position embedding ± 0.5. Returns the model, in evaluation mode.
    """
    rng = torch.Generator().manual_seed(seed)
    gains = {m.weight for m in model.modules() if "Norm" in type(m).__name__}
    with torch.no_grad():
        for parameter in model.parameters():
            shape = parameter.shape
            if parameter.dim() == 1:
                scale, mean = 0.1, float(parameter in gains)
            elif parameter.dim() == 3:
                scale, mean = 0.5, 0.0
            else:
                scale, mean = shape[1:].numel() ** -0.5, 0.0
            values = torch.randn(shape, generator=rng, dtype=torch.float64)
            parameter.copy_(mean + scale * values)
    return model.eval()
