"""Make the files of chapter 09: weights under the names of other libraries.

    python studies/record_foreign_weights.py garments
    python studies/record_foreign_weights.py libraries
    python studies/record_foreign_weights.py rates

`garments` trains a ViT on six classes of Fashion-MNIST, all of it, and writes its
weights as timm would name them: src/vit_encoder/data/garments.safetensors, float16. The
other four classes are left for the chapter to learn. It takes about twenty minutes of
one busy core.

`libraries` builds one small ViT each as timm, torchvision, transformers and the JAX
code name its parameters, with random weights, and writes them with what each library
computes from one image: src/vit_encoder/data/libraries.safetensors, float64. The JAX
code is not run: its arrays go through timm, which loads them. With them goes what each
makes of the same positions for grids of 4 × 4 and 10 × 10. Nothing is downloaded.

`rates` prints how each way of fine-tuning does with five learning rates, on validation
images of the new classes: the chapter takes the best of each.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import scipy.ndimage
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import library_models as lib
from vit_encoder import LoRALinear, VisionTransformer
from vit_encoder.datasets import LabelledImages, fashion_mnist
from vit_encoder.fit import Recipe, accuracy, fit, predict
from vit_encoder.foreign import (
    GARMENTS,
    KNOWN,
    LIBRARIES_FILE,
    as_timm,
    few,
    only,
)
from vit_encoder.foreign import garments as garment_classes
from vit_encoder.loading import from_timm, load

# isort: split

from timm.layers import resample_abs_pos_embed
from torchvision.models.vision_transformer import interpolate_embeddings

# What was just written has no checksum before `make sync`, so it is read as it is.
GARMENTS_FILE = LIBRARIES_FILE.with_name("garments.safetensors")
RECIPE = Recipe(
    epochs=8, batch_size=100, learning_rate=1.5e-3, warm_up=200, shift=1, seed=0
)


def garments() -> None:
    """Train on the six known classes, and write the weights with timm's names."""
    torch.manual_seed(0)
    data = fashion_mnist(full=True)
    train, validation, test = (
        only(part, KNOWN) for part in (data.train, data.validation, data.test)
    )
    model = VisionTransformer(**GARMENTS)
    history = fit(model, train, validation, RECIPE)
    print(f"validation {history[-1]['validation_accuracy']:.4f}")
    print(f"test {accuracy(predict(model, test), test.labels):.4f}")
    stored = {k: v.half().contiguous() for k, v in as_timm(model).items()}
    save_file(stored, GARMENTS_FILE)


def libraries() -> None:
    """Write the four libraries' weights and what they compute."""
    sizes = lib.Sizes(**LIBRARY_SIZES)
    rng = torch.Generator().manual_seed(2)
    side = sizes.image_size
    image = torch.randn(
        1, sizes.in_channels, side, side, generator=rng, dtype=torch.float64
    )
    stored = {"image": image}
    for number, (name, model) in enumerate(models(sizes).items()):
        if name != "jax":
            lib.randomize(model.double(), seed=number)
        state = model.state_dict()
        if name == "jax":
            state = {k: torch.from_numpy(v) for k, v in model.arrays.items()}
        stored |= {f"{name}|{key}": value for key, value in state.items()}
        logits = model.eval()(image)
        stored[f"{name}|| logits"] = getattr(logits, "logits", logits)
    stored |= positions()
    stored = {k: v.detach().clone().contiguous() for k, v in stored.items()}
    save_file(stored, LIBRARIES_FILE)


def positions() -> dict[str, Tensor]:
    """Random positions of a grid of 7 × 7, and what each source makes of them."""
    rng = torch.Generator().manual_seed(3)
    given = torch.randn(1, 50, 6, generator=rng, dtype=torch.float64)
    found = {"positions": given}
    for n in (4, 10):
        found |= {
            f"positions|timm|{n}": resample_abs_pos_embed(given, [n, n]),
            f"positions|torchvision|{n}": by_torchvision(given, n),
            f"positions|transformers|{n}": by_transformers(given, n),
            f"positions|jax|{n}": by_jax(given, n),
        }
    return found


