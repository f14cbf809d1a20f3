"""Multi-head self-attention: what people get wrong."""

import math
from dataclasses import replace

from torch import nn

from vit_encoder.arguments import require_divides, require_tokens
from vit_encoder.check import self_attention
from vit_encoder.check.misconceptions import Misconception, against
from vit_encoder.multi_head import MultiHeadSelfAttention, merge_heads, split_heads
from vit_encoder.self_attention import attention

GITHUB = "https://github.com/"
OURS = "constructed for this course"

# Misconceptions of split_heads. Each is the course's version with one visible change.

wrong_split = against(split_heads)


@wrong_split(
    seen="The shape is right, but row n of a head is no longer token n: the numbers "
    "keep their order, and only the boxes around them have changed.",
    ask="A view renames boxes; it never moves a number. Where does token 0 end up?",
    source=GITHUB + "hyunwoongko/transformer/issues/15",
)
def split_by_reshape(x, num_heads):
    require_divides(num_heads, x.shape[-1], "num_heads", "the width")
    return x.reshape(len(x), num_heads, x.shape[1], -1)


@wrong_split(
    seen="Head 0 gets features 0, h, 2h and so on, not the first D_h of them.",
    ask="Which of the two new axes counts the heads, the slow one or the fast one?",
    source=OURS,
)
def every_hth_feature(x, num_heads):
    require_divides(num_heads, x.shape[-1], "num_heads", "the width")
    return x.unflatten(-1, (-1, num_heads)).permute(0, 3, 1, 2)


SPLIT = (split_by_reshape, every_hth_feature)

# Misconceptions of merge_heads.

wrong_merge = against(merge_heads)


@wrong_merge(
    seen="The shape is right, but a token gets what one head made of several tokens.",
    ask="Where do head 1's features of token 0 lie in memory after attention?",
    source=GITHUB + "jsbaan/transformer-from-scratch/pull/6",
)
def merge_by_reshape(x):
    return x.reshape(len(x), x.shape[2], -1)


@wrong_merge(
    seen="The features of all heads alternate instead of standing head after head.",
    ask="Which features does the output projection expect first: all of head 0?",
    source=OURS,
)
def heads_alternate(x):
    return x.permute(0, 2, 3, 1).flatten(2)


MERGE = (merge_by_reshape, heads_alternate)

# Misconceptions of MultiHeadSelfAttention, written against the course's class.

wrong_layer = against(MultiHeadSelfAttention)


@wrong_layer(
    seen="The scale is made from the width of the token, D, not from that of a head, "
    "so the scores are too small by √h.",
    ask="Count the products that were added up for one score: D or D_h?",
    source=GITHUB + "lucidrains/vit-pytorch/issues/65",
)
class ScaledByDim(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        require_divides(num_heads, dim, "num_heads", "dim")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))
        scores = q @ k.transpose(-2, -1) / math.sqrt(x.shape[-1])
        output = scores.softmax(dim=-1) @ v
        return self.proj(merge_heads(output))


@wrong_layer(
    seen="The output projection is never applied: no feature of the output depends "
    "on more than one head.",
    ask="Who reads all heads at once?",
    source=GITHUB + "Kyubyong/transformer/pull/17",
)
class NoOutputProjection(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        require_divides(num_heads, dim, "num_heads", "dim")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, k, v))
        output, _ = attention(q, k, v)
        return merge_heads(output)


@wrong_layer(
    seen="The token is cut into h slices, and each head projects its own slice. A head "
    "is blind to all other features.",
    ask="What is cut into heads: the token, or what is made from it?",
    source=GITHUB + "aladdinpersson/Machine-Learning-Collection/issues/3",
)
class TokenSliced(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        require_divides(num_heads, dim, "num_heads", "dim")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim // num_heads, 3 * dim // num_heads)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        require_tokens(x, self.num_heads * self.qkv.in_features)
        slices = split_heads(x, self.num_heads)
        q, k, v = self.qkv(slices).chunk(3, dim=-1)
        output, _ = attention(q, k, v)
        return self.proj(merge_heads(output))


@wrong_layer(
    seen="`qkv` is read head by head, each with its query, key and value. Weights that "
    "were trained for the other order do not fit.",
    ask="If `qkv` stacks all queries, all keys, all values, where does head 1 begin?",
    source="tutorial 6 of phlippe/uvadlc_notebooks, which reads it so on purpose",
)
class QkvReadByHead(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        require_divides(num_heads, dim, "num_heads", "dim")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = split_heads(self.qkv(x), self.num_heads).chunk(3, dim=-1)
        output, _ = attention(q, k, v)
        return self.proj(merge_heads(output))


@wrong_layer(
    seen="All heads share the projections of one head, so they all do the same.",
    ask="If all heads agree, how many do you have?",
    source=OURS,
)
class OneHeadRepeated(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        require_divides(num_heads, dim, "num_heads", "dim")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim // num_heads)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        require_tokens(x, self.qkv.in_features)
        q, k, v = self.qkv(x).unsqueeze(1).chunk(3, dim=-1)
        output, _ = attention(q, k, v)
        return self.proj(merge_heads(output.expand(-1, self.num_heads, -1, -1)))


MULTI_HEAD = (
    ScaledByDim,
    NoOutputProjection,
    TokenSliced,
    QkvReadByHead,
    OneHeadRepeated,
)


def inside(misconception: Misconception) -> Misconception:
    """A misconception of a function as it shows in the module that calls it."""
    parts = {f.__name__: f for f in (split_heads, attention, merge_heads)}
    parts[misconception.right.__name__] = misconception.wrong
    split, attend, merge = parts.values()

    class Wrong(MultiHeadSelfAttention):
        def forward(self, x):
            require_tokens(x, self.qkv.in_features)
            q, k, v = (split(t, self.num_heads) for t in self.qkv(x).chunk(3, dim=-1))
            output, _ = attend(q, k, v)
            return self.proj(merge(output))

    return replace(misconception, wrong=Wrong, right=MultiHeadSelfAttention)


softmax_over_heads = replace(
    self_attention.softmax_over_axis_1,
    name="softmax-over-heads",
    seen="Softmax runs over the heads: for each query and key they share out 100 %.",
)
INSIDE = (
    *SPLIT,
    *MERGE,
    self_attention.no_scale,
    self_attention.softmax_over_queries,
    softmax_over_heads,
)
MISCONCEPTIONS = {
    "split_heads": SPLIT,
    "merge_heads": MERGE,
    "MultiHeadSelfAttention": (*MULTI_HEAD, *map(inside, INSIDE)),
}
