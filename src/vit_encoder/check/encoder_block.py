"""The encoder block: what people get wrong."""

from torch import nn

from vit_encoder.check.misconceptions import against
from vit_encoder.encoder_block import EncoderBlock
from vit_encoder.layer_norm import LayerNorm
from vit_encoder.mlp import MLP, dropout
from vit_encoder.multi_head import MultiHeadSelfAttention

# Misconceptions of the block. Each is the course's version with one visible change.

GITHUB = "https://github.com/"
OURS = "constructed for this course"
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


MISCONCEPTIONS = {
    "EncoderBlock": (
        PostNorm,
        NormOnTheSkip,
        OneNormTwice,
        MlpReadsTheInput,
        SkipFromTheInput,
        NoFirstSkip,
        NoSecondSkip,
        AddedToItself,
        NoSecondNorm,
        MlpFirst,
        AddedInPlace,
        DropoutOnTheStream,
    )
}
