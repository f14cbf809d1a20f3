"""What is counted: FLOPs, bytes moved, bytes kept; and the recorded times."""

import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_encoder import (
    Encoder,
    EncoderBlock,
    attention,
    block_flops,
    fast,
    online_attention,
    quantize_rows,
)
from vit_encoder.costs import (
    flops,
    kept_bytes,
    largest_tensor,
    recorded_speed,
    traffic,
)
from vit_encoder.figures import show_shares, show_steps
from vit_encoder.figures.drawings import ranks, tiles

B, N, D, H, M = 2, 7, 12, 3, 20


def test_flops_of_a_block_are_those_that_torch_counts():
    block = EncoderBlock(D, H, M)
    assert flops(block, torch.randn(B, N, D)) == B * block_flops(D, M, N)
    assert block_flops(D, 4 * D, N) == 24 * N * D**2 + 4 * N**2 * D


def test_fewer_queries_are_counted_as_they_are_computed():
    block, x = EncoderBlock(D, H, M).to("meta"), torch.empty(B, N, D, device="meta")
    for queries in (1, 3, N):
        counted = flops(fast.run_block, block, x, queries)
        assert counted == B * block_flops(D, M, N, queries)


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, -1, 1), (1, 1, 2, 3), (1, 1, 2, 0)])
def test_sizes_that_cannot_be_are_refused(sizes):
    with pytest.raises(ValueError, match="expected"):
        block_flops(*sizes)
    with pytest.raises(TypeError, match="whole number"):
        block_flops(1.5, 2, 3)


def test_a_sum_moves_two_tensors_in_and_one_out():
    x, y = torch.randn(3, 5), torch.randn(3, 5)
    assert traffic(lambda: x + y)["the rest"] == 3 * 3 * 5 * 4
    assert traffic(torch.add, x.double(), y.double())["the rest"] == 3 * 3 * 5 * 8


def test_a_product_counts_its_kind_and_a_view_counts_nothing():
    x, W = torch.randn(3, 5), torch.randn(5, 7)
    moved = traffic(lambda: (x @ W).T.unflatten(0, (7, 1)))
    assert moved == {
        "products": 4 * (3 * 5 + 5 * 7 + 3 * 7),
        "attention": 0,
        "the rest": 0,
    }
    q = torch.randn(1, 2, 5, 8)
    moved = traffic(F.scaled_dot_product_attention, q, q, q)
    assert moved["attention"] >= 4 * 4 * q.numel()
    assert moved["products"] == 0


def test_the_largest_tensor_is_the_table_or_a_tile():
    q = torch.randn(2, 3, 40, 4)
    assert largest_tensor(attention, q, q, q) == 4 * 2 * 3 * 40 * 40
    assert largest_tensor(online_attention, q, q, q, 8) == 4 * 2 * 3 * 40 * 8


def test_kept_bytes_count_each_piece_of_memory_once_and_no_parameters():
    layer, x = nn.Linear(5, 7), torch.randn(3, 5, requires_grad=True)
    assert kept_bytes(lambda: layer(x), layer) == 4 * x.numel()
    assert kept_bytes(lambda: x * x, layer) == 4 * x.numel()
    assert kept_bytes(lambda: x.exp(), layer) == 4 * x.numel()  # its result
    assert kept_bytes(lambda: x.detach() + 1, layer) == 0


def test_checkpointing_keeps_what_enters_each_block():
    x = torch.randn(B, N, D, requires_grad=True)
    model, depth = fast.Encoder(5, D, H, M), 5
    textbook = Encoder(5, D, H, M)
    whole = kept_bytes(lambda: model(x), model)
    assert whole < 0.7 * kept_bytes(lambda: textbook(x), textbook)
    model.checkpointing = True
    kept = kept_bytes(lambda: model(x), model)
    assert depth * 4 * x.numel() <= kept < 0.4 * whole


