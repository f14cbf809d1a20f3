"""08 Training: what chapter 08_training builds."""

# Generated from chapters/08_training.md by `make sync`. Do not edit.
# Seal: 633ea04885f0b65f

import math

import torch
import torch.nn.functional as F
from torch import nn

from vit_encoder.arguments import require_images
from vit_encoder.encoder import Encoder
from vit_encoder.mlp import dropout
from vit_encoder.patches import PatchEmbedding


class VisionTransformer(nn.Module):
    """A ViT that classifies images (Dosovitskiy et al. 2021, section 3.1).

    image_size, patch_size, in_channels: H = W, P, C of the images. num_classes: J.
    depth, dim, num_heads, mlp_dim: L, D, h, M. pool: "cls" reads the class token,
    "mean" the mean of the patch tokens. pre_logits_dim: R, the width of a hidden layer
    with tanh before the logits, or None for one linear layer. dropout: p, after the
    positions and in every block.
    Maps images (B, C, H, W) to logits (B, J). Raises ValueError or TypeError for other
    sizes or inputs.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        in_channels: int,
        num_classes: int,
        depth: int,
        dim: int,
        num_heads: int,
        mlp_dim: int,
        pool: str = "cls",
        pre_logits_dim: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        if pool not in ("cls", "mean"):
            raise ValueError(f'expected "cls" or "mean" as pool, got {pool!r}')
        self.pool, self.dropout = pool, dropout
        self.embedding = PatchEmbedding(image_size, patch_size, in_channels, dim)
        self.encoder = Encoder(depth, dim, num_heads, mlp_dim, dropout)
        self.pre_logits = nn.Linear(dim, pre_logits_dim) if pre_logits_dim else None
        self.head = nn.Linear(pre_logits_dim or dim, num_classes)
        nn.init.zeros_(self.head.weight)  # so that a new model prefers no class
        nn.init.zeros_(self.head.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = dropout(self.embedding(images), self.dropout, self.training)
        x = self.encoder(x)  # (B, N, D)
        x = x[:, 0] if self.pool == "cls" else x[:, 1:].mean(dim=1)  # (B, D)
        if self.pre_logits is not None:
            x = torch.tanh(self.pre_logits(x))  # (B, R)
        return self.head(x)  # (B, J)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Two groups for AdamW: matrices, with weight decay, and all else, without.

    All else is vectors (biases, γ, β), and here the class token and the positions, with
    three axes. A convolution's kernel, with four, would be left out as well.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.dim() == 2]
    others = [p for p in trained if p.dim() != 2]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def warm_up_cosine(step: int, warm_up: int, steps: int) -> float:
    """What the learning rate is multiplied by in a step, counted from 0.

    It rises in equal steps to 1 in step `warm_up`, then falls along half a cosine
    (Loshchilov, Hutter 2017, without restarts) to 0 after the last of `steps` steps.
    Raises ValueError unless 0 <= warm_up < steps and 0 <= step <= steps.
    """
    if not 0 <= warm_up < steps or not 0 <= step <= steps:
        raise ValueError(
            "expected 0 <= warm_up < steps and 0 <= step <= steps, got "
            f"step {step}, warm_up {warm_up}, steps {steps}"
        )
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    progress = (step - warm_up) / (steps - warm_up)  # from 0 to 1
    return 0.5 * (1 + math.cos(math.pi * progress))


def augment(
    images: torch.Tensor, shift: int, rng: torch.Generator | None = None
) -> torch.Tensor:
    """Mirror half of the images by chance, and move each by up to `shift` pixels.

    images: (B, C, H, W), floating point. What moves in is 0. rng: on the CPU.
    Returns new images of the same shape. Raises ValueError or TypeError otherwise.
    """
    require_images(images)
    B, _, H, W = images.shape
    mirrored = torch.rand(B, generator=rng) < 0.5  # (B,)
    starts = torch.randint(2 * shift + 1, (2, B), generator=rng)  # where to cut
    mirrored, starts = mirrored.to(images.device), starts.to(images.device)
    images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    padded = F.pad(images, [shift] * 4)  # (B, C, H + 2 shift, W + 2 shift)
    rows = starts[0][:, None] + torch.arange(H, device=images.device)  # (B, H)
    columns = starts[1][:, None] + torch.arange(W, device=images.device)  # (B, W)
    batch = torch.arange(B, device=images.device)[:, None, None]
    # Indices around the channels put them last.
    cut = padded[batch, :, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return cut.permute(0, 3, 1, 2)  # (B, C, H, W)
