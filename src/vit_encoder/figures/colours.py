"""One colour for one concept, and greys for what stands for none.

The colours are those of Okabe and Ito; to those came olive and brown.
"""

QUERY = "#0072B2"
KEY = "#E69F00"
VALUE = "#009E73"
CLASS = "#56B4E9"  # the class token
POSITION = "#8A8A2B"  # position embeddings
WRONG = "#D55E00"
HIDDEN = "#CC79A7"  # the hidden units of the MLP
WEIGHTS = "#6a35a8"  # attention weights, where a ramp is too much
WEIGHTS_IN_THE_DARK = "#b48ae6"  # its twin, as far from black as that is from white
TOGETHER = "#8B5E3C"  # numbers that are normalized with one mean and one variance

# From no weight to the largest. Lightness L* falls from 98 to 27 in equal steps at one
# purple hue, so that equal differences of weight look equal, in grey too.
RAMP = (
    "#f9f9f9",
    "#e5ddec",
    "#d2c0e2",
    "#bfa5d7",
    "#ab8acb",
    "#9670bc",
    "#8057ac",
    "#694099",
    "#522a83",
)

# What a plot compares and is no concept of its own. Markers and lines differ as well.
SERIES = ("#1a1a1a", "#8c8c8c", "#5c5c5c")
