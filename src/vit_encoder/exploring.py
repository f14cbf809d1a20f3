"""`explore(attention)`: sliders and buttons over a reader's own function.

In a notebook whose front end has widgets, each move calls the function anew. Elsewhere
a picture and its numbers stand there. Nothing here knows what is right.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import torch
from torch import Tensor

from vit_encoder.check.hearing.data import (
    LATE,
    TIME_LIMIT,
    Form,
    Problem,
    ProblemError,
    Question,
)
from vit_encoder.check.hearing.errors import describe, not_answered, require_fit
from vit_encoder.check.hearing.exceptions import is_stub, raised
from vit_encoder.check.hearing.guard import Sink, TimeUp, guarded
from vit_encoder.check.hearing.returned import read_outputs
from vit_encoder.figures.colours import HIDDEN, TOGETHER, WEIGHTS, WRONG
from vit_encoder.figures.drawing import GREY, Drawing, drawing, line, text
from vit_encoder.message_html import message_html

VIEW = "application/vnd.jupyter.widget-view+json"
UNANSWERED = "Nothing to explore yet: replace `...` in `{}`, then run both cells."


@dataclass(frozen=True)
class Slider:
    """A number that the reader moves: its label, the choices, and the first of them."""

    label: str
    choices: tuple[float, ...]
    start: float


@dataclass(frozen=True)
class Switch:
    """What is on or off."""

    label: str
    start: bool


@dataclass(frozen=True)
class Seen:
    """What one call shows: lines for those who cannot see it, and a picture."""

    words: list[str]
    picture: Drawing


@dataclass(frozen=True)
class Exploration:
    """What can be done with one function.

    controls: name of a setting → its control.
    again: what the button says that draws other random numbers, or "".
    inputs: settings → the arguments of the call. Random numbers are free to use.
    shapes: output → its shape. show: settings, inputs, outputs → what is seen.
    """

    controls: dict[str, Slider | Switch]
    again: str
    inputs: Callable[[SimpleNamespace], tuple]
    shapes: dict[str, tuple[int, ...]]
    show: Callable[[SimpleNamespace, tuple, tuple[Tensor, ...]], Seen]


def explore(answer: Callable) -> "Explorer":
    """Controls over a function of the reader's own, which shows itself in a notebook.

    answer: a function named attention, layer_norm, gelu or dropout, as the exercises
    define them; it may be unfinished or wrong. ValueError for another name, TypeError
    for what is no function.
    """
    if not callable(answer):
        raise TypeError(
            "expected a function, such as `attention` without brackets after it, got "
            f"{describe(answer)}"
        )
    name = getattr(answer, "__name__", "")
    if name not in EXPLORATIONS:
        raise ValueError(
            f"expected a function named {' or '.join(EXPLORATIONS)}, got "
            f"{describe(answer)}"
        )
    return Explorer(answer, EXPLORATIONS[name])


@dataclass
class Explorer:
    """A function, the settings of its controls, and what it makes of them.

    Change `settings`, and `seed` for other random numbers. Nothing is called before
    something is shown.
    """

    answer: Callable
    exploration: Exploration
    seed: int = 0
    settings: dict[str, float | bool] = field(default_factory=dict)

    def __post_init__(self):
        controls = self.exploration.controls.items()
        self.settings = {name: c.start for name, c in controls} | self.settings

    def look(self) -> Seen | Problem:
        """Call the function once; what is seen of it, or why nothing is.

        What it prints is dropped; the notebook's own random numbers go on as before.
        """
        settings = SimpleNamespace(**self.settings)
        form, sink = Form(tuple(self.exploration.shapes)), Sink()
        try:
            require_fit(self.answer, form)
            with guarded(TIME_LIMIT, sink):
                # torch.manual_seed seeds GPUs, too, and nothing restores theirs.
                torch.default_generator.manual_seed(self.seed)
                inputs = self.exploration.inputs(settings)
                given = [x.clone() if isinstance(x, Tensor) else x for x in inputs]
                result = self.answer(*given)
                question, printed = Question("", inputs), sink.characters > 0
                _, outputs = read_outputs(result, form, question, printed)
            require_shapes(self.exploration.shapes, outputs)
        except ProblemError as error:
            return error.problem
        except TimeUp:
            return LATE
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, too: the notebook goes on
            if issubclass(type(error), NotImplementedError) and is_stub(error):
                return not_answered()
            return raised(error, self.answer)
        return self.exploration.show(settings, inputs, outputs)

    def __repr__(self) -> str:
        return self.words(self.look())

    def words(self, seen: Seen | Problem) -> str:
        """The settings and what is seen, as text."""
        if seen == not_answered():
            return UNANSWERED.format(self.answer.__name__)
        controls = self.exploration.controls
        parts = [f"{controls[n].label} {shown(v)}" for n, v in self.settings.items()]
        if isinstance(seen, Problem):
            lines = [seen.text, seen.where, seen.ask]
        else:
            lines = seen.words
        heading = f"{self.answer.__name__}: {', '.join(parts)}"
        return "\n".join([heading, *(f"  {each}" for each in lines if each)])

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        """Controls for a front end that has widgets, a picture, and text."""
        seen = self.look()
        bundle = {"text/plain": self.words(seen)}
        if seen == not_answered():
            return bundle
        bundle["text/html"] = html(seen)
        if has_kernel():
            id = self.panel(seen).model_id
            bundle[VIEW] = {"version_major": 2, "version_minor": 0, "model_id": id}
        return bundle

    def panel(self, seen: Seen | Problem | None = None):
        """The controls above what they change, as an ipywidgets.VBox.

        seen: what the function shows now, if it was called already.
        """
        import ipywidgets as widgets  # where nothing is shown, nothing needs it

        view = widgets.HTML(html(seen or self.look()))
        controls = {
            name: made(widgets, control, self.settings[name])
            for name, control in self.exploration.controls.items()
        }

        def renew(_) -> None:
            self.settings = {name: w.value for name, w in controls.items()}
            view.value = html(self.look())

        def draw(button) -> None:
            self.seed += 1
            renew(button)

        for control in controls.values():
            control.observe(renew, "value")
        buttons = []
        if self.exploration.again:
            buttons = [widgets.Button(description=self.exploration.again)]
            buttons[0].on_click(draw)
        return widgets.VBox([*controls.values(), *buttons, view])


def made(widgets, control: Slider | Switch, value: float | bool):
    """The widget of a control."""
    if isinstance(control, Switch):
        return widgets.Checkbox(value, description=control.label, indent=False)
    return widgets.SelectionSlider(
        options=[(shown(choice), choice) for choice in control.choices],
        value=value,
        description=control.label,
        style={"description_width": "9em"},
        layout={"width": "min(26em, 96%)"},
    )


def has_kernel() -> bool:
    """Whether this runs in the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def html(seen: Seen | Problem) -> str:
    """The picture, or what went wrong."""
    if isinstance(seen, Problem):
        return report(seen)
    return seen.picture._repr_html_()


