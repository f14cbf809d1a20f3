"""One colour for one concept (Okabe and Ito), and a ramp for attention weights."""

QUERY = "#0072B2"
KEY = "#E69F00"
VALUE = "#009E73"
CLASS = "#56B4E9"  # the class token
POSITION = "#CC79A7"  # position embeddings
WRONG = "#D55E00"
HIDDEN = "#CC79A7"  # the hidden units of the MLP
WEIGHTS = "#6a35a8"  # where a ramp is too much
TOGETHER = "#CC79A7"  # numbers that are normalized with one mean and one variance

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
