"""A figure that answers: one output number of several heads, and what it reads."""

import anywidget
import torch
import traitlets

from vit_encoder.figures.front_end import follows, front_end
from vit_encoder.figures.inputs import require_place
from vit_encoder.figures.pixels import as_picture, as_text, few_pixels
from vit_encoder.multi_head import MultiHeadSelfAttention

SIZE = (32, 48)  # pixels that are shown
GRID = (4, 6)  # patches
WIDTH = 12  # of a token: 2 × 2 pixels of three colours


class HeadsExplorer(anywidget.AnyWidget):
    """Choose one output number of a layer: which heads it reads, and which inputs.

    photo: (C, H, W), C = 1 or 3, values in [0, 1]; its middle is cut into 4 × 6
    patches. Each becomes a token of 12 numbers: 2 × 2 pixels, channel after channel,
    which over all tokens have mean 0 and standard deviation 1. layer: the reader's own,
    with dim=12; None gives one with three heads and random weights. output: the token
    and the feature to start with. alt: what the photo shows, for those who cannot see.

    `output`, `mixed` (with W_O), `cut` (transpose or reshape) and `pixels` follow what
    the reader chooses. Raises ValueError or TypeError for other arguments. The tests
    hold the output and its slopes to within 1e-5 of PyTorch's.
    """

    _esm = front_end("heads_explorer.js")
    _css = front_end("heads_explorer.css")

    picture = traitlets.Unicode().tag(sync=True)  # a data URL of the pixels
    pixels = traitlets.Unicode().tag(sync=True)  # see `as_text`
    alt = traitlets.Unicode().tag(sync=True)
    size = traitlets.List(list(SIZE)).tag(sync=True)
    grid = traitlets.List(list(GRID)).tag(sync=True)
    heads = traitlets.Int().tag(sync=True)
    layer = traitlets.Dict().tag(sync=True)  # name → the numbers of a parameter
    output = traitlets.List().tag(sync=True)
    mixed = traitlets.Bool(True).tag(sync=True)
    cut = traitlets.Unicode("transpose").tag(sync=True)  # or "reshape"
    _require = follows(
        output=[range(GRID[0] * GRID[1]), range(WIDTH)], cut=("transpose", "reshape")
    )

    def __init__(
        self,
        photo: torch.Tensor,
        layer: MultiHeadSelfAttention | None = None,
        output: tuple[int, int] = (0, 0),
        alt: str = "a photograph",
    ):
        layer = random_layer() if layer is None else layer
        n = GRID[0] * GRID[1]
        what, where = "an output (token, feature)", f"{n} × {WIDTH}"
        output = require_place(output, (n, WIDTH), what, where)
        pixels, numbers = few_pixels(photo, *SIZE), numbers_of(layer)
        super().__init__(
            picture=as_picture(pixels),
            pixels=as_text(pixels),
            alt=alt,
            heads=layer.num_heads,
            layer=numbers,
            output=list(output),
        )

    def __repr__(self) -> str:
        return f"HeadsExplorer({self.heads} heads, {WIDTH // self.heads} wide)"


def random_layer() -> MultiHeadSelfAttention:
    """Three heads with weights of standard deviation 1/√D."""
    rng = torch.Generator().manual_seed(0)
    with torch.device("cpu"):  # a notebook may have another default
        layer = MultiHeadSelfAttention(WIDTH, 3)
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_(std=WIDTH**-0.5, generator=rng)
    return layer


def numbers_of(layer: MultiHeadSelfAttention) -> dict[str, list]:
    """The parameters of a layer of width 12, as lists.

    Raises TypeError for what is no such layer, ValueError for another width.
    """
    if not isinstance(layer, torch.nn.Module) or not hasattr(layer, "num_heads"):
        raise TypeError(
            f"expected a MultiHeadSelfAttention, got {type(layer).__name__}"
        )
    named = dict(layer.named_parameters())
    wanted = {
        "qkv.weight": (3 * WIDTH, WIDTH),
        "qkv.bias": (3 * WIDTH,),
        "proj.weight": (WIDTH, WIDTH),
        "proj.bias": (WIDTH,),
    }
    for name, shape in wanted.items():
        got = tuple(named[name].shape) if name in named else "none"
        if got != shape:
            raise ValueError(f"expected {name} of shape {shape}, got {got}")
        if not named[name].isfinite().all():
            raise ValueError(f"expected finite numbers in {name}, got inf or nan")
    # Seven digits: those of float32, which lists of float64 would only repeat.
    return {
        name: rounded(named[name].detach().to("cpu", torch.float64).tolist())
        for name in wanted
    }


def rounded(numbers: list | float) -> list | float:
    """Nested lists of numbers with seven digits."""
    if isinstance(numbers, list):
        return [rounded(number) for number in numbers]
    return float(f"{numbers:.7g}")
