"""A figure that answers: one image through all numbers of a ViT, patch to guess."""

from collections.abc import Sequence

import torch
import traitlets

from vit_encoder.figures.encoder_at_work import (
    SHOWN,
    AsksForWeights,
    OfViT,
    described,
    file_of,
    shipped,
)
from vit_encoder.figures.front_end import follows, front_end
from vit_encoder.training import VisionTransformer

STEPS = 10  # of the tour; the front end has them


class EncoderTour(AsksForWeights, OfViT):
    """Walk one image through a ViT in ten steps; then move depth and skips.

    The arguments are those of `EncoderAtWork`.

    In a notebook the figure asks for the weights when it needs them. `view` (tour or
    depth), `step`, `image`, `token`, `feature`, `block`, `head`, `depth` and `skips`
    follow what the reader chooses. Raises ValueError or TypeError for other arguments.
    The tests hold every number to within 1e-5 of PyTorch's, the parameters and FLOPs to
    its counts.
    """

    _esm = front_end("encoder_tour.js", "vit.js")
    _css = front_end("encoder_tour.css")

    view = traitlets.Unicode("tour").tag(sync=True)
    step = traitlets.Int(1).tag(sync=True)
    image = traitlets.Int(0).tag(sync=True)
    token = traitlets.Int().tag(sync=True)  # 0: the class token
    feature = traitlets.Int(0).tag(sync=True)
    block = traitlets.Int(1).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    depth = traitlets.Int().tag(sync=True)
    skips = traitlets.Bool(True).tag(sync=True)
    _require = follows(
        view=("tour", "depth"),
        step=range(1, STEPS + 1),
        image=lambda self: range(len(self.labels)),
        token=lambda self: range(self.patches + 1),
        feature=lambda self: range(self.columns),
        block=lambda self: range(1, self.sizes["depth"] + 1),
        head=lambda self: range(self.sizes["num_heads"]),
        depth=lambda self: range(self.sizes["depth"] + 1),
    )

    def __init__(
        self,
        model: VisionTransformer,
        images: torch.Tensor,
        classes: Sequence[str],
        labels: torch.Tensor | None = None,
        mean: float | torch.Tensor = 0.0,
        std: float | torch.Tensor = 1.0,
    ):
        given, self._plain, _ = described(model, images, classes, labels, mean, std)
        sizes = given["sizes"]
        middle = (sizes["image_size"] // sizes["patch_size"]) ** 2 // 2 + 1
        super().__init__(
            **given, file=file_of(self._plain), token=middle, depth=sizes["depth"]
        )

    @property
    def columns(self) -> int:
        """The most that a step has."""
        sizes = self.sizes
        pixels = sizes["in_channels"] * sizes["patch_size"] ** 2
        each = 3 * sizes["dim"] // sizes["num_heads"]
        return max(pixels, sizes["dim"], each, self.patches + 1, sizes["num_classes"])

    def __repr__(self) -> str:
        depth, dim = self.sizes["depth"], self.sizes["dim"]
        return f"EncoderTour({len(self.labels)} images, {depth} blocks, {dim} wide)"


def fashion_tour() -> EncoderTour:
    """The figure with the ViT that ships and twelve test images of Fashion-MNIST."""
    # Image 0 of the test first, which chapter 07 follows.
    return EncoderTour(**shipped(sorted(SHOWN)))
