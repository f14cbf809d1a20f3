"""The training loop: what it does in a step, and what a stop leaves behind."""

import math
import re
import signal
import threading
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from vit_encoder import VisionTransformer, parameter_groups, warm_up_cosine
from vit_encoder.datasets import LabelledImages
from vit_encoder.fit import CheckpointError, Recipe, accuracy, fit, predict

RECIPE = Recipe(epochs=3, batch_size=8, warm_up=3, learning_rate=3e-3)


@pytest.fixture(autouse=True)
def no_bar(monkeypatch):
    monkeypatch.setattr("vit_encoder.fit.tqdm.monitor_interval", 0)


@pytest.fixture(autouse=True)
def ctrl_c():
    """As in a terminal, also where the tests were started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def data():
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(256, (44, 2, 12, 12), generator=rng, dtype=torch.uint8)
    labels = torch.randint(3, (44,), generator=rng)
    mean, std = (torch.rand(2, 1, 1, generator=rng) for _ in range(2))
    return LabelledImages(images, labels, mean, std + 0.2)


def new_model(seed=0, dropout=0.0):
    torch.manual_seed(seed)
    sizes = {"depth": 1, "dim": 12, "num_heads": 3, "mlp_dim": 20}
    return VisionTransformer(12, 4, 2, 3, dropout=dropout, **sizes)


def trained(data, recipe=RECIPE, model=None, checkpoint=None, dropout=0.0):
    model = model or new_model(dropout=dropout)
    torch.manual_seed(5)  # what dropout draws
    history = fit(model, data[:36], data[36:], recipe, checkpoint)
    return model, history


def interrupt_in_step(model, number):
    """Send Ctrl-C while a step of training is under way."""
    seen = []

    def hook(module, _):
        seen.append(module.training)
        if module.training and sum(seen) == number:
            signal.raise_signal(signal.SIGINT)

    return model.register_forward_pre_hook(hook)


def equal(one, other):
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_equals_a_loop_written_out(data):
    recipe = replace(RECIPE, label_smoothing=0.2, clip_norm=0.5, weight_decay=0.3)
    model, history = trained(data, recipe)
    by_hand = new_model()
    optimizer = torch.optim.AdamW(parameter_groups(by_hand, 0.3))
    images = (data.images / 255 - data.mean) / data.std
    losses = []
    for step in range(12):  # 36 images give 4 batches of 8; 4 images are left out
        rng = torch.Generator().manual_seed(step // 4)
        index = torch.randperm(36, generator=rng)[step % 4 * 8 :][:8]
        log_p = by_hand(images[index]).log_softmax(-1)
        true = log_p[torch.arange(8), data.labels[index]]
        loss = -(0.8 * true + 0.2 * log_p.mean(-1)).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.cat([p.grad.flatten() for p in by_hand.parameters()]).norm()
        for p in by_hand.parameters():
            p.grad *= min(1, 0.5 / (norm + 1e-6))
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * warm_up_cosine(step, 3, 12)
        optimizer.step()
        losses.append(loss.item())
    # The gradient of a key's bias is 0 but for rounding, of which AdamW makes a step.
    theirs = dict(by_hand.named_parameters())
    for name, ours in model.named_parameters():
        if not name.endswith("qkv.bias"):
            torch.testing.assert_close(ours, theirs[name], rtol=0, atol=2e-5)
    assert [epoch["step"] for epoch in history] == [4, 8, 12]
    for i, epoch in enumerate(history):
        assert epoch["train_loss"] == pytest.approx(
            sum(losses[4 * i :][:4]) / 4, abs=1e-5
        )


def test_history_says_what_the_model_reaches(data):
    model, history = trained(data)
    logits = predict(model, data[36:], batch_size=3)
    loss = F.cross_entropy(logits, data.labels[36:]).item()
    assert history[-1]["validation_loss"] == pytest.approx(loss, abs=1e-6)
    right = (logits.argmax(-1) == data.labels[36:]).sum().item()
    assert history[-1]["validation_accuracy"] == pytest.approx(right / 8)
    assert all(epoch["seconds"] > 0 for epoch in history)


def test_learns_by_heart_and_not_without_labels_that_fit(data):
    long = replace(RECIPE, epochs=80)
    model, _ = trained(data, long)
    assert accuracy(predict(model, data[:36]), data.labels[:36]) > 0.9
    other = torch.randint(3, (36,), generator=torch.Generator().manual_seed(9))
    assert accuracy(predict(model, data[:36]), other) < 0.7


def test_same_seed_same_model_and_other_seed_another(data):
    one, _ = trained(data)
    assert equal(one, trained(data)[0])
    assert not equal(one, trained(data, replace(RECIPE, seed=1))[0])


def test_augmentation_is_part_of_the_seed(data):
    shifted = replace(RECIPE, shift=2)
    one, _ = trained(data, shifted)
    assert equal(one, trained(data, shifted)[0])
    assert not equal(one, trained(data)[0])


@pytest.mark.parametrize("step", [1, 5, 8, 11])
@pytest.mark.parametrize("changes", [{}, {"shift": 1, "clip_norm": None}])
def test_goes_on_to_the_same_bits_after_ctrl_c(data, step, changes, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    recipe, file = replace(RECIPE, **changes), tmp_path / "run.pt"
    whole, history = trained(data, recipe, dropout=0.2)
    stopped = new_model(dropout=0.2)
    hook = interrupt_in_step(stopped, step)
    with pytest.raises(
        KeyboardInterrupt, match=rf"after step {step}, saved in .*run.pt"
    ):
        trained(data, recipe, stopped, file)
    hook.remove()
    resumed, resumed_history = trained(data, recipe, new_model(3, 0.2), file)
    assert equal(whole, resumed)
    for a, b in zip(history, resumed_history, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}
    assert signal.getsignal(signal.SIGINT) is before
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


def test_weights_alone_would_not_do(data, tmp_path):
    whole, _ = trained(data)
    stopped = new_model()
    interrupt_in_step(stopped, 6)
    with pytest.raises(KeyboardInterrupt, match="nothing was saved"):
        trained(data, model=stopped)
    assert not equal(whole, trained(data, model=stopped)[0])


def test_finished_run_is_not_trained_again(data, tmp_path):
    file = tmp_path / "run.pt"
    done, history = trained(data, checkpoint=file)
    again, same_history = trained(data, checkpoint=file, model=new_model(4))
    assert equal(done, again)
    assert history == same_history


def test_second_ctrl_c_stops_at_once(data):
    model = new_model()
    model.register_forward_pre_hook(lambda *_: signal.raise_signal(signal.SIGINT))
    model.register_forward_pre_hook(lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt) as raised:
        trained(data, model=model)
    assert not str(raised.value)


def test_runs_in_a_thread_where_signals_do_not_reach(data):
    found = []
    thread = threading.Thread(target=lambda: found.append(trained(data)[1]))
    thread.start()
    thread.join()
    assert len(found[0]) == 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"learning_rate": 1e-3},
            "learning_rate 0.001, got one with learning_rate 0.003",
        ),
        ({"epochs": 4, "seed": 2}, "epochs 4, seed 2, got one with epochs 3, seed 0"),
    ],
)
def test_checkpoint_of_another_recipe_is_refused(data, tmp_path, changes, told):
    file = tmp_path / "run.pt"
    trained(data, checkpoint=file)
    model = new_model(1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=told):
        trained(data, replace(RECIPE, **changes), model, file)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_checkpoint_of_other_data_is_refused(data, tmp_path):
    file = tmp_path / "run.pt"
    trained(data, checkpoint=file)
    with pytest.raises(CheckpointError, match=r"batches an epoch 3, got .* epoch 4"):
        fit(new_model(), data[:24], data[36:], RECIPE, file)


def test_checkpoint_of_another_model_is_refused(data, tmp_path):
    file = tmp_path / "run.pt"
    trained(data, checkpoint=file)
    other = VisionTransformer(12, 6, 2, 3, 1, 12, 3, 20)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    told = r"this model in .*run\.pt; .*pos_embed is \(1, 5, 12\) .* \(1, 10, 12\)"
    with pytest.raises(CheckpointError, match=told):
        fit(other, data[:36], data[36:], RECIPE, file)
    assert all(torch.equal(v, before[n]) for n, v in other.state_dict().items())


def test_checkpoint_that_lacks_a_part_is_refused(data, tmp_path):
    file = tmp_path / "run.pt"
    trained(data, checkpoint=file)
    state = torch.load(file, weights_only=True)
    del state["optimizer"]
    torch.save(state, file)
    model = new_model(1)
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(CheckpointError, match="damaged"):
        trained(data, model=model, checkpoint=file)
    assert all(map(torch.equal, model.parameters(), before))


def test_folder_of_a_checkpoint_is_asked_for_before_anything_is_trained(data, tmp_path):
    model = new_model()
    with pytest.raises(FileNotFoundError, match=r"expected the folder .*none"):
        trained(data, model=model, checkpoint=tmp_path / "none" / "run.pt")
    assert equal(model, new_model())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"precision": "bf16"}, r"expected a precision of float32, .* got 'bf16'"),
        ({"epochs": 0}, "expected epochs of 1 or more, got 0"),
        ({"batch_size": 0}, "expected a batch_size of 1 or more, got 0"),
    ],
)
def test_recipe_that_cannot_be_is_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        replace(RECIPE, **changes)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04"])
def test_damaged_checkpoint_is_refused_and_kept(data, tmp_path, content):
    file = tmp_path / "run.pt"
    file.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"it is damaged, or another file\. Remove it"
    ):
        trained(data, checkpoint=file)
    assert file.read_bytes() == content


def spoilt(state, part):
    """A checkpoint that is whole, and in which one part does not fit the others."""
    if part == "optimizer":
        state[part]["param_groups"][0]["params"].pop()
    elif part == "no optimizer":
        state["optimizer"] = {}
    else:
        state["random"] = state["random"][:-8]
    return state


@pytest.mark.parametrize("part", ["optimizer", "no optimizer", "random"])
def test_checkpoint_that_fits_in_part_changes_nothing(data, tmp_path, part):
    file = tmp_path / "run.pt"
    trained(data, checkpoint=file)
    torch.save(spoilt(torch.load(file, weights_only=True), part), file)
    model = new_model(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    draws = torch.get_rng_state()
    with pytest.raises(CheckpointError, match="expected the checkpoint of this model"):
        fit(model, data[:36], data[36:], RECIPE, file)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draws)


def test_checkpoint_of_a_model_of_which_more_was_trained_is_refused(data, tmp_path):
    file = tmp_path / "run.pt"
    trained(data, checkpoint=file)
    probe = new_model(1)
    probe.encoder.requires_grad_(False)
    before = {name: value.clone() for name, value in probe.state_dict().items()}
    with pytest.raises(CheckpointError, match="with the same parameters trained"):
        trained(data, model=probe, checkpoint=file)
    assert all(torch.equal(v, before[n]) for n, v in probe.state_dict().items())


def test_one_bit_that_has_flipped_in_a_number_is_noticed(data, tmp_path):
    file = tmp_path / "run.pt"
    trained(data, checkpoint=file)
    content = bytearray(file.read_bytes())
    weights = torch.load(file, weights_only=True)["model"]["head.weight"]
    content[content.index(weights.numpy().tobytes()) + 5] ^= 4
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="it is damaged"):
        trained(data, checkpoint=file)


def test_bar_tells_loss_accuracy_speed_and_time_left(data, capsys, monkeypatch):
    monkeypatch.setattr(
        "vit_encoder.fit.tqdm", partial(tqdm, disable=False, mininterval=0)
    )
    trained(data)
    shown = capsys.readouterr().err
    told = (r"loss=\d\.\d{3}", r"accuracy=\d+\.\d%", r"images/s", r"<\d\d:\d\d,")
    assert [words for words in told if not re.search(words, shown)] == []


def test_checkpoint_runs_no_code(data, tmp_path):
    file = tmp_path / "run.pt"
    torch.save({"recipe": print}, file)
    with pytest.raises(CheckpointError, match="damaged"):
        trained(data, checkpoint=file)


def test_too_few_images_for_a_batch(data):
    with pytest.raises(ValueError, match=r"expected 8 images or more .* got 7"):
        fit(new_model(), data[:7], data[36:], RECIPE)


def test_loss_that_is_no_number_stops_the_run_before_it_spoils_the_model(data):
    model = new_model()
    model.head.register_forward_hook(lambda *a: a[2] * math.nan)
    told = r"the loss is nan in step 0: try a smaller"
    with pytest.raises(FloatingPointError, match=told):
        trained(data, model=model)
    assert equal(model, new_model())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_trains_weights_of_full_precision(data, precision):
    seen = []
    model = new_model()
    model.head.register_forward_hook(lambda *a: seen.append(a[2].dtype))
    recipe = replace(RECIPE, precision=precision, epochs=6, clip_norm=None)
    model, history = trained(data, recipe, model)
    assert getattr(torch, precision) in seen
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_predict_leaves_the_mode_and_uses_no_dropout(data):
    model = new_model(dropout=0.5).train()
    nn.init.normal_(model.head.weight)
    assert torch.equal(predict(model, data), predict(model, data))
    assert model.training
    assert not predict(model.eval(), data).requires_grad
    assert not model.training
