"""The encoder block: what people get wrong, what must hold, and the tasks."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from vit_encoder.check import oracle
from vit_encoder.check.adapter import Form, Problem, Question
from vit_encoder.check.judge import (
    Property,
    Show,
    Trials,
    agrees,
    close,
    has_parameters,
    refuses,
    returns_right_shapes,
)
from vit_encoder.check.misconceptions import against
from vit_encoder.check.oracle import (
    Get,
    attention_parameters,
    block_parameters,
    norm_parameters,
    oracle_of,
)
from vit_encoder.check.properties import EDGES, REPEATS, UNEVEN_HEADS
from vit_encoder.check.questions import ALIASES, FUSED, Normal, batch, small
from vit_encoder.check.self_attention import LARGE_SCORES
from vit_encoder.check.tasks import BreakIt, Choose, Implement, PredictNumbers, Wrong
from vit_encoder.encoder_block import EncoderBlock
from vit_encoder.layer_norm import LayerNorm
from vit_encoder.mlp import MLP, dropout
from vit_encoder.multi_head import MultiHeadSelfAttention

GITHUB = "https://github.com/"
OURS = "constructed for this course"

# Misconceptions of the block. Each is the course's version with one visible change.

wrong_block = against(EncoderBlock)


@wrong_block(
    seen="Each LayerNorm stands after a sum, so every token leaves with the same size.",
    ask="If both branches were silent, what should come out?",
    source=GITHUB + "jeonsworld/ViT-pytorch/issues/5",
)
class PostNorm(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(x)
        x = self.norm1(x + dropout(attended, self.dropout, self.training))
        return self.norm2(x + self.mlp(x))


@wrong_block(
    seen="The skips carry the normalised tokens: the stream forgets their sizes.",
    ask="Which x does the sum remember, the one before the norm or the one after?",
    source=GITHUB + "pytorch/pytorch/issues/61165",
)
class NormOnTheSkip(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        x = self.norm1(x)
        x = x + dropout(self.attn(x), self.dropout, self.training)
        x = self.norm2(x)
        return x + self.mlp(x)


@wrong_block(
    seen="The first LayerNorm serves both halves; the second is there but never used.",
    ask="At the start the two are twins. What tells them apart after training?",
    source=GITHUB + "allenai/OLMo/issues/222",
)
class OneNormTwice(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm1(x))


@wrong_block(
    seen="The MLP reads the tokens that entered the block: attention and MLP work side "
    "by side, not one after the other.",
    ask="Has the attention spoken before the MLP listens?",
    source=OURS,
)
class MlpReadsTheInput(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        z = x + dropout(attended, self.dropout, self.training)
        return z + self.mlp(self.norm2(x))


@wrong_block(
    seen="The second skip starts at the block's input, so what the attention added to "
    "the stream is lost.",
    ask="Where must the second skip begin so that the first sum is kept?",
    source=GITHUB + "strutive07/transformer-tensorflow2.0/issues/14",
)
class SkipFromTheInput(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        z = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(z))


@wrong_block(
    seen="What the attention gives replaces the tokens; nothing is added to them.",
    ask="How does a token keep what it knew before the attention?",
    source=OURS,
)
class NoFirstSkip(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="What the MLP gives replaces the tokens; nothing is added to them.",
    ask="How does a token keep what it knew before the MLP?",
    source=OURS,
)
class NoSecondSkip(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, self.training)
        return self.mlp(self.norm2(x))


@wrong_block(
    seen="The attention's result is added to itself; the tokens themselves are lost.",
    ask="When the sum is taken, what does the name x stand for?",
    source=GITHUB + "kyegomez/BitNet/issues/32",
)
class AddedToItself(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        x = self.attn(self.norm1(x))
        x = x + dropout(x, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="The MLP reads the stream as it is; the second LayerNorm is never used.",
    ask="What stands between the stream and each of the two branches?",
    source=OURS,
)
class NoSecondNorm(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(x)


@wrong_block(
    seen="The MLP comes first and the attention second.",
    ask="Which of the two halves does equation 2 name?",
    source=OURS,
)
class MlpFirst(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        x = x + self.mlp(self.norm2(x))
        attended = self.attn(self.norm1(x))
        return x + dropout(attended, self.dropout, self.training)


@wrong_block(
    seen="It writes its result into the tensor that it was given.",
    ask="Who else holds this tensor, and needs it as it was?",
    source=GITHUB + "karpathy/nanoGPT/pull/72",
)
class AddedInPlace(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x += dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="The attention reads the stream as it is; the first LayerNorm is never used.",
    ask="What stands between the stream and each of the two branches?",
    source=OURS,
)
class NoFirstNorm(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(x)
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="Both branches read the stream as it is; no LayerNorm is ever used.",
    ask="What do the two LayerNorms do, and where in the equations do they stand?",
    source=GITHUB + "OpenTabular/DeepTab/pull/436",
)
class NoNorms(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(x)
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(x)


@wrong_block(
    seen="The two LayerNorms have changed places: the second serves the "
    "attention, the first the MLP.",
    ask="Which gain and bias did training fit to the attention?",
    source=OURS,
)
class NormsSwapped(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm2(x))
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm1(x))


@wrong_block(
    seen="The first skip carries the normalised tokens; the second is as it should be.",
    ask="Which x does the first sum remember, the one before the norm or the one "
    "after?",
    source=GITHUB + "SHI-Labs/Compact-Transformers/issues/25",
)
class NormOnTheFirstSkip(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        x = self.norm1(x)
        attended = self.attn(x)
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="The second skip carries the normalised tokens; the first is as it should be.",
    ask="Which x does the second sum remember, the one before the norm or the one "
    "after?",
    source=GITHUB + "SHI-Labs/Compact-Transformers/issues/25",
)
class NormOnTheSecondSkip(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, self.training)
        x = self.norm2(x)
        return x + self.mlp(x)


@wrong_block(
    seen="There is no sum at all: what each branch gives replaces the tokens.",
    ask="What is left of a token when both branches are silent?",
    source=OURS,
)
class NoSkips(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = dropout(attended, self.dropout, self.training)
        return self.mlp(self.norm2(x))


@wrong_block(
    seen="The MLP's result is added to itself; the tokens that it read are lost.",
    ask="When the second sum is taken, what does the name x stand for?",
    source=GITHUB + "kyegomez/BitNet/issues/32",
)
class MlpAddedToItself(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, self.training)
        x = self.mlp(self.norm2(x))
        return x + x


@wrong_block(
    seen="What each branch gives is added to itself; the tokens themselves are lost.",
    ask="When a sum is taken, what does the name x stand for?",
    source=GITHUB + "kyegomez/BitNet/issues/32",
)
class BothAddedToThemselves(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        x = self.attn(self.norm1(x))
        x = x + dropout(x, self.dropout, self.training)
        x = self.mlp(self.norm2(x))
        return x + x


@wrong_block(
    seen="Each LayerNorm stands behind its branch: the branch reads the stream as "
    "it is, and what it gives is normalised.",
    ask="What should be of one size: what a branch reads, or what it adds?",
    source=GITHUB + "lucidrains/vit-pytorch/issues/244",
)
class NormOnTheOutput(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.norm1(self.attn(x))
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.norm2(self.mlp(x))


@wrong_block(
    seen="Only the queries come from the normalised tokens; keys and values come "
    "from the stream as it is.",
    ask="How many inputs does attention take, and which of them are normalised?",
    source=GITHUB + "facebookresearch/xformers/pull/233",
)
class NormOnQueryOnly(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended, _ = self.attn(self.norm1(x), x, x)
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="The attention takes the images for tokens: the output of one image "
    "depends on the others in its batch.",
    ask="Which axis does this module take for the tokens?",
    source=GITHUB + "dhimasryan/MOSA-Net-Cross-Domain/issues/10",
)
class AttentionAcrossImages(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        normed = self.norm1(x)
        attended, _ = self.attn(normed, normed, normed)
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="The attention has one head, whatever num_heads says.",
    ask="Where does the number of heads go that the block was built with?",
    source=OURS,
)
class OneHead(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, 1)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="The norms have PyTorch's default ε, 1e-5. It shows on tokens of small "
    "numbers.",
    ask="Whose default do you know by heart: PyTorch's, or that of ViT?",
    source=GITHUB + "keras-team/keras-hub/issues/642",
)
class TorchsEpsilon(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = nn.LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="Nothing stands between the two linear layers: together they are one "
    "affine map.",
    ask="What do two linear layers make if nothing bends what passes between them?",
    source=GITHUB + "stanfordnlp/stanza/pull/1610",
)
class NoActivation(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp_dim),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="GELU comes last: nothing that the MLP adds is below -0.17.",
    ask="Can your MLP take something away from a token?",
    source=GITHUB + "neuraloperator/neuraloperator/pull/197",
)
class ActivationAtTheEnd(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp_dim),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, dim),
            nn.GELU(),
            nn.Dropout(dropout),
        )

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="The MLP's activation is ReLU.",
    ask="What should come out of it at -0.75?",
    source=GITHUB + "timeseriesAI/tsai/issues/361",
)
class ReluInTheMlp(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp_dim),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="The MLP's activation is the tanh formula of GELU, which is off by up to "
    "0.0005.",
    ask="Two formulas are called GELU. In which digit do they differ?",
    source=GITHUB + "kyutai-labs/pocket-tts/pull/278",
)
class TanhGelu(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp_dim),
            nn.GELU(approximate="tanh"),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="Dropout hits the sum, so it erases parts of the stream itself.",
    ask="What must survive when everything that a branch adds is dropped?",
    source=OURS,
)
class DropoutOnTheStream(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = dropout(x + attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="The block takes a p for dropout, but never drops anything.",
    ask="What should be left of the branches with p = 1 in training?",
    source=OURS,
)
class DropoutIgnored(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + attended
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="The MLP never hears of p: with p = 1 in training it still adds to the "
    "stream.",
    ask="Who tells the MLP about dropout?",
    source=OURS,
)
class MlpWithoutDropout(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="What the attention gives is never dropped: with p = 1 in training it "
    "still adds to the stream.",
    ask="In which three places does dropout stand?",
    source=OURS,
)
class NoDropoutAfterAttention(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + attended
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="Dropout works in evaluation too.",
    ask="Who tells dropout whether the block is in training?",
    source=GITHUB + "delip/PyTorchNLPBook/issues/28",
)
class DropoutInEvaluation(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, True)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="Dropout hits the attention's weights, not what the attention gives.",
    ask="With p = 1, which number of the attention is still added to the stream?",
    source=OURS,
)
class DropoutOnTheWeights(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, num_heads, dropout, batch_first=True)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        normed = self.norm1(x)
        attended, _ = self.attn(normed, normed, normed)
        x = x + attended
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="The hidden units of the MLP are never dropped; dropout stands at its "
    "end alone.",
    ask="Behind which linear layers does the ViT paper put dropout?",
    source=GITHUB + "keras-team/keras-hub/pull/2070",
)
class DropoutOnce(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, self.training)
        return x + dropout(self.mlp(self.norm2(x)), self.dropout, self.training)


@wrong_block(
    seen="The MLP drops hidden units, but not what it gives: with p = 1 in "
    "training its last bias is still added.",
    ask="In which three places does dropout stand?",
    source=OURS,
)
class NoDropoutAtTheEnd(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, dim),
        )

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm2(x))


@wrong_block(
    seen="The MLP drops what it gives, and the block drops it once more.",
    ask="Who has dropped it already when the MLP returns?",
    source=OURS,
)
class DropoutTwice(nn.Module):
    def __init__(self, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x):
        attended = self.attn(self.norm1(x))
        x = x + dropout(attended, self.dropout, self.training)
        computed = dropout(self.mlp(self.norm2(x)), self.dropout, self.training)
        return x + computed


# How the same parts are wired; all hold the parameters of the course's block.
WIRING = (
    PostNorm,
    NormOnTheSkip,
    NormOnTheFirstSkip,
    NormOnTheSecondSkip,
    OneNormTwice,
    NormsSwapped,
    MlpReadsTheInput,
    SkipFromTheInput,
    NoFirstSkip,
    NoSecondSkip,
    NoSkips,
    AddedToItself,
    MlpAddedToItself,
    BothAddedToThemselves,
    NoFirstNorm,
    NoSecondNorm,
    NoNorms,
    NormOnTheOutput,
    MlpFirst,
    AddedInPlace,
)
OTHER_PARTS = (
    NormOnQueryOnly,
    AttentionAcrossImages,
    OneHead,
    TorchsEpsilon,
    NoActivation,
    ActivationAtTheEnd,
    ReluInTheMlp,
    TanhGelu,
)
DROPOUT = (
    DropoutIgnored,
    DropoutOnTheStream,
    MlpWithoutDropout,
    NoDropoutAfterAttention,
    DropoutInEvaluation,
    DropoutOnTheWeights,
    DropoutOnce,
    NoDropoutAtTheEnd,
    DropoutTwice,
)
BLOCK = (*WIRING, *OTHER_PARTS, *DROPOUT)

# The first half of a block, and what people get wrong about it.


class AttentionHalf(nn.Module):
    """Equation 2: tokens (B, N, D) become (B, N, D)."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)

    def forward(self, x: Tensor) -> Tensor:
        attended = self.attn(self.norm(x))
        return x + attended


