"""Train a classifier of images: the loop of chapter 08, with what a long run needs.

A progress bar, validation after each epoch, mixed precision, a checkpoint from which a
run goes on as if it had not stopped, and Ctrl-C that saves.
"""

import copy
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import ZipFile

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from vit_encoder.arguments import require_whole
from vit_encoder.datasets import LabelledImages
from vit_encoder.training import augment, parameter_groups, warm_up_cosine

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Recipe:
    """How to train.

    epochs: passes over the training images. batch_size: B; what does not fill a batch
    is left out of its epoch. learning_rate: the largest. weight_decay: of the matrices.
    warm_up: steps. label_smoothing: in [0, 1]. clip_norm: the largest norm of the
    gradient, or None. shift: pixels, for `augment`; None leaves the images as they are.
    precision: "float32", or "bfloat16" or "float16" for the matrix products. seed: of
    the order of the images and of their augmentation. Raises ValueError or TypeError
    for a precision, epochs or batch_size that cannot be.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: int = 50
    label_smoothing: float = 0.0
    clip_norm: float | None = 1.0
    shift: int | None = None
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self):
        require_whole(self.epochs, "epochs")
        require_whole(self.batch_size, "a batch_size")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"expected a precision of {', '.join(PRECISIONS)}, "
                f"got {self.precision!r}"
            )


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or belongs to another run."""


def fit(
    model: nn.Module,
    train: LabelledImages,
    validation: LabelledImages,
    recipe: Recipe,
    checkpoint: Path | str | None = None,
) -> list[dict[str, float]]:
    """Train the model in place; what was measured after each epoch.

    model, train, validation: on one device. checkpoint: a file. It is written after
    each epoch and at Ctrl-C; where it is already there, the run goes on from it, on the
    CPU to the same bits as without a stop.
    Each epoch gives `step`, `train_loss`, `train_accuracy` (means over its batches, as
    they were trained on), `validation_loss`, `validation_accuracy`, `seconds`.
    Raises ValueError for a recipe that does not fit the data, FileNotFoundError if the
    checkpoint's folder is not there, CheckpointError for a file of another run; the
    model is then as it was. Raises FloatingPointError if the loss is no longer a
    number; the model is then as it was before that step.
    """
    per_epoch = len(train) // recipe.batch_size
    if per_epoch == 0:
        raise ValueError(
            f"expected {recipe.batch_size} images or more for a batch, got {len(train)}"
        )
    run = _Run(model, recipe, per_epoch)
    file = None if checkpoint is None else Path(checkpoint)
    if file and not file.parent.is_dir():
        raise FileNotFoundError(f"expected the folder {file.parent} for a checkpoint")
    if file and file.exists():
        run.load(file)
    B = recipe.batch_size
    bar = tqdm(
        initial=run.step * B, total=run.steps * B, unit=" images", unit_scale=True
    )
    with bar, _noted_interrupt() as interrupted:
        while run.step < run.steps:
            loss, right = run.train_on(train[run.next_batch(train)])
            bar.update(B)
            bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{right:.1%}")
            ends = run.step % per_epoch == 0
            if ends:
                run.end_epoch(validation)
            if file and (ends or interrupted):
                run.save(file)
            if interrupted:
                where = f"saved in {file}" if file else "and nothing was saved"
                raise KeyboardInterrupt(f"stopped after step {run.step}, {where}")
    return run.history


