"""A figure in which a ViT runs: draw or choose an image, and watch the encoder."""

import base64
import copy
import hashlib
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import anywidget
import torch
import traitlets
from safetensors.torch import save

from vit_encoder.arguments import require_images
from vit_encoder.figures.colours import CLASS, QUERY, RAMP
from vit_encoder.figures.front_end import follows, front_end, require_fit
from vit_encoder.looking_inside import attention_maps, logit_lens, residual_stream
from vit_encoder.training import VisionTransformer

HERE = Path(__file__).parent
WEIGHTS = HERE.parent / "data" / "fashion.safetensors"  # the page loads it as it is
MOST_IMAGES = 100
MOST_WEIGHTS = 4_000_000  # more would keep a browser waiting
CAPTION = (  # the same in the script
    "The class token’s guess after each block: the final LayerNorm and the head, "
    "applied early"
)
# Of the test images: one whose guess changes on the way, the first of each other class,
# and two that the model gets wrong.
SHOWN = (12, 0, 1, 2, 4, 8, 10, 13, 18, 19, 23, 40)


class OfViT(anywidget.AnyWidget):
    """What every figure in which a ViT runs is given: see `EncoderAtWork`."""

    sizes = traitlets.Dict().tag(sync=True)
    weights = traitlets.Unicode().tag(sync=True)  # a URL; in a notebook a data URL
    classes = traitlets.List().tag(sync=True)
    images = traitlets.Unicode().tag(sync=True)  # bytes, as base64
    labels = traitlets.List().tag(sync=True)
    mean = traitlets.List().tag(sync=True)
    std = traitlets.List().tag(sync=True)
    negative = traitlets.Bool().tag(sync=True)  # drawn dark on light

    @property
    def patches(self) -> int:
        """How many an image has."""
        return (self.sizes["image_size"] // self.sizes["patch_size"]) ** 2


class AsksForWeights(anywidget.AnyWidget):
    """A figure that a notebook gives the weights of `_plain` when it asks for them.

    A saved notebook so holds them only if a reader needed them. `_plain` is None where
    the figure runs no model.
    """

    weights = traitlets.Unicode().tag(sync=True)  # a URL
    file = traitlets.Unicode().tag(sync=True)  # of a book's static folder, with them
    asked = traitlets.Bool(False).tag(sync=True)
    _plain: VisionTransformer | None = None

    @traitlets.observe("asked")
    def _send_weights(self, _: object):
        if self.asked and self._plain and not self.weights:
            self.weights = data_url(packed(self._plain))


class EncoderAtWork(OfViT):
    """Draw or choose an image; a ViT runs in the browser and shows what happens inside.

    model: a VisionTransformer of the course that reads the class token. images: (B, C,
    H, W) in [0, 1], C = 1 or 3, at most 100 to choose from, kept in steps of 1/255.
    classes: the names of the J classes. labels: the class of each image, if known.
    mean, std: a number, or one for each channel; the model gets (image - mean) / std.
    about: a sentence on the model, for the foot of the figure.

    `blocks`, `head` (-1 for the mean), `query` (0 for the class token) and `pixels`
    follow what the reader chooses. The weights are part of the figure, in float16 if
    that loses nothing. Raises ValueError or TypeError if the arguments do not fit
    together, and for a model that computes anything else than its weights say.
    """

    _esm = front_end("encoder_at_work.js", "vit.js")
    _css = HERE / "encoder_at_work.css"

    recorded = traitlets.Dict().tag(sync=True)  # what image 0 gives, see `record`
    about = traitlets.Unicode().tag(sync=True)
    colours = traitlets.Dict().tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)  # -1: the reader's own
    own = traitlets.Unicode().tag(sync=True)  # its bytes, as base64
    blocks = traitlets.Int().tag(sync=True)
    head = traitlets.Int(-1).tag(sync=True)
    query = traitlets.Int(0).tag(sync=True)
    _require = follows(
        blocks=lambda self: range(self.sizes["depth"] + 1),
        head=lambda self: range(-1, self.sizes["num_heads"]),
        query=lambda self: range(self.patches + 1),
    )

    @traitlets.validate("chosen")
    def _require_chosen(self, proposal: dict) -> int:
        value = proposal["value"]
        require_fit("chosen", value, range(-1, len(self.labels)))
        if value < 0 and not self.own:
            raise ValueError("expected an own image before chosen is -1, got none")
        return value

    def __init__(
        self,
        model: VisionTransformer,
        images: torch.Tensor,
        classes: Sequence[str],
        labels: torch.Tensor | None = None,
        mean: float | torch.Tensor = 0.0,
        std: float | torch.Tensor = 1.0,
        about: str = "",
    ):
        given, plain, image = described(model, images, classes, labels, mean, std)
        super().__init__(
            **given,
            weights=data_url(packed(plain)),
            recorded=record(plain, image),
            about=about,
            colours={"ramp": list(RAMP), "query": QUERY, "class": CLASS},
            blocks=given["sizes"]["depth"],
        )

    @property
    def pixels(self) -> torch.Tensor:
        """The image that is shown now, drawn or chosen: (C, H, W) in [0, 1]."""
        C, side = self.sizes["in_channels"], self.sizes["image_size"]
        stored = self.images if self.chosen >= 0 else self.own
        codes = torch.frombuffer(bytearray(base64.b64decode(stored)), dtype=torch.uint8)
        return codes.view(-1, C, side, side)[max(self.chosen, 0)] / 255

    def __repr__(self) -> str:
        depth, dim = self.sizes["depth"], self.sizes["dim"]
        return f"EncoderAtWork({len(self.labels)} images, {depth} blocks, {dim} wide)"


