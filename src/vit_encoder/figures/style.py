"""How the course's plots look."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.colors import LinearSegmentedColormap

from vit_encoder.figures.colours import RAMP

ATTENTION = LinearSegmentedColormap.from_list("attention", RAMP)


def use_style() -> None:
    """Draw all following plots in the course's style."""
    plt.style.use(Path(__file__).with_name("course.mplstyle"))