wrong_half = against(AttentionHalf)


@wrong_half(
    seen="The LayerNorm stands after the sum, so every token leaves with the same "
    "size.",
    ask="If the attention were silent, what should come out?",
    source=GITHUB + "jeonsworld/ViT-pytorch/issues/5",
)
class HalfPostNorm(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)

    def forward(self, x):
        attended = self.attn(x)
        return self.norm(x + attended)


@wrong_half(
    seen="The skip carries the normalised tokens: the stream forgets their sizes.",
    ask="Which x does the sum remember, the one before the norm or the one after?",
    source=GITHUB + "pytorch/pytorch/issues/61165",
)
class HalfNormOnTheSkip(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)

    def forward(self, x):
        x = self.norm(x)
        attended = self.attn(x)
        return x + attended


@wrong_half(
    seen="The LayerNorm works twice: on what the attention reads, and on the sum.",
    ask="How often does LN stand in equation 2?",
    source=OURS,
)
class HalfNormOnTheSum(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)

    def forward(self, x):
        attended = self.attn(self.norm(x))
        return self.norm(x + attended)


@wrong_half(
    seen="What the attention gives replaces the tokens; nothing is added to them.",
    ask="How does a token keep what it knew before the attention?",
    source=OURS,
)
class HalfNoSkip(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)

    def forward(self, x):
        attended = self.attn(self.norm(x))
        return attended


