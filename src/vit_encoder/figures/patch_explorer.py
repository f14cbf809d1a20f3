"""A figure that answers: an image becomes tokens, and its patches are shuffled."""

import anywidget
import torch
import traitlets

from vit_encoder.figures.front_end import follows, front_end
from vit_encoder.figures.inputs import require_place
from vit_encoder.figures.pixels import as_picture, as_text, few_pixels

SIZE = (32, 48)  # pixels, few enough for a finger
SIZES = (2, 4, 8, 16)  # patch sizes that divide both


class PatchExplorer(anywidget.AnyWidget):
    """Touch a pixel and see which tokens change; change the patch size; shuffle.

    photo: (C, H, W), C = 1 or 3, values in [0, 1]; its middle is shown in 32 × 48
    pixels. patch_size: 2, 4, 8 or 16, to start with. pixel: row and column of the
    touched one. alt: what the photo shows, for those who cannot see it.

    The pixels are normalized to mean 0 and standard deviation 1. A token has nine
    numbers, for each colour the mean of its patch, right minus left and below minus
    above, each divided by the number of pixels. The encoder is one
    head of attention without projections: the class token gets the mean of all tokens,
    weighted by the softmax of its products with them. `patch_size`, `pixel`, `order`,
    `positions`, `cut` and `pixels` follow what the reader chooses. Raises ValueError
    for other arguments. The tests hold tokens and output to within 1e-5 of PyTorch's.
    """

    _esm = front_end("patch_explorer.js")
    _css = front_end("patch_explorer.css")

    picture = traitlets.Unicode().tag(sync=True)  # a data URL of the pixels
    pixels = traitlets.Unicode().tag(sync=True)  # see `as_text`
    alt = traitlets.Unicode().tag(sync=True)
    size = traitlets.List(list(SIZE)).tag(sync=True)
    patch_sizes = traitlets.List(list(SIZES)).tag(sync=True)
    patch_size = traitlets.Int().tag(sync=True)
    pixel = traitlets.List().tag(sync=True)
    order = traitlets.List().tag(sync=True)  # patch at each place; empty: as it was
    positions = traitlets.Bool(True).tag(sync=True)
    cut = traitlets.Unicode("patchify").tag(sync=True)  # or "reshape"
    _require = follows(
        patch_size=SIZES,
        pixel=[range(SIZE[0]), range(SIZE[1])],
        order=lambda self: frozenset(range(SIZE[0] * SIZE[1] // self.patch_size**2)),
        cut=("patchify", "reshape"),
    )

    def __init__(
        self,
        photo: torch.Tensor,
        patch_size: int = 8,
        pixel: tuple[int, int] = (0, 0),
        alt: str = "a photograph",
    ):
        if patch_size not in SIZES:
            raise ValueError(f"expected a patch_size of {SIZES}, got {patch_size}")
        rows, columns = SIZE
        where = f"{rows} × {columns}"
        pixel = require_place(pixel, SIZE, "a pixel (row, column)", where)
        pixels = few_pixels(photo, *SIZE)
        super().__init__(
            picture=as_picture(pixels),
            pixels=as_text(pixels),
            alt=alt,
            patch_size=patch_size,
            pixel=list(pixel),
        )

    def __repr__(self) -> str:
        height, width = self.size
        return f"PatchExplorer({height} × {width} pixels, P = {self.patch_size})"
