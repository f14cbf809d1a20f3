"""Train the weights of src/vit_encoder/data/self_attention.safetensors.

The task is denoising. Half of every patch is hidden, the left, right, top or bottom
half by chance, and noise is laid over all of it. The whole patch is rebuilt from what
is left of it, by a linear map, plus a linear read-out of single-head self-attention.
So attention learns to find patches that show what the hidden half may look like.
Two models without learned attention are trained on the same batches, to compare.

    python studies/train_self_attention.py

takes about a minute on one CPU thread and needs scikit-image, whose photographs it
trains on. The course's own photograph is not among them: it is held out. The printed
numbers are those of src/vit_encoder/data/README.md. The same torch version on the same
kind of machine gives the same weights.
"""

import math
from collections.abc import Callable
from pathlib import Path

import skimage.data
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from vit_encoder import SelfAttention
from vit_encoder.data import photo

OUTPUT = Path(__file__).resolve().parents[1] / "src/vit_encoder/data"
SIZE = (192, 288)  # height and width of a crop, those of the course's photograph
PATCH = 16  # P
HEAD_DIM = 24  # D_h
# Training sees the mean of every 4 x 4 block of pixels. The weights are linear in the
# pixels, so they are spread over the blocks afterwards: the same map, 16 times faster.
BLOCK = 4
NOISE = 0.7  # standard deviation on a block's mean: 2.8 on a pixel, a patch's RMS is 1
CROPS = 500
BATCH = 12
STEPS = 4000
PHOTOGRAPHS = {  # how often each is drawn
    "astronaut": 3,
    "coffee": 3,
    "rocket": 2,
    "camera": 1,
    "retina": 1,
    "brick": 1,
    "grass": 1,
}


def main() -> None:
    """Train, save the three projections, print what the README reports."""
    torch.set_num_threads(1)  # the order of sums, so the result, depends on it
    torch.manual_seed(0)
    train = torch.cat([tokens(crop(image)) for image in draw_photographs(CROPS)])
    held_out = tokens(photo().unsqueeze(0))
    models = nn.ModuleDict(
        {name: Restorer(train.shape[-1], name) for name in Restorer.SOURCES}
    )
    fit(models, train)
    print("Mean squared error, of 100 training crops and of the held-out photograph")
    baselines = {"as given": nn.Identity(), "mean patch": torch.zeros_like}
    for name, model in {**baselines, **models}.items():
        errors = error(model, train[:100]), error(model, held_out)
        print(f"  {name:10} {errors[0]:.4f} {errors[1]:.4f}")
    weights = spread(models["attention"].attention)
    save_file(weights, OUTPUT / "self_attention.safetensors")
    report({name: value.float() for name, value in weights.items()})