@wrong_half(
    seen="The attention's result is added to itself; the tokens themselves are lost.",
    ask="When the sum is taken, what does the name x stand for?",
    source=GITHUB + "kyegomez/BitNet/issues/32",
)
class HalfAddedToItself(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)

    def forward(self, x):
        x = self.attn(self.norm(x))
        return x + x


@wrong_half(
    seen="The attention reads the stream as it is; the LayerNorm is never used.",
    ask="What stands between the stream and the attention?",
    source=OURS,
)
class HalfNoNorm(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)

    def forward(self, x):
        attended = self.attn(x)
        return x + attended


@wrong_half(
    seen="The LayerNorm stands behind the attention: it normalises what is added, "
    "not what is read.",
    ask="What should be of one size: what the attention reads, or what it adds?",
    source=GITHUB + "lucidrains/vit-pytorch/issues/244",
)
class HalfNormOnTheOutput(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)

    def forward(self, x):
        attended = self.norm(self.attn(x))
        return x + attended


@wrong_half(
    seen="Only the queries come from the normalised tokens; keys and values come "
    "from the stream as it is.",
    ask="How many inputs does attention take, and which of them are normalised?",
    source=GITHUB + "facebookresearch/xformers/pull/233",
)
class HalfNormOnQueryOnly(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, num_heads, batch_first=True)

    def forward(self, x):
        attended, _ = self.attn(self.norm(x), x, x)
        return x + attended