def require_shapes(
    shapes: dict[str, tuple[int, ...]], outputs: tuple[Tensor, ...]
) -> None:
    """ProblemError where an output has another shape than the task asks for."""
    for (name, wanted), came in zip(shapes.items(), outputs, strict=True):
        if tuple(came.shape) != wanted:
            raise ProblemError(
                "wrong-shape",
                f"`{name}` has shape {tuple(came.shape)}, expected {wanted}.",
                "Which axis does each step keep, and which one does it add up?",
            )


def report(problem: Problem) -> str:
    """A problem as a card that takes its text colours from the page."""
    said = "\n".join(filter(None, (problem.text, problem.where, problem.ask)))
    style = f"border-left: 4px solid {WRONG}; padding: 0 1em; white-space: normal"
    return f'<div style="{style}">{message_html(said)}</div>'


def shown(value: float | bool) -> str:
    """A setting as it is read."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}"


def number(value: float) -> str:
    """Two places, without a minus before 0.00."""
    written = f"{value:.2f}"
    return "0.00" if written == "-0.00" else written


def share(value: float, most: float) -> float:
    """How large a value is drawn: 0 to 1, also for what is no number."""
    return min(max(value / most, 0), 1) if math.isfinite(value) else 0


def largest(values: Tensor) -> float:
    """The largest magnitude among the finite values, or hardly anything above 0."""
    return max(values.abs().nan_to_num(0, posinf=0).max().item(), 1e-9)


# attention

QUERIES, KEYS, VALUES = 4, 6, 2  # N_q, N_k and D_v


def attention_inputs(at: SimpleNamespace) -> tuple:
    """Queries (4, D_h), keys (6, D_h) and values (6, 2)."""
    torch.default_generator.manual_seed(torch.initial_seed() * 1000 + int(at.width))
    q, k = torch.randn(QUERIES, int(at.width)), torch.randn(KEYS, int(at.width))
    return at.stretch * q, k, torch.randn(KEYS, VALUES)


def show_attention(at: SimpleNamespace, inputs: tuple, outputs: tuple) -> Seen:
    """The weights as a table, a bar below each, the sum and the entropy of each row."""
    weights = outputs[1].double()
    sums = weights.sum(-1).tolist()
    entropy = torch.special.entr(weights.clamp(min=0)).sum(-1).tolist()
    words = [f"{'':8} {' '.join(f'key {j}' for j in range(KEYS))}   sum  entropy"]
    parts = [text("key", 50, 14, size=11)]
    parts += [text(str(j), 80 + 30 * j, 14, size=11) for j in range(KEYS)]
    parts += [text("sum", 272, 14, size=11), text("entropy", 317, 14, size=11)]
    for i, row in enumerate(weights.tolist()):
        y = 24 + 30 * i
        parts.append(text(f"query {i}", 58, y + 18, "end", 11))
        for j, weight in enumerate(row):
            x = 66 + 30 * j
            parts.append(
                f'<rect x="{x}" y="{y}" width="28" height="28" rx="3" fill="none"'
                f' stroke="{GREY}"/><rect x="{x + 2}" y="{y + 20}" height="6"'
                f' width="{24 * share(weight, 1):.1f}" fill="{WEIGHTS}"/>'
            )
            parts.append(text(number(weight), x + 14, y + 15, size=11))
        parts.append(text(number(sums[i]), 272, y + 18, size=11))
        parts.append(text(number(entropy[i]), 317, y + 18, size=11))
        cells = " ".join(f"{number(weight):>5}" for weight in row)
        words.append(f"query {i}: {cells} {number(sums[i]):>5}  {number(entropy[i])}")
    most = f"The entropy is at most ln {KEYS} = {math.log(KEYS):.2f} nats."
    parts.append(text(most, 170, 166, size=11))
    name, description = "Attention weights of your function", "\n".join(words)
    picture = drawing(name, description, parts, 174)
    return Seen([*words, most], picture)


# layer_norm

DIM = 8


def layer_norm_inputs(at: SimpleNamespace) -> tuple:
    """A token (8,), stretched and shifted, weight 1, bias 0, and a small epsilon."""
    x = torch.randn(DIM)
    return at.stretch * x + at.shift, torch.ones(DIM), torch.zeros(DIM), 1e-6


def show_layer_norm(at: SimpleNamespace, inputs: tuple, outputs: tuple) -> Seen:
    """The token's numbers before and after, as bars, with mean and spread."""
    words, parts = [], []
    for place, (name, token, colour) in enumerate(
        (("in", inputs[0], GREY), ("out", outputs[0], TOGETHER))
    ):
        token, zero = token.double(), 66 + 136 * place
        mean, spread = token.mean().item(), token.std(correction=0).item()
        said = f"{name}: mean {number(mean)}, standard deviation {number(spread)}"
        words += [said, "  " + " ".join(f"{number(x):>6}" for x in token.tolist())]
        most = largest(token)
        parts += [text(said, 8, zero - 52, "start", 12, bold=True)]
        parts += [line([(8, zero), (332, zero)], GREY, 1)]
        for i, x in enumerate(token.tolist()):
            height = 26 * share(abs(x), most)
            top = zero - height if x > 0 else zero
            parts.append(
                f'<rect x="{14 + 41 * i}" y="{top:.1f}" width="24"'
                f' height="{height:.1f}" fill="{colour}"/>'
            )
            below = zero + 14 if x > 0 else zero - 5
            parts.append(text(number(x), 26 + 41 * i, below, size=11))
    picture = drawing("A token before and after", "\n".join(words), parts, 240)
    return Seen(words, picture)