def described(
    model: VisionTransformer,
    images: torch.Tensor,
    classes: Sequence[str],
    labels: torch.Tensor | None,
    mean: float | torch.Tensor,
    std: float | torch.Tensor,
) -> tuple[dict, VisionTransformer, torch.Tensor]:
    """The traits of `OfViT` apart from the weights, a plain model, and its image 0.

    For the arguments of `EncoderAtWork`; raises what that does.
    """
    sizes = sizes_of(model)
    codes = require_codes(images, sizes)  # (B, C, H, W), uint8
    mean, std = (per_channel(x, sizes["in_channels"]) for x in (mean, std))
    if not (std > 0).all():
        raise ValueError(f"expected a std above 0, got {std.flatten().tolist()}")
    image = (codes[:1] / 255 - mean) / std  # (1, C, H, W)
    given = {
        "sizes": sizes,
        "classes": require_classes(classes, sizes["num_classes"]),
        "images": base64.b64encode(codes.numpy().tobytes()).decode(),
        "labels": require_labels(labels, len(codes), sizes["num_classes"]),
        "mean": mean.flatten().tolist(),
        "std": std.flatten().tolist(),
        "negative": bool(codes.median() < 26),
    }
    return given, require_plain(model, sizes, image), image


def shipped(places: Sequence[int] = SHOWN) -> dict:
    """The ViT that ships and some test images of Fashion-MNIST, as arguments."""
    from vit_encoder.data import fashion_vit
    from vit_encoder.datasets import CLASSES, fashion_mnist

    with torch.device("cpu"):  # a notebook may have another default
        model, test = fashion_vit(), fashion_mnist().test
    some = test[list(places)]
    return {
        "model": model,
        "images": some.images / 255,
        "classes": CLASSES,
        "labels": some.labels,
        "mean": test.mean,
        "std": test.std,
    }


def fashion_at_work() -> EncoderAtWork:
    """The figure with the ViT that ships and twelve test images of Fashion-MNIST."""
    from vit_encoder.training_runs import trainings

    given = shipped()
    (run,) = (run for run in trainings("fashion") if run["seed"] == 0)  # that was saved
    right = 100 * run["test_accuracy"]
    count = sum(p.numel() for p in given["model"].parameters())
    return EncoderAtWork(
        **given,
        about=f"This ViT has {spaced(count)} parameters and was trained by the course "
        f"on Fashion-MNIST. It is right about {right:.1f}\N{NO-BREAK SPACE}% of "
        f"{spaced(10_000)} test images. It knows these {len(given['classes'])} kinds "
        "of clothes, and gives one of them to every image.",
    )


def weights_file() -> str:
    """The name by which a page asks for the weights; others have another name."""
    version = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()[:8]
    return f"{WEIGHTS.name}?v={version}"


def file_of(model: VisionTransformer) -> str:
    """The name of the file from which a page can load these weights; "" if none has."""
    return weights_file() if packed(model) == WEIGHTS.read_bytes() else ""


def spaced(number: int) -> str:
    """A whole number with a space between thousands."""
    return f"{number:,}".replace(",", "\N{NO-BREAK SPACE}")