@torch.no_grad()
def predict(model: nn.Module, data: LabelledImages, batch_size: int = 500) -> Tensor:
    """The logits (count, J) of all images, in evaluation mode."""
    was_training = model.training
    model.eval()
    try:
        logits = [model(batch.normalized()) for batch in data.batches(batch_size)]
    finally:
        model.train(was_training)
    return torch.cat(logits)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of images whose largest logit is that of their class, in [0, 1]."""
    return (logits.argmax(-1) == labels).float().mean().item()


# What a checkpoint holds: these numbers of a run, and its other parts.
COUNTED = ("per_epoch", "step", "history", "seconds", "sums")
PARTS = {"recipe", "model", "optimizer", "scaler", "random", *COUNTED}


class _Run:
    """A run between two steps, and what it takes to go on."""

    def __init__(self, model: nn.Module, recipe: Recipe, per_epoch: int):
        self.model, self.recipe, self.per_epoch = model, recipe, per_epoch
        self.steps = per_epoch * recipe.epochs
        self.step = 0
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0  # of training, in this epoch and before this sitting
        self.sums = [0.0, 0.0]  # loss and accuracy of this epoch's batches
        groups = parameter_groups(model, recipe.weight_decay)
        # Fused: many small tensors cost more in Python than in arithmetic.
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
        self.device = next(model.parameters()).device
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=recipe.precision == "float16"
        )

    def next_batch(self, train: LabelledImages) -> Tensor:
        """The indices of the batch for this step: each epoch has an order of its own.

        It depends on the seed and the step alone, so that a run that goes on sees what
        it would have seen.
        """
        epoch, batch = divmod(self.step, self.per_epoch)
        if batch == 0 or not hasattr(self, "order"):
            rng = _rng(self.recipe.seed, epoch)
            self.order = torch.randperm(len(train), generator=rng)
        B = self.recipe.batch_size
        return self.order[batch * B : (batch + 1) * B].to(train.labels.device)

    def train_on(self, batch: LabelledImages) -> tuple[float, float]:
        """One step; the loss and the accuracy of its batch."""
        started = time.perf_counter()
        recipe, model = self.recipe, self.model
        model.train()
        images = batch.normalized()
        if recipe.shift is not None:
            rng = _rng(recipe.seed, self.steps + self.step)
            images = augment(images, recipe.shift, rng)
        factor = warm_up_cosine(self.step, recipe.warm_up, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * factor
        dtype = PRECISIONS[recipe.precision]
        with torch.autocast(self.device.type, dtype, dtype != torch.float32):
            logits = model(images)
            loss = F.cross_entropy(
                logits.float(), batch.labels, label_smoothing=recipe.label_smoothing
            )
        measured = loss.item(), accuracy(logits, batch.labels)
        if not math.isfinite(measured[0]):
            raise FloatingPointError(
                f"the loss is {measured[0]} in step {self.step}: try a smaller "
                "learning rate, a longer warm-up or a clip_norm"
            )
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        if recipe.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.sums = [total + x for total, x in zip(self.sums, measured, strict=True)]
        self.step += 1
        self.seconds += time.perf_counter() - started
        return measured

    def end_epoch(self, validation: LabelledImages) -> None:
        """Validate, and put the epoch into the history."""
        logits = predict(self.model, validation)
        loss, right = (total / self.per_epoch for total in self.sums)
        self.history.append(
            {
                "step": self.step,
                "train_loss": loss,
                "train_accuracy": right,
                "validation_loss": F.cross_entropy(logits, validation.labels).item(),
                "validation_accuracy": accuracy(logits, validation.labels),
                "seconds": self.seconds,
            }
        )
        self.sums, self.seconds = [0.0, 0.0], 0.0

    def save(self, file: Path) -> None:
        """Write the checkpoint; the one before stands until this one is whole."""
        state = {"recipe": asdict(self.recipe)} | self._state()
        state |= {name: getattr(self, name) for name in COUNTED}
        part = file.with_name(f"{file.name}.part")
        torch.save(state, part)
        os.replace(part, file)

    def load(self, file: Path) -> None:
        """Go on from a checkpoint of the same recipe and model; all of it, or none."""
        try:
            with ZipFile(file) as whole:  # torch.load compares no checksum
                if damaged := whole.testzip():
                    raise ValueError(f"{damaged} is not as it was written")
            state = torch.load(file, map_location="cpu", weights_only=True)
            if missing := PARTS - state.keys():
                raise KeyError(*missing)
            stored = {name: value.shape for name, value in state["model"].items()}
        except Exception as error:  # what a damaged file raises is torch's affair
            raise CheckpointError(
                f"expected a checkpoint of `fit` in {file}; it is damaged, or another "
                "file. Remove it, or give another name."
            ) from error
        mine = asdict(self.recipe) | {"batches an epoch": self.per_epoch}
        theirs = state["recipe"] | {"batches an epoch": state["per_epoch"]}
        differ = [k for k in mine if mine[k] != theirs.get(k)]
        if differ:
            raise CheckpointError(
                f"expected the checkpoint of a run with "
                f"{', '.join(f'{k} {mine[k]}' for k in differ)}, got one with "
                f"{', '.join(f'{k} {theirs.get(k)}' for k in differ)} in {file}. "
                "Remove it, or give another name."
            )
        shapes = {name: value.shape for name, value in self.model.state_dict().items()}
        if other := [n for n in shapes | stored if shapes.get(n) != stored.get(n)]:
            name, *more = other
            raise CheckpointError(
                f"expected the checkpoint of this model in {file}; {name} is "
                f"{tuple(shapes.get(name, ())) or 'not'} in the model and "
                f"{tuple(stored.get(name, ())) or 'not'} in the file"
                f"{f', and {len(more)} others differ' if more else ''}. "
                "Remove it, or give another name."
            )
        before = copy.deepcopy(self._state())
        try:
            self._take(state)
        except Exception as error:
            self._take(before)
            raise CheckpointError(
                f"expected the checkpoint of this model in {file}, with the same "
                f"parameters trained: {error}. Remove it, or give another name."
            ) from error
        for name in COUNTED:
            setattr(self, name, state[name])

    def _state(self) -> dict:
        """What changes in a run, apart from its counts."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),  # of dropout
        }
        if self.device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def _take(self, state: dict) -> None:
        """Go on with such a state."""
        torch.set_rng_state(state["random"])
        if "random_cuda" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.model.load_state_dict(state["model"])


def _rng(seed: int, stream: int) -> torch.Generator:
    """Random numbers that depend on the seed and the stream alone."""
    return torch.Generator().manual_seed(seed * 1_000_003 + stream)


@contextmanager
def _noted_interrupt() -> Iterator[list[int]]:
    """A list that Ctrl-C fills, so that a step under way is finished first.

    A second Ctrl-C stops at once. Signals reach the main thread alone; elsewhere the
    list stays empty.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, _: object) -> None:
        noted.append(number)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
