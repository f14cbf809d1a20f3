"""Properties that every part has, with the questions that show them.

A task that uses one asks questions of these names: "float32" and "float32 again", which
are alike; "gradients", in float64; "another device"; "heads that do not divide".
"""

from vit_encoder.check.judge import (
    Problem,
    Property,
    Trials,
    keeps_device,
    keeps_digits,
    keeps_dtype,
    keeps_inputs,
    repeats,
    same_gradients,
)

REPEATS = Property(
    "equal questions get equal answers",
    repeats("float32", "float32 again"),
    "Where do random numbers enter?",
)
KEEPS_DTYPE = Property(
    "float32 and float64 are kept",
    keeps_dtype("float32", "gradients"),
    "Where does a number of another type enter?",
)
KEEPS_DIGITS = Property(
    "float64 keeps its digits",
    keeps_digits("gradients"),
    "Is something rounded, or a small number added?",
)
KEEPS_DEVICE = Property(
    "the device is kept",
    keeps_device("another device"),
    "A new tensor can ask an old one where it lives. Does yours?",
)
KEEPS_INPUTS = Property(
    "the input is not changed",
    keeps_inputs,
    "Which of your lines writes into a tensor that it was given?",
)
GRADIENTS = Property(
    "gradients are right",
    same_gradients("gradients"),
    "Is every step from the input to the output one that autograd can follow?",
)
EDGES = (KEEPS_DTYPE, KEEPS_DIGITS, KEEPS_DEVICE, KEEPS_INPUTS, GRADIENTS)


def stops_at_uneven_heads(trials: Trials) -> Problem | None:
    """Heads that do not divide the width stop a part.

    Which error does it is the part's affair: nn.MultiheadAttention, which may stand
    inside, has one of its own.
    """
    trial = trials["heads that do not divide"]
    if trial.reply.problem:
        return None
    return Problem("remainder-dropped", f"It gave a result for {trial.sizes()}.")


UNEVEN_HEADS = Property(
    "heads that do not divide the width are refused",
    stops_at_uneven_heads,
    "Where did the remainder go?",
)