def test_rows_are_rounded_to_half_a_level():
    weight = torch.randn(6, 11, generator=torch.Generator().manual_seed(0))
    weight[2] = 0
    levels, scale = quantize_rows(weight)
    assert levels.dtype == torch.int8
    assert scale.shape == (6, 1)
    assert levels.abs().amax(-1).tolist() == [127, 127, 0, 127, 127, 127]
    assert ((levels * scale - weight).abs() <= scale / 2 + 1e-7).all()


def test_the_record_holds_what_the_chapter_reads():
    found = recorded_speed()
    assert found["steps"]["textbook"] == 1
    assert all(0 < time < 2 for time in found["steps"].values())
    for shares in found["profile"].values():
        assert abs(sum(shares.values()) - 1) < 0.01
    assert [*found["attention"]] == ["197", "512", "1024", "2048"]


def test_the_first_round_of_the_profile_warms_up(monkeypatch):
    import profile_encoder

    now, takes = [0], iter([9, 1, 1, 2])  # for each run, in turns
    monkeypatch.setattr(profile_encoder.time, "process_time", lambda: now[0])
    run = lambda: now.insert(0, now[0] + next(takes))  # noqa: E731
    found = profile_encoder.relative({"first": run, "second": run}, 1)
    assert found == {"first": 1, "second": 2}


def test_bars_are_as_long_as_the_shares_and_others_are_refused():
    (ax,) = show_shares({"one": 0.25, "another": 0.9}, "first", "second").axes
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(
        [0.25, 0.9, 0.75, 0.1]
    )
    with pytest.raises(ValueError, match="from 0 to 1"):
        show_shares({"one": 1.2}, "first", "second")


def test_each_step_has_a_bar_of_time_and_one_of_bytes_where_they_were_counted():
    (ax,) = show_steps({"one": (1, 0.5), "another": (0.75, None)}).axes
    assert [bar.get_width() for bar in ax.patches] == [1, 0.75, 0.5, 0]
    words = [text.get_text() for text in ax.texts]
    assert words == ["100%", "75%", "50%", ""]
    with pytest.raises(ValueError, match="from 0"):
        show_steps({"one": (1, -0.5)})


def value(formula):
    """Both sides of an equation in a drawing, and how exactly its result is written."""
    _, sum_, result = formula.split(" = ")
    sum_ = (
        re.sub(r"(\d) e", r"\1 * e", sum_).replace("⁻¹", "**-1").replace("⁻²", "**-2")
    )
    digits = len(result.partition(".")[2])
    return eval(sum_, {"e": math.e}), float(result), 0.5 * 10**-digits


def test_the_drawing_of_tiles_computes_what_attention_gives():
    keys = [key for tile in tiles.TILES for key in tile]
    seen = []
    for tile, (t, *sums) in zip(tiles.TILES, tiles.KEPT, strict=True):
        seen += tile
        top = max(score for score, _ in seen)
        assert t == f"t = {top}"
        weights = [math.exp(score - top) for score, _ in seen]
        total = sum(w * v for w, (_, v) in zip(weights, seen, strict=True))
        for formula, right in zip(sums, (sum(weights), total), strict=True):
            computed, written, rounding = value(formula)
            assert abs(written - right) <= rounding
            assert abs(computed - right) <= 3 * rounding  # of what it starts from too
    scores, values = torch.tensor(keys, dtype=torch.float64).T
    output = scores.softmax(0) @ values
    assert tiles.OUTPUT.endswith(f"= {output:.1f}")


def test_the_drawing_of_ranks_averages_the_gradients():
    svg = ranks.ranks_drawing().svg
    means = [sum(pair) / 2 for pair in ranks.GRADIENTS]
    for words in (*(f">mean {mean:.0f}<" for mean in means), ">8 / 2 = 4<"):
        assert words in svg
    assert f"all-reduce: {means[0]:.0f} + {means[1]:.0f} = {sum(means):.0f}" in svg
    assert sum(means) / 2 == sum(sum(ranks.GRADIENTS, ())) / 4 == 4