def sizes_of(model: VisionTransformer) -> dict[str, float]:
    """The sizes that make such a model, and the epsilon of its LayerNorms."""
    if not isinstance(model, VisionTransformer):
        raise TypeError(f"expected a VisionTransformer, got {type(model).__name__}")
    if model.pool != "cls" or model.pre_logits is not None:
        raise ValueError('expected a model with pool "cls" and no pre_logits')
    count = sum(p.numel() for p in model.parameters())
    if count > MOST_WEIGHTS:
        raise ValueError(f"expected at most {MOST_WEIGHTS} parameters, got {count}")
    channels, side, _ = model.embedding.image_shape
    block = model.encoder.blocks[0]
    epsilons = {m.eps for m in model.modules() if hasattr(m, "eps")}
    if len(epsilons) != 1:
        raise ValueError(f"expected one eps in all LayerNorms, got {sorted(epsilons)}")
    return {
        "image_size": side,
        "patch_size": model.embedding.patch_size,
        "in_channels": channels,
        "num_classes": model.head.out_features,
        "depth": len(model.encoder.blocks),
        "dim": model.head.in_features,
        "num_heads": block.attn.num_heads,
        "mlp_dim": block.mlp.fc1.out_features,
        "eps": epsilons.pop(),
    }


def require_plain(
    model: VisionTransformer, sizes: dict, images: torch.Tensor
) -> VisionTransformer:
    """A new model with these sizes and weights, on the CPU, which gives the same.

    It would not where a hook or a replaced part does more than the weights say. Raises
    ValueError then.
    """
    weights = {
        name: v.detach().to("cpu", torch.float32).contiguous()
        for name, v in model.state_dict().items()
    }
    with torch.device("meta"):  # so that no random number is drawn
        plain = VisionTransformer(**{k: v for k, v in sizes.items() if k != "eps"})
    wanted, found = (
        {name: tuple(v.shape) for name, v in some.items()}
        for some in (plain.state_dict(), weights)
    )
    other = [n for n in wanted | found if wanted.get(n) != found.get(n)]
    if other:
        raise ValueError(f"expected the weights of a VisionTransformer, got {other}")
    if not all(v.isfinite().all() for v in weights.values()):
        raise ValueError("expected finite weights, got inf or nan")
    plain.load_state_dict(weights, assign=True)
    for module in plain.modules():
        if hasattr(module, "eps"):
            module.eps = sizes["eps"]
    theirs = copy.deepcopy(model).to("cpu", torch.float32).eval()
    with torch.no_grad():
        ours, asked = plain.eval()(images), theirs(images)
    apart = (asked - ours).abs().max().item()
    if not apart <= 1e-3 * (1 + ours.abs().max().item()):
        raise ValueError(
            "expected a model that computes what its weights say, got logits that "
            f"differ by {apart:.3g}: it has a hook or a replaced part. If that only "
            "normalizes the images, remove it and give mean and std"
        )
    return plain


def require_codes(images: torch.Tensor, sizes: dict) -> torch.Tensor:
    """The images as bytes on the CPU, (B, C, H, W)."""
    channels, side = sizes["in_channels"], sizes["image_size"]
    require_images(images, channels, side, side)
    if channels not in (1, 3):
        raise ValueError(f"expected a model for 1 or 3 channels, got {channels}")
    if not 1 <= len(images) <= MOST_IMAGES:
        raise ValueError(f"expected 1 to {MOST_IMAGES} images, got {len(images)}")
    low, high = images.min().item(), images.max().item()
    if not 0 <= low <= high <= 1:
        raise ValueError(
            f"expected images with values in [0, 1], got {low:g} to {high:g}"
        )
    return (images.detach().to("cpu", torch.float32) * 255).round().byte()


def per_channel(value: float | torch.Tensor, channels: int) -> torch.Tensor:
    """A number for each channel, (C, 1, 1)."""
    numbers = (
        torch.as_tensor(value, dtype=torch.float32, device="cpu").detach().flatten()
    )
    if len(numbers) not in (1, channels) or not numbers.isfinite().all():
        raise ValueError(
            f"expected a number, or one for each of {channels} channels, got "
            f"{numbers.tolist()}"
        )
    return numbers.expand(channels).view(channels, 1, 1)


def require_classes(classes: Sequence[str], count: int) -> list[str]:
    """One name a class."""
    names = [str(name) for name in classes]
    if len(names) != count:
        raise ValueError(f"expected {count} names of classes, got {len(names)}")
    return names


def require_labels(labels: torch.Tensor | None, count: int, classes: int) -> list[int]:
    """One class an image; -1 where none is given."""
    if labels is None:
        return [-1] * count
    numbers = torch.as_tensor(labels, device="cpu").flatten().tolist()
    fit = all(isinstance(n, int) and 0 <= n < classes for n in numbers)
    if len(numbers) != count or not fit:
        raise ValueError(
            f"expected {count} labels from 0 to {classes - 1}, got {numbers}"
        )
    return numbers