@wrong_half(
    seen="It writes its result into the tensor that it was given.",
    ask="Who else holds this tensor, and needs it as it was?",
    source=GITHUB + "karpathy/nanoGPT/pull/72",
)
class HalfAddedInPlace(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)

    def forward(self, x):
        attended = self.attn(self.norm(x))
        x += attended
        return x


@wrong_half(
    seen="The attention takes the images for tokens: the output of one image "
    "depends on the others in its batch.",
    ask="Which axis does this module take for the tokens?",
    source=GITHUB + "dhimasryan/MOSA-Net-Cross-Domain/issues/10",
)
class HalfAttentionAcrossImages(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, num_heads)

    def forward(self, x):
        normed = self.norm(x)
        attended, _ = self.attn(normed, normed, normed)
        return x + attended


@wrong_half(
    seen="The attention has one head, whatever num_heads says.",
    ask="Where does the number of heads go that the module was built with?",
    source=OURS,
)
class HalfOneHead(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, 1)

    def forward(self, x):
        attended = self.attn(self.norm(x))
        return x + attended


@wrong_half(
    seen="The norm has PyTorch's default ε, 1e-5. It shows on tokens of small numbers.",
    ask="Whose default do you know by heart: PyTorch's, or that of ViT?",
    source=GITHUB + "keras-team/keras-hub/issues/642",
)
class HalfTorchsEpsilon(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)

    def forward(self, x):
        attended = self.attn(self.norm(x))
        return x + attended


HALF = tuple(
    replace(m, name=m.name.removeprefix("half-"))
    for m in (
        HalfPostNorm,
        HalfNormOnTheSkip,
        HalfNormOnTheSum,
        HalfNoSkip,
        HalfAddedToItself,
        HalfNoNorm,
        HalfNormOnTheOutput,
        HalfNormOnQueryOnly,
        HalfAddedInPlace,
        HalfAttentionAcrossImages,
        HalfOneHead,
        HalfTorchsEpsilon,
    )
)
MISCONCEPTIONS = {"AttentionHalf": HALF, "EncoderBlock": BLOCK}

# The oracles.


def first_half(x: Tensor, get: Get, dim: int, num_heads: int) -> Tensor:
    """AttentionHalf."""
    normed = oracle.norm(x, get, "norm")
    return x + oracle.multi_head(normed, get, num_heads, "attn.")


def without_dropout(x: Tensor, get: Get, num_heads: int, **_built: float) -> Tensor:
    """EncoderBlock where nothing is dropped."""
    return oracle.encoder_block(x, get, num_heads)


def block_oracle(question: Question, taken: tuple[str, ...]) -> tuple:
    """EncoderBlock. In training with p = 1 the tokens leave as they came."""
    if question.training and question.arguments["dropout"] == 1:
        return (question.inputs[0].double(),), {}
    outputs, gradients = oracle_of(without_dropout)(question, taken)
    if question.name in DROPS:
        outputs = tuple(x * SCALE ** DROPS[question.name] for x in outputs)
    return outputs, gradients