# gelu

CURVE = tuple(x / 8 for x in range(-32, 33))


def gelu_inputs(at: SimpleNamespace) -> tuple:
    """The numbers of the curve, with the one that the reader moves as the last."""
    return (torch.tensor([*CURVE, at.x], dtype=torch.float64),)


def show_gelu(at: SimpleNamespace, inputs: tuple, outputs: tuple) -> Seen:
    """The curve of the function, and its value at one number."""
    *curve, y = outputs[0].double().tolist()
    words = [f"x = {number(at.x)} gives {y:.4f}"]

    def place(x: float, y: float) -> tuple[float, float]:
        return round(170 + 38 * x, 1), round(168 - 38 * min(max(y, -1.4), 4.2), 1)

    parts = [line([place(-4, 0), place(4, 0)], GREY, 1)]
    parts += [line([place(0, -1), place(0, 4)], GREY, 1)]
    parts += [text(str(n), place(n, 0)[0], 182, size=11) for n in (-4, -2, 2, 4)]
    parts += [text(str(n), 162, place(0, n)[1] + 4, "end", 11) for n in (2, 4)]
    points = [p for p in zip(CURVE, curve, strict=True) if math.isfinite(p[1])]
    parts.append(line([place(*p) for p in points] or [(0, 0)], HIDDEN, 2.5))
    if math.isfinite(y):
        x0, y0 = place(at.x, y)
        parts.append(
            f'<circle cx="{x0}" cy="{y0}" r="6" fill="{HIDDEN}" stroke="currentColor"'
            ' stroke-width="2"/>'
        )
    parts.append(text(words[0], 4, 40, "start", 11, bold=True))
    picture = drawing("The curve of your function", words[0], parts, 226)
    return Seen(words, picture)


