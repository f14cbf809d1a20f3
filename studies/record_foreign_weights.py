"""Make the files of chapter 09: weights under the names of other libraries.

    python studies/record_foreign_weights.py garments
    python studies/record_foreign_weights.py libraries

`garments` trains a ViT on six classes of Fashion-MNIST, all of it, and writes its weights
as timm would name them: src/vit_encoder/data/garments.safetensors, float16. The other
four classes are left for the chapter to learn. It takes about five minutes on one core.

`libraries` builds one small ViT each as timm, torchvision, transformers and the JAX code
name its parameters, with random weights, and writes them with what each library computes
from one image: src/vit_encoder/data/libraries.safetensors, float64. The JAX code is not
run: its arrays go through timm, which loads them. Nothing is downloaded.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vit_encoder import VisionTransformer
from vit_encoder.datasets import LabelledImages, fashion_mnist
from vit_encoder.fit import Recipe, accuracy, fit, predict
from vit_encoder.foreign import GARMENTS, GARMENTS_FILE, KNOWN, LIBRARIES_FILE

RECIPE = Recipe(
    epochs=8, batch_size=100, learning_rate=1.5e-3, warm_up=200, shift=1, seed=0
)


def only(data: LabelledImages, classes: tuple[int, ...]) -> LabelledImages:
    """The images of these classes, which are numbered anew from 0."""
    kept = torch.isin(data.labels, torch.tensor(classes))
    number = torch.full((10,), -1)
    number[list(classes)] = torch.arange(len(classes))
    return replace(data, images=data.images[kept], labels=number[data.labels[kept]])


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


def as_timm(model: VisionTransformer) -> dict[str, Tensor]:
    """The state dict of the course's model under the names and shapes of timm."""
    state = {}
    for name, value in model.state_dict().items():
        name = name.removeprefix("encoder.").removeprefix("embedding.")
        if name.startswith("proj."):
            name = f"patch_embed.{name}"
            if value.dim() == 2:
                P = model.embedding.patch_size
                value = value.unflatten(1, (-1, P, P))  # (D, C, P, P)
        state[name] = value
    return state


def libraries() -> None:
    """Write the four libraries' weights and what they compute."""
    import library_models as lib

    sizes = lib.Sizes(**LIBRARY_SIZES)
    rng = torch.Generator().manual_seed(2)
    side = sizes.image_size
    image = torch.randn(
        1, sizes.in_channels, side, side, generator=rng, dtype=torch.float64
    )
    stored = {"image": image}
    for number, (name, model) in enumerate(models(lib, sizes).items()):
        if name != "jax":
            lib.randomize(model.double(), seed=number)
        state = model.state_dict()
        if name == "jax":
            state = {k: torch.from_numpy(v) for k, v in model.arrays.items()}
        stored |= {f"{name}|{key}": value for key, value in state.items()}
        logits = model.eval()(image)
        stored[f"{name}|| logits"] = getattr(logits, "logits", logits)
    stored = {k: v.detach().clone().contiguous() for k, v in stored.items()}
    save_file(stored, LIBRARIES_FILE)


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


def models(lib, sizes) -> dict[str, nn.Module]:
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["garments", "libraries"])
    {"garments": garments, "libraries": libraries}[parser.parse_args().what]()