def largest(question: Question, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """With p between 0 and 1, the largest size in place of every number.

    Which numbers are dropped is chance, how much the others grow is not: by
    1 / (1 - p) wherever dropout stands.
    """
    if question.name not in DROPS or not outputs[0].numel():
        return outputs
    sizes = outputs[0].abs()
    return (torch.full_like(sizes, sizes.max().item()),)


# The questions.

P = 0.75
SCALE = 1 / (1 - P)
# Question → how often a number is dropped on its way through the branch.
DROPS = {"dropout behind the attention": 1, "dropout in the MLP": 2}

# Normalised, the tokens are (3, -1, -1, -1) / √3 and (-1, 1, 1, -1).
SMALL = small([5, 1, 1, 1], [0, 4, 4, 0])[None]
EYE, ZEROS = torch.eye(4, dtype=torch.float64, device="cpu"), small([0, 0, 0, 0])[0]
NO_WEIGHTS = 0 * EYE


def small_attention(query: Tensor) -> dict[str, Tensor]:
    """Attention that hands on what it reads; with query 0 the mean of all tokens."""
    parameters = {
        f"attn.{name}.weight": EYE for name in ("query", "key", "value", "proj")
    }
    parameters |= {name.replace("weight", "bias"): ZEROS for name in parameters}
    return parameters | {"attn.query.weight": query}


def small_norm(name: str, gain: list[float], bias: list[float]) -> dict[str, Tensor]:
    """A LayerNorm with this gain and bias."""
    return {f"{name}.weight": small(gain)[0], f"{name}.bias": small(bias)[0]}


SMALL_BLOCK = {
    **small_norm("norm1", [1, 1, 1, 1], [0, 0, 0, 0]),
    **small_attention(NO_WEIGHTS),
    **small_norm("norm2", [2, 1, 1, -1], [0, 0, 1, 0]),
    "mlp.fc1.weight": torch.cat([EYE, small([1, 1, 0, 0], [0, 0, 1, -1])]),
    "mlp.fc1.bias": small([0, 0, 0, 0, 1, 0])[0],
    "mlp.fc2.weight": torch.cat([EYE, small([1, 0, 0, 0], [0, 0, 1, 0]).T], dim=1),
    "mlp.fc2.bias": small([0, 0, 0, 1])[0],
}
SMALL_HALF = {
    **small_norm("norm", [1, 1, 1, 1], [0, 0, 0, 0]),
    **small_attention(NO_WEIGHTS),
}


def silent(*layers: str) -> dict[str, Tensor]:
    """Weights and biases of 0 for these layers of the small block."""
    return {
        f"{layer}.{kind}": 0 * SMALL_BLOCK[f"{layer}.{kind}"]
        for layer in layers
        for kind in ("weight", "bias")
    }


def built(
    dim: int, num_heads: int, mlp_dim: int, dropout: float = 0.0
) -> dict[str, float]:
    """What EncoderBlock is built with."""
    sizes = {"dim": dim, "num_heads": num_heads, "mlp_dim": mlp_dim}
    return sizes | {"dropout": dropout}


def block_questions(seed: int) -> list[Question]:
    """Random ones for the verdict, small fixed ones for messages."""
    normal = Normal(seed)
    x, parameters = normal(2, 5, 12), block_parameters(normal, 12, 20)
    three = {"arguments": built(12, 3, 20), "parameters": parameters}
    one = {
        "arguments": built(10, 1, 7),
        "parameters": block_parameters(normal, 10, 7),
    }
    tiny = {"arguments": built(4, 2, 6)}
    large = parameters | {"attn.query.weight": 300 * parameters["attn.query.weight"]}
    all_dropped = three | {"arguments": built(12, 3, 20, 1.0)}

    def small_one(name: str, x: Tensor, changes: dict[str, Tensor]) -> Question:
        return Question(name, (x,), **tiny, parameters=SMALL_BLOCK | changes)

    mlp_silent, attention_silent = silent("mlp.fc2"), silent("attn.proj")
    return [
        Question("three heads", (x,), **three),
        Question("all dropped in evaluation", (x,), **all_dropped),
        Question("all dropped in training", (x,), **all_dropped, training=True),
        Question("nothing dropped in training", (x,), **three, training=True),
        dropout_question("dropout behind the attention", "mlp.fc2"),
        dropout_question("dropout in the MLP", "attn.proj"),
        Question("one head", (normal(3, 4, 10),), **one),
        Question("one token", (normal(3, 1, 10),), **one),
        small_one("both silent", SMALL, mlp_silent | attention_silent),
        small_one("MLP silent", SMALL, mlp_silent),
        small_one("attention silent", SMALL, attention_silent),
        small_one("small numbers", SMALL, {"attn.query.weight": EYE}),
        small_one("two small images", batch(SMALL[0]), {"attn.query.weight": EYE}),
        small_one("tiny tokens, MLP silent", SMALL / 1000, mlp_silent),
        small_one("tiny tokens, attention silent", SMALL / 1000, attention_silent),
        Question(
            "a p above 1",
            (x,),
            built(12, 3, 20, 1.5),
            parameters,
            training=True,
            refused=True,
        ),
        Question(
            "heads that do not divide",
            (x,),
            built(12, 5, 20),
            parameters,
            refused=True,
        ),
        Question("float32", (x.float(),), **three),
        Question("float32 again", (x.float(),), **three),
        Question("large scores", (x.float(),), built(12, 3, 20), large),
        Question("gradients", (x,), **three, cotangent=normal(2, 5, 12)),
        Question("another device", (x,), **three, device="meta"),
    ]


def dropout_question(name: str, silent_layer: str) -> Question:
    """2048 zeros, to which one branch adds the same number.

    Each number of the branch is the same before dropout, and far enough from 0 for
    every GELU to leave it alone. Two tokens share one attention, so that with dropout
    on the weights, too, some images keep all of them.
    """
    x = torch.zeros(256, 2, 4, dtype=torch.float64, device="cpu")
    parameters = {name: 0 * value for name, value in SMALL_BLOCK.items()}
    parameters |= {
        "attn.value.bias": ZEROS + 1,
        "attn.proj.weight": EYE,
        "mlp.fc1.bias": 0 * SMALL_BLOCK["mlp.fc1.bias"] + 8,
        "mlp.fc2.weight": torch.cat([EYE, NO_WEIGHTS[:, :2]], dim=1),
    }
    parameters |= silent(silent_layer)
    return Question(name, (x,), built(4, 2, 6, P), parameters, training=True)


def half_questions(seed: int) -> list[Question]:
    """As for the block, with the first half alone."""
    normal = Normal(seed)

    def random(dim: int, num_heads: int) -> dict:
        parameters = norm_parameters(normal, "norm", dim)
        parameters |= attention_parameters(normal, dim, "attn.")
        return {
            "arguments": {"dim": dim, "num_heads": num_heads},
            "parameters": parameters,
        }

    x, three, one = normal(2, 5, 12), random(12, 3), random(10, 1)
    weights = three["parameters"]
    large = weights | {"attn.query.weight": 300 * weights["attn.query.weight"]}

    def small_one(name: str, x: Tensor, changes: dict[str, Tensor]) -> Question:
        arguments = {"dim": 4, "num_heads": 2}
        return Question(name, (x,), arguments, SMALL_HALF | changes)

    return [
        Question("three heads", (x,), **three),
        Question("one head", (normal(3, 4, 10),), **one),
        Question("one token", (normal(3, 1, 10),), **one),
        small_one("attention silent", SMALL, silent("attn.proj")),
        small_one("mean of the tokens", SMALL, {}),
        small_one("small numbers", SMALL, {"attn.query.weight": EYE}),
        small_one("two small images", batch(SMALL[0]), {"attn.query.weight": EYE}),
        small_one("tiny tokens", SMALL / 1000, {}),
        Question(
            "heads that do not divide",
            (x,),
            {"dim": 12, "num_heads": 5},
            weights,
            refused=True,
        ),
        Question("float32", (x.float(),), **three),
        Question("float32 again", (x.float(),), **three),
        Question("large scores", (x.float(),), three["arguments"], large),
        Question("gradients", (x,), **three, cotangent=normal(2, 5, 12)),
        Question("another device", (x,), **three, device="meta"),
    ]


# The properties that are the block's own.


def has_parts(*norms: str) -> Callable[[Trials], Problem | None]:
    """All parameters are there; the norms have each its own.

    The biases of query, key and value may be missing.
    """
    optional = ("query.bias", "key.bias", "value.bias")
    every = has_parameters("three heads", optional=optional)
    twins = tuple(f"{name}.weight" for name in norms)

    def test(trials: Trials) -> Problem | None:
        if twins in trials["three heads"].reply.shared:
            text = "Its norm1 and its norm2 are one and the same object."
            return Problem(OneNormTwice.name, text)
        return every(trials)

    return test


def leaves_tokens_alone(name: str, seen: str) -> Callable[[Trials], Problem | None]:
    """What comes out is what went in."""

    def test(trials: Trials) -> Problem | None:
        trial = trials[name]
        if trial.problem() or trial.right():
            return trial.problem()
        return Problem("", seen)

    return test


def separates_images(trials: Trials) -> Problem | None:
    """An image's output is the same alone and in a batch."""
    alone, together = trials["small numbers"], trials["two small images"]
    if alone.problem() or together.problem():
        return alone.problem() or together.problem()
    if close(together.reply.outputs[0][:1], alone.reply.outputs[0]):
        return None
    text = "An image gives other outputs in a batch of two than alone."
    return Problem(AttentionAcrossImages.name, text)


def has_epsilon_of_vit(*names: str) -> Callable[[Trials], Problem | None]:
    """Tokens of small numbers show how large epsilon is."""

    def test(trials: Trials) -> Problem | None:
        if not trials["small numbers"].right() or all(trials[n].right() for n in names):
            return None
        text = "On tokens a thousand times smaller the numbers differ: ε is not 1e-6."
        return Problem("other-epsilon", text)

    return test


def drops_nothing_in_evaluation(trials: Trials) -> Problem | None:
    """In evaluation p does not matter."""
    trial = trials["all dropped in evaluation"]
    if not trials["three heads"].right() or trial.right():
        return None
    text = "In evaluation the output depends on p."
    return trial.problem() or Problem(DropoutInEvaluation.name, text)


def drops_branches_in_training(trials: Trials) -> Problem | None:
    """In training with p = 1 the tokens leave as they came."""
    trial, plain = trials["all dropped in training"], trials["three heads"]
    if not plain.right() or trial.right():
        return None
    if not trial.problem() and close(trial.reply.outputs[0], plain.reply.outputs[0]):
        text = "In training with p = 1 it does the same as with p = 0."
        return Problem(DropoutIgnored.name, text)
    text = "In training with p = 1 other tokens leave than came."
    return trial.problem() or Problem("", text)


def drops_in_three_places(trials: Trials) -> Problem | None:
    """With p = 0.75 what is kept grows by 4, once for each dropout on its way."""
    if not trials["three heads"].right():
        return None
    for name, times in DROPS.items():
        trial = trials[name]
        if trial.problem() or trial.right():
            continue
        got = trial.reply.outputs[0].max() / trial.expected[0].max() * SCALE**times
        branch = "the attention adds" if times == 1 else "the MLP adds"
        text = (
            f"In training with p = {P}, what {branch} becomes {got:.4g} times as large "
            f"where nothing is dropped, expected {SCALE**times:g} times."
        )
        return Problem("", text)
    return agrees("nothing dropped in training", *DROPS)(trials)


WIRE = "Which tokens does each branch read, and to which is its result added?"
PLACES = "In which three places does dropout stand, and who tells it about training?"
OWN_EDGES = (UNEVEN_HEADS, LARGE_SCORES, *EDGES)
HALF_PROPERTIES = (
    REPEATS,
    Property(
        "a LayerNorm and an attention are there",
        has_parts(),
        "Which of its parts has parameters?",
        core=True,
    ),
    Property(
        "the shape (B, N, D) comes back",
        returns_right_shapes("three heads", "one head", "small numbers"),
        "Which of your lines changes the shape?",
        core=True,
    ),
    Property(
        "a silent attention changes nothing",
        leaves_tokens_alone(
            "attention silent",
            "The attention gives zero, and yet other tokens leave than came.",
        ),
        WIRE,
        core=True,
    ),
    Property(
        "images do not influence one another",
        separates_images,
        AttentionAcrossImages.ask,
        core=True,
    ),
    Property(
        "the numbers agree with equation 2 in float64",
        agrees("three heads", "one head", "one token"),
        WIRE,
        core=True,
    ),
    Property("epsilon is 1e-6", has_epsilon_of_vit("tiny tokens"), TorchsEpsilon.ask),
    *OWN_EDGES,
)
BLOCK_PROPERTIES = (
    REPEATS,
    Property(
        "two LayerNorms, attention and MLP are there",
        has_parts("norm1", "norm2"),
        "Which parts does the task name, and which have parameters of their own?",
        core=True,
    ),
    Property(
        "the shape (B, N, D) comes back",
        returns_right_shapes("three heads", "one head", "small numbers"),
        "Which of your lines changes the shape?",
        core=True,
    ),
    Property(
        "silent branches change nothing",
        leaves_tokens_alone(
            "both silent",
            "Both branches give zero, and yet other tokens leave than came.",
        ),
        WIRE,
        core=True,
    ),
    Property(
        "images do not influence one another",
        separates_images,
        AttentionAcrossImages.ask,
        core=True,
    ),
    Property(
        "each half works alone",
        agrees("MLP silent", "attention silent"),
        WIRE,
        core=True,
    ),
    Property(
        "the numbers agree with equations 2 and 3 in float64",
        agrees("three heads", "one head", "one token"),
        WIRE,
        core=True,
    ),
    Property(
        "epsilon is 1e-6",
        has_epsilon_of_vit("tiny tokens, MLP silent", "tiny tokens, attention silent"),
        TorchsEpsilon.ask,
    ),
    Property(
        "nothing is dropped in evaluation",
        drops_nothing_in_evaluation,
        DropoutInEvaluation.ask,
    ),
    Property(
        "with p = 1 the branches are dropped, the stream stays",
        drops_branches_in_training,
        PLACES,
    ),
    Property("dropout stands in three places", drops_in_three_places, PLACES),
    Property(
        "a p above 1 is refused",
        refuses("any-probability-taken", "a p above 1"),
        "Which numbers can be a probability?",
    ),
    *OWN_EDGES,
)

# The tasks.


def form(*reference: Callable) -> Form:
    """A module that returns tokens and may use all earlier parts."""
    return Form(
        outputs=("output",),
        is_class=True,
        fused=FUSED,
        aliases=ALIASES,
        builtin_parts=(nn.TransformerEncoderLayer,),
        reference=reference,
    )


def show(*questions: str) -> Show:
    """Tokens as rows."""
    return Show(
        questions=questions,
        inputs=("x",),
        order={"output": 0},
        axes={"output": ("token", "feature")},
        notes=NOTES,
    )


# What a message says of the small questions beside their input.
NOTES = {
    "both silent": "with both branches silent",
    "MLP silent": "with a silent MLP",
    "attention silent": "with a silent attention",
    "tiny tokens, MLP silent": "with a silent MLP",
    "tiny tokens, attention silent": "with a silent attention",
}
WRITE_HALF = Implement(
    form=form(AttentionHalf, EncoderBlock),
    ask_about=half_questions,
    oracle=oracle_of(first_half),
    properties=HALF_PROPERTIES,
    bank=HALF,
    show=show(
        "attention silent",
        "mean of the tokens",
        "small numbers",
        "two small images",
        "tiny tokens",
    ),
    again="Code",
)
WRITE_BLOCK = Implement(
    form=form(EncoderBlock, oracle.encoder_block),
    ask_about=block_questions,
    oracle=block_oracle,
    properties=BLOCK_PROPERTIES,
    bank=BLOCK,
    show=show(
        "both silent",
        "MLP silent",
        "attention silent",
        "small numbers",
        "two small images",
        "tiny tokens, MLP silent",
        "tiny tokens, attention silent",
    ),
    settle=largest,
    again="Code",
)

# Gain 3 and bias 1 in both norms; the token (7, 3, 7, 3) has mean 5 and spread 2.
PREDICT_SILENT = PredictNumbers(
    right=(7, 4),
    names=(
        "The feature behind the pre-norm block",
        "The one behind the post-norm block",
    ),
    wrong=(
        (
            (4, 7),
            Wrong(
                "places-swapped",
                "This is pre-norm and post-norm the wrong way round.",
                "In which of the two does the stream itself pass through a LayerNorm?",
            ),
        ),
        (
            (7, 7),
            Wrong(
                "post-norm-leaves-the-stream",
                "Then post-norm, too, would leave the stream alone.",
                "Post-norm puts LN around the sum. What is LN of a silent sum?",
            ),
        ),
        (
            (4, 4),
            replace(
                NormOnTheSkip,
                seen="Then the skip of pre-norm would carry the normalised token.",
            ),
        ),
        (
            (7, 1),
            Wrong(
                "gain-and-bias-left-out",
                "Behind post-norm this is the normalised token, before gain and bias.",
                "What does the last LayerNorm do after it has normalised?",
            ),
        ),
        (
            (7, 3),
            Wrong(
                "bias-left-out",
                "Behind post-norm the last bias is missing.",
                "What does the last LayerNorm do after the gain?",
            ),
        ),
        (
            (7, 13),
            Wrong(
                "normalised-once",
                "Here the second LayerNorm of post-norm only stretches and shifts.",
                "What does the second LayerNorm do before its gain and bias?",
            ),
        ),
        (
            (0, 1),
            Wrong(
                "no-skips",
                "Here silent branches erase the token: nothing was added to it.",
                "A branch gives zero. What is the token plus zero?",
            ),
        ),
        *(
            (
                (feature, 4),
                Wrong(
                    "silent-branch-repeats-the-token",
                    "Behind pre-norm the token was added to itself.",
                    "A silent branch gives zero. What is added then?",
                ),
            )
            for feature in (14, 28)
        ),
    ),
    ask="What is left of each equation when MSA and MLP give zero?",
    again="The equation",
)


def parts_of(block: nn.Module) -> tuple[int, ...]:
    """Parameters of attention, of MLP and of both norms together."""
    attention, mlp, *norms = (
        sum(p.numel() for p in part.parameters())
        for part in (block.attn, block.mlp, block.norm1, block.norm2)
    )
    return attention, mlp, sum(norms)


with torch.device("meta"):  # shapes alone, and no random numbers drawn
    COUNTS = parts_of(EncoderBlock(10, 5, 40))
PREDICT_PARAMETERS = PredictNumbers(
    right=COUNTS,
    names=("The attention's count", "The MLP's count", "The count of the two norms"),
    wrong=(
        *(
            (
                (400, 800, norms),
                Wrong(
                    "biases-not-counted",
                    "These are the weights alone.",
                    "What does each linear layer learn beside its weights?",
                ),
            )
            for norms in (20, 40)
        ),
        (
            (2160, 850, 40),
            Wrong(
                "heads-of-full-width",
                "Here each head has projections of the full width.",
                "Five heads share the D features. How wide is one?",
            ),
        ),
        (
            (330, 850, 40),
            Wrong(
                "no-output-projection",
                "Here the attention has no output projection.",
                "Which layer stands behind the heads?",
            ),
        ),
        (
            (220, 850, 40),
            Wrong(
                "one-projection-for-three",
                "Here one projection serves as query, key and value.",
                "How many projections does a head read?",
            ),
        ),
        (
            (440, 220, 40),
            Wrong(
                "hidden-width-ignored",
                "Here the hidden layer is as wide as a token.",
                "How wide is the MLP between its two layers?",
            ),
        ),
        (
            (440, 440, 40),
            Wrong(
                "first-layer-alone",
                "This is the MLP's first layer alone.",
                "Which layer brings the hidden units back to the width of a token?",
            ),
        ),
        (
            (440, 850, 20),
            Wrong(
                "one-norm-counted",
                "This is one LayerNorm.",
                "How many LayerNorms does a block have?",
            ),
        ),
    ),
    ask="A linear layer from a to b has ab weights and b biases. Which are there?",
    again="How many parameters?",
)
PREDICT_GRADIENTS = Choose(
    right="B",
    because="Pre-norm's stream grows with each block, and the larger it is, the "
    "smaller is the gradient. Post-norm brings the stream back to one size.",
    wrong={
        "A": Wrong(
            "post-norm-vanishes-towards-the-input",
            "In the chapter's stacks of new blocks post-norm's gradient stays level "
            "over all 32 blocks.",
            "Which stream changes its size from block to block?",
        ),
        "C": Wrong(
            "gradients-vanish-in-both",
            "Each block adds to the stream, so a gradient reaches the first block past "
            "all others. In neither stack is the first block's the smallest.",
            "What does the skip do for a gradient on its way back?",
        ),
        "D": Wrong(
            "wiring-does-not-matter",
            "The weights start alike, and still the two differ: the stream has "
            "another size.",
            "By which share does a branch change a stream of size 1, and of size 4?",
        ),
    },
    again="Pre-norm and post-norm in depth",
)


class SummedAtTheEnd(nn.Module):
    """A right block that rounds in another order: the branches are added first."""

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, num_heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dropout)

    def forward(self, x: Tensor) -> Tensor:
        attended = dropout(self.attn(self.norm1(x)), self.dropout, self.training)
        return x + (attended + self.mlp(self.norm2(x + attended)))


TEST_THE_WIRING = BreakIt(
    right=(EncoderBlock, SummedAtTheEnd),
    wrong=(PostNorm, OneNormTwice, MlpReadsTheInput),
    ask="Do your norms differ from new ones, and do you compare with all of the "
    "equations?",
    again="Break it",
)

TASKS = {
    "silent": PREDICT_SILENT,
    "AttentionHalf": WRITE_HALF,
    "parameters": PREDICT_PARAMETERS,
    "EncoderBlock": WRITE_BLOCK,
    "gradients": PREDICT_GRADIENTS,
    "wrong_wiring": TEST_THE_WIRING,
    "find_the_bug": replace(WRITE_BLOCK, bug=SkipFromTheInput, again="The equation"),
}
