"""Import torchvision beside a torch that its C library was not built for.

PyPI's torchvision is a CUDA build. Beside a CPU build of torch its library does not
load, and then `import torchvision` fails, because two operators are not declared. The
models need neither. Import this module before torchvision, timm or transformers.
"""

from importlib.util import find_spec
from pathlib import Path

import torch

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def declare() -> torch.library.Library | None:
    """Declare the operators, unless torchvision's own library brings them."""
    library = Path(find_spec("torchvision").origin).with_name("_C.so")
    try:
        torch.ops.load_library(library)
    except OSError:
        declared = torch.library.Library("torchvision", "DEF")
        for operator in OPERATORS:
            declared.define(operator)
        return declared
    return None


DECLARED = declare()  # what is declared lasts as long as this object