class Restorer(nn.Module):
    """Rebuild patches from their own rest and, by `source`, from the other patches.

    `source` is "none", "average" (every patch gets the mean value) or "attention".
    Maps (B, N, D) to (B, N, D).
    """

    SOURCES = ("none", "average", "attention")

    def __init__(self, dim: int, source: str):
        super().__init__()
        self.source = source
        self.own = nn.Linear(dim, dim)
        self.attention = SelfAttention(dim, HEAD_DIM)
        self.read_out = nn.Linear(HEAD_DIM, dim)
        nn.init.zeros_(self.own.weight)
        # Equal at the start, so that like patches find each other; then free to part.
        nn.init.normal_(self.attention.query.weight, std=dim**-0.5)
        self.attention.key.load_state_dict(self.attention.query.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        if self.source == "none":
            return self.own(x)
        if self.source == "attention":
            return self.own(x) + self.read_out(self.attention(x))
        average = self.attention.value(x).mean(dim=1, keepdim=True)  # (B, 1, D_h)
        return self.own(x) + self.read_out(average)


def draw_photographs(count: int) -> list[Tensor]:
    """Draw photographs, each (1, 3, H, W) in [0, 1], by their weight."""
    loaded = []
    for name in PHOTOGRAPHS:
        image = torch.from_numpy(getattr(skimage.data, name)().copy()) / 255
        image = image.expand(3, -1, -1) if image.ndim == 2 else image.permute(2, 0, 1)
        loaded.append(image.unsqueeze(0))
    odds = torch.tensor(list(PHOTOGRAPHS.values()), dtype=torch.float)
    return [loaded[i] for i in torch.multinomial(odds, count, replacement=True)]


def crop(image: Tensor) -> Tensor:
    """Cut a random piece of random scale, flip and recolour it: (1, 3, *SIZE)."""
    height, width = image.shape[-2:]
    largest = min(height / SIZE[0], width / SIZE[1])
    scale = uniform(min(math.log(0.3), math.log(largest)), math.log(largest))
    rows, columns = (int(side * math.exp(scale)) for side in SIZE)
    top, left = (int(uniform(0, 1) * n) for n in (height - rows, width - columns))
    piece = image[..., top : top + rows, left : left + columns]
    piece = F.interpolate(piece, SIZE, mode="bicubic", antialias=True).clamp(1e-4, 1)
    if uniform(0, 1) < 0.5:
        piece = piece.flip(-1)
    if uniform(0, 1) < 0.5:
        piece = piece[:, torch.randperm(3)]
    return piece ** torch.exp(0.3 * torch.randn(1, 3, 1, 1))


def uniform(low: float, high: float) -> float:
    """Draw a number between `low` and `high`."""
    return low + (high - low) * torch.rand(()).item()


def tokens(images: Tensor) -> Tensor:
    """Cut images into patches, standardize them, average their blocks.

    (B, C, H, W) to (B, N, C * (PATCH / BLOCK)²). The rule of the README: subtract the
    image's mean patch, divide each patch by its root mean square. A flat patch is not
    blown up: its root mean square counts as 0.02 at least.
    """
    patches = F.unfold(images, PATCH, stride=PATCH).transpose(1, 2)  # (B, N, D)
    x = patches - patches.mean(dim=1, keepdim=True)
    x = x / x.pow(2).mean(dim=-1, keepdim=True).sqrt().clamp(min=0.02)
    batch, count, _ = x.shape
    blocks = F.avg_pool2d(x.reshape(batch * count, -1, PATCH, PATCH), BLOCK)
    return blocks.reshape(batch, count, -1)


def corrupt(x: Tensor) -> Tensor:
    """Hide half of each patch, then add noise: (B, N, D) to (B, N, D)."""
    side = PATCH // BLOCK
    half = (torch.arange(side) < side // 2).float()
    masks = torch.stack([half, 1 - half]).unsqueeze(1).expand(2, side, side)
    masks = torch.cat([masks, masks.transpose(1, 2)]).reshape(4, -1).repeat(1, 3)
    return x * masks[torch.randint(4, x.shape[:2])] + NOISE * torch.randn_like(x)


def fit(models: nn.ModuleDict, train: Tensor) -> None:
    """Train every model on the same corrupted batches."""
    own = [p for name, p in models.named_parameters() if ".own." in name]
    rest = [p for name, p in models.named_parameters() if ".own." not in name]
    rates = [1e-3, 2e-3]
    optimizer = torch.optim.Adam([{"params": own}, {"params": rest}])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=STEPS, pct_start=0.1
    )
    for _ in range(STEPS):
        clean = train[torch.randint(len(train), (BATCH,))]
        noisy = corrupt(clean)
        loss = sum(F.mse_loss(model(noisy), clean) for model in models.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def error(model: Callable[[Tensor], Tensor], clean: Tensor, draws: int = 20) -> float:
    """Mean squared error of the rebuilt patches, over several draws of noise."""
    torch.manual_seed(1)
    errors = [F.mse_loss(model(corrupt(clean)), clean) for _ in range(draws)]
    return torch.stack(errors).mean().item()


def spread(head: SelfAttention) -> dict[str, Tensor]:
    """Give each pixel its share of its block's weight: D_h x D matrices, float16."""
    side = PATCH // BLOCK
    weights = {}
    for name in ("query", "key", "value"):
        layer = getattr(head, name)
        blocks = layer.weight.detach().reshape(HEAD_DIM, 3, side, side) / BLOCK**2
        pixels = blocks.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)
        weights[f"{name}.weight"] = pixels.flatten(1).half().contiguous()
        weights[f"{name}.bias"] = layer.bias.detach().half()
    return weights


def report(weights: dict[str, Tensor]) -> None:
    """Print what attention does on the course's photograph, nothing hidden."""
    patches = F.unfold(photo().unsqueeze(0), PATCH, stride=PATCH)[0].T  # (N, D)
    x = patches - patches.mean(dim=0)
    x = x / x.pow(2).mean(dim=-1, keepdim=True).sqrt()
    q, k = (
        F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
        for name in ("query", "key")
    )
    torch.manual_seed(0)
    new_query, new_key = (nn.Linear(x.shape[-1], HEAD_DIM) for _ in range(2))
    print(f"On the photograph, N = {len(x)}, ln N = {math.log(len(x)):.3f}")
    describe("trained", q, k)
    describe("new nn.Linear", new_query(x), new_key(x))
    describe("no projections", x, x)


def describe(name: str, q: Tensor, k: Tensor) -> None:
    """Print the mean weight of a patch on itself, the entropy, the asymmetry."""
    scores = q @ k.T / q.shape[-1] ** 0.5  # (N, N)
    weights = scores.softmax(dim=-1)  # (N, N)
    entropy = torch.special.entr(weights).sum(dim=-1).mean()
    print(
        f"  {name:14} self-weight {weights.diagonal().mean():.3f}"
        f"  entropy {entropy:.3f}"
        f"  max |A - A^T| {(weights - weights.T).abs().max():.3f}"
        f"  max |S - S^T| {(scores - scores.T).abs().max():.3f}"
    )


if __name__ == "__main__":
    main()
