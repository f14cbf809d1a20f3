"""The encoder: what people get wrong."""

from copy import deepcopy

from torch import nn

from vit_encoder.arguments import require_whole
from vit_encoder.check.misconceptions import Misconception, against
from vit_encoder.encoder import Encoder
from vit_encoder.encoder_block import EncoderBlock
from vit_encoder.layer_norm import LayerNorm

# Misconceptions of Encoder. Each is the course's version with one visible change.

GITHUB = "https://github.com/"
OURS = "constructed for this course"
wrong_encoder = against(Encoder)


@wrong_encoder(
    seen="The encoder has the parameters of one block: L times the same object.",
    ask="How many blocks did you create, and how many names did you give to them?",
    source=GITHUB + "espnet/espnet/issues/1278",
)
class OneBlockRepeated(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            [EncoderBlock(dim, num_heads, mlp_dim, dropout)] * depth
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


@wrong_encoder(
    seen="All blocks start with the same numbers: they are copies of one block.",
    ask="When are a block's random numbers drawn, and how often does that happen here?",
    source=GITHUB + "pytorch/pytorch/issues/86274",
)
class CopiesOfOneBlock(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        block = EncoderBlock(dim, num_heads, mlp_dim, dropout)
        self.blocks = nn.ModuleList(deepcopy(block) for _ in range(depth))
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


@wrong_encoder(
    seen="The blocks' parameters are missing: a plain list hides the blocks, so that "
    "an optimizer, .to() and .eval() do not reach them.",
    ask="How does a module learn which modules are its children?",
    source=GITHUB + "pytorch/pytorch/issues/715",
)
class PlainListOfBlocks(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = [
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        ]
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


@wrong_encoder(
    seen="The final LayerNorm is there but never used: what leaves is the residual "
    "stream as it is.",
    ask="Which of the norms before it stood on the residual stream itself?",
    source=GITHUB + "mlc-ai/mlc-llm/pull/3456",
)
class NoFinalNorm(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


@wrong_encoder(
    seen="The final LayerNorm runs after every block, so the residual stream is "
    "normalised L times.",
    ask="How often does LN stand in equations 2 to 4, and on which path each time?",
    source=GITHUB + "lucidrains/vit-pytorch/pull/274",
)
class NormAfterEveryBlock(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = self.norm(block(x))
        return x


@wrong_encoder(
    seen="The norm stands before the blocks: it normalises what enters, not what "
    "leaves.",
    ask="At which end of the stack has the residual stream grown?",
    source=OURS,
)
class NormBeforeTheBlocks(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        x = self.norm(x)
        for block in self.blocks:
            x = block(x)
        return x


@wrong_encoder(
    seen="Every block reads the encoder's input; only the last one has an effect.",
    ask="What does block 2 read, and who wrote it?",
    source=GITHUB + "Atcold/NYU-DLSP20/issues/270",
)
class EveryBlockFedTheInput(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            out = block(x)
        return self.norm(out)


@wrong_encoder(
    seen="It returns after the first block; the others have no effect.",
    ask="How often does the body of your loop run?",
    source=OURS,
)
class ReturnInsideTheLoop(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
            return self.norm(x)


@wrong_encoder(
    seen="Only the class token comes back: one vector an image, not one a token.",
    ask="Who chooses between the class token and the mean: the encoder, or what "
    "comes after it?",
    source="the article that this course grew out of",
)
class ClassTokenAlone(nn.Module):
    def __init__(self, depth, dim, num_heads, mlp_dim, dropout=0.0):
        super().__init__()
        require_whole(depth, "depth")
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, dropout) for _ in range(depth)
        )
        self.norm = LayerNorm(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]


ENCODER = (
    OneBlockRepeated,
    CopiesOfOneBlock,
    PlainListOfBlocks,
    NoFinalNorm,
    NormAfterEveryBlock,
    NormBeforeTheBlocks,
    EveryBlockFedTheInput,
    ReturnInsideTheLoop,
    ClassTokenAlone,
)

MISCONCEPTIONS: dict[str, tuple[Misconception, ...]] = {"Encoder": ENCODER}