def by_torchvision(given: Tensor, n: int) -> Tensor:
    """As its function for state dicts does it."""
    state = {"encoder.pos_embedding": given}
    return interpolate_embeddings(n, 1, state)["encoder.pos_embedding"]


def by_transformers(given: Tensor, n: int) -> Tensor:
    """As its embeddings do it for an image of another size."""
    sizes = lib.Sizes(
        image_size=7, patch_size=1, in_channels=1, depth=1, dim=6, num_heads=1
    )
    embeddings = lib.transformers_vit(sizes).double().vit.embeddings
    embeddings.position_embeddings = nn.Parameter(given)
    tokens = torch.zeros(1, 1 + n * n, 6)
    return embeddings.interpolate_pos_encoding(tokens, n, n)


def by_jax(given: Tensor, n: int) -> Tensor:
    """As vit_jax/checkpoint.py does it, by the same call of scipy."""
    grid = given[0, 1:].unflatten(0, (7, 7)).numpy()
    grid = scipy.ndimage.zoom(grid, (n / 7, n / 7, 1), order=1)
    grid = torch.from_numpy(grid).flatten(0, 1)[None]
    return torch.cat([given[:, :1], grid], dim=1)


LIBRARY_SIZES = {
    "image_size": 12,
    "patch_size": 4,
    "in_channels": 3,
    "depth": 2,
    "dim": 10,
    "num_heads": 5,
    "mlp_dim": 30,
    "num_classes": 7,
}


def models(sizes: lib.Sizes) -> dict[str, nn.Module]:
    """The libraries' models; that of JAX is timm's, which reads its file."""
    jax = lib.timm_vit(sizes).double()
    jax.arrays = lib.jax_arrays(sizes)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights.npz"
        np.savez(path, **jax.arrays)
        jax.load_pretrained(path)
    return {
        "timm": lib.timm_vit(sizes),
        "torchvision": lib.torchvision_vit(sizes),
        "transformers": lib.transformers_vit(sizes, attn_implementation="sdpa"),
        "jax": jax,
    }


RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
WAYS = ("probe", "full fine-tuning", "LoRA", "from scratch", "probe, untrained")
DRAWS = (100, 101, 102)  # of images and heads, other ones than in the chapter
IMAGES, STEPS = 5, 30  # as in the chapter


def rates() -> None:
    """Accuracy on validation images, the mean of three draws."""
    _, train = garment_classes("train")
    _, validation = garment_classes("validation")
    for way in WAYS:
        means = []
        for rate in RATES:
            found = []
            for seed in DRAWS:
                model = start(way, seed)
                adapt(model, few(train, IMAGES, seed), rate)
                found.append(accuracy(predict(model, validation), validation.labels))
            means.append(f"{rate:.0e} {sum(found) / len(found):.3f}")
        print(f"{way:17}", *means, sep="  ", flush=True)


def start(way: str, seed: int) -> VisionTransformer:
    """As in the chapter."""
    torch.manual_seed(seed)
    model = VisionTransformer(**GARMENTS | {"num_classes": 4})
    if "untrained" not in way and way != "from scratch":
        load(model, from_timm(load_file(GARMENTS_FILE)), head=False)
    if way not in ("full fine-tuning", "from scratch"):
        model.requires_grad_(False)
        model.head.requires_grad_(True)
    if way == "LoRA":
        for block in model.encoder.blocks:
            block.attn.qkv = LoRALinear(block.attn.qkv, rank=4, alpha=8)
            block.attn.proj = LoRALinear(block.attn.proj, rank=4, alpha=8)
    return model


def adapt(model: VisionTransformer, images: LabelledImages, rate: float) -> None:
    """As in the chapter."""
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=rate)
    for _ in range(STEPS):
        loss = F.cross_entropy(model(images.normalized()), images.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["garments", "libraries", "rates"])
    made = {"garments": garments, "libraries": libraries, "rates": rates}
    made[parser.parse_args().what]()