def packed(model: VisionTransformer) -> bytes:
    """The weights in the format safetensors, as float16 if that loses nothing."""
    weights = model.state_dict()
    halves = {name: v.half() for name, v in weights.items()}
    lossless = all(torch.equal(halves[n].float(), v) for n, v in weights.items())
    return save(halves if lossless else weights)


def data_url(content: bytes, kind: str = "application/octet-stream") -> str:
    """The content inside a URL."""
    return f"data:{kind};base64," + base64.b64encode(content).decode()


def record(model: VisionTransformer, image: torch.Tensor) -> dict[str, list]:
    """What an image (1, C, H, W) gives, rounded, so that no weights are needed for it.

    logits: (L + 1, J), read after each number of blocks. attention: (L, h, 1, N), the
    weights of the class token as the query.
    """
    logits = logit_lens(model, residual_stream(model, image))[:, 0]
    maps = attention_maps(model, image)[:, 0, :, :1]
    return {"logits": rounded(logits, 3), "attention": rounded(maps, 4)}


def rounded(numbers: torch.Tensor, digits: int) -> list:
    """Nested lists; float64 keeps what was rounded short."""
    return numbers.double().round(decimals=digits).tolist()


# The first page of the book, where the figure comes with no kernel.


def for_page(figure: EncoderAtWork, folder: str) -> dict:
    """The state that the page stores, with weights and style from its static files."""
    ours = figure.traits(sync=True).keys() - anywidget.AnyWidget.class_trait_names()
    state = {name: getattr(figure, name) for name in sorted(ours) if name[0] != "_"}
    state["_esm"] = EncoderAtWork._esm
    state["weights"] = f"{folder}/{weights_file()}"
    return {"model_name": "AnyModel", "model_module": "anywidget", "state": state}


def still(figure: EncoderAtWork) -> str:
    """HTML for where no script runs: image 0 with its attention, and the guesses."""
    rows = torch.tensor(figure.recorded["logits"]).softmax(-1).T.tolist()
    depth = figure.sizes["depth"]
    heads = "".join(f'<th scope="col">{i}</th>' for i in range(depth + 1))
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(
            f'<td><i style="transform:scaleX({p:.3f})"></i>'
            f"<span>{100 * p:.0f} %</span></td>"
            for p in row
        )
        + "</tr>"
        for name, row in zip(figure.classes, rows, strict=True)
    )
    label = figure.labels[0]
    what = figure.classes[label] if label >= 0 else "an image"
    return (
        '<div class="vit-work work-still"><div class="work-look">'
        '<div class="work-legend"></div><div class="work-picture">'
        f'<img src="{data_url(picture(figure), "image/png")}" width="280" height="280"'
        f' alt="A picture of this class: {escape(what)}. It is cut into patches. The '
        f"darker a patch, the more the class token attends to it in block {depth}, as "
        'a mean over the heads."></div></div><div class="work-say">'
        f'<table class="work-guesses"><caption>{CAPTION}</caption><thead><tr>'
        f'<th scope="col">blocks</th>{heads}</tr></thead><tbody>{body}</tbody></table>'
        f'</div><p class="work-about">{escape(figure.about)}</p></div>'
    )


def picture(figure: EncoderAtWork) -> bytes:
    """Image 0 in grey, times the colours of the last block's mean attention, as PNG."""
    from PIL import Image

    from vit_encoder.figures.inputs import fade

    image = figure.pixels.expand(3, -1, -1)
    grey = fade(1 - image if figure.negative else image)  # (H, W)
    weights = torch.tensor(figure.recorded["attention"])[-1].mean(0)[0, 1:]  # (n,)
    places = weights / weights.max() * (len(RAMP) - 1)
    ramp = torch.tensor([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in RAMP])
    low = places.floor().long().clamp(max=len(RAMP) - 2)
    part = (places - low).unsqueeze(1)
    colours = ramp[low] * (1 - part) + ramp[low + 1] * part  # (n, 3)
    P = figure.sizes["patch_size"]
    side = figure.sizes["image_size"] // P
    tint = colours.view(side, side, 3).repeat_interleave(P, 0).repeat_interleave(P, 1)
    pixels = (grey.unsqueeze(-1) * tint).round().byte()
    pixels = pixels.repeat_interleave(10, 0).repeat_interleave(10, 1)  # (10H, 10W, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).quantize(256).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