# dropout

SIDE = 10


def dropout_inputs(at: SimpleNamespace) -> tuple:
    """A hundred ones, p, and the mode."""
    return torch.ones(SIDE, SIDE), at.p, at.training


def show_dropout(at: SimpleNamespace, inputs: tuple, outputs: tuple) -> Seen:
    """Which of a hundred ones are left, how large they are, and their mean."""
    came = outputs[0].double()
    left = came[came != 0]
    words = [f"{len(left)} of {SIDE**2} are left"]
    if len(left):
        low, high = number(left.min().item()), number(left.max().item())
        same = low == high != "nan"  # one nan makes both of them nan
        words.append(f"each is {low}" if same else f"from {low} to {high}")
    words.append(f"the mean of all is {number(came.mean().item())}")
    most = largest(came)
    parts = []
    for i, row in enumerate(came.tolist()):
        for j, x in enumerate(row):
            parts.append(
                f'<rect x="{10 + 17 * j}" y="{10 + 17 * i}" width="14" height="14"'
                f' rx="3" fill="{HIDDEN}" fill-opacity="{share(abs(x), most):.2f}"'
                f' stroke="{GREY}"/>'
            )
    for i, said in enumerate(words):
        parts.append(text(said, 192, 60 + 30 * i, "start", 11))
    picture = drawing("A hundred ones after dropout", "; ".join(words), parts, 188)
    return Seen(words, picture)


EXPLORATIONS = {
    "attention": Exploration(
        {
            "width": Slider("D_h", (1, 4, 16, 64, 256, 1024), 16),
            "stretch": Slider("queries times", tuple(i / 4 for i in range(17)), 1.0),
        },
        "Other tokens",
        attention_inputs,
        {"output": (QUERIES, VALUES), "weights": (QUERIES, KEYS)},
        show_attention,
    ),
    "layer_norm": Exploration(
        {
            "shift": Slider("shift by", tuple(range(-10, 11)), 3),
            "stretch": Slider("stretch by", (0, 0.001, 0.1, 0.5, 1, 2, 10, 100), 2),
        },
        "Another token",
        layer_norm_inputs,
        {"output": (DIM,)},
        show_layer_norm,
    ),
    "gelu": Exploration(
        {"x": Slider("x", CURVE, -1.0)},
        "",
        gelu_inputs,
        {"output": (len(CURVE) + 1,)},
        show_gelu,
    ),
    "dropout": Exploration(
        {
            "p": Slider("p", tuple(i / 20 for i in range(21)), 0.3),
            "training": Switch("training", True),
        },
        "Draw again",
        dropout_inputs,
        {"output": (SIDE, SIDE)},
        show_dropout,
    ),
}
