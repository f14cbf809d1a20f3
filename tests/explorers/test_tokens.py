"""Tokens on a plane: weights, entropy, the hull of the values."""

import pytest
import torch
import torch.nn.functional as F
from tests.explorers.cases import CASES, rand, run, value

from vit_encoder.figures import TokensExplorer

pytestmark = pytest.mark.xdist_group("explorer tokens")


def entropy(weights):
    return torch.special.entr(weights).sum(-1)


@pytest.mark.parametrize("width", range(1, 9))
def test_attention_on_the_plane_is_that_of_torch(visit, width):
    tab = visit("tokens")
    for seed, N in enumerate((1, 2, 5, 8)):
        rng = torch.Generator().manual_seed(10 * width + seed)
        x = 2 * torch.randn(N, 2, generator=rng).double()
        w_q, w_k = torch.randn(2, 2, width, generator=rng).double()
        w_v = torch.randn(2, 2, generator=rng).double()
        tables = ", ".join(str(table.tolist()) for table in (x, w_q, w_k, w_v))
        for scaled in (True, False):
            found = run(tab, f"figure.attend({tables}, {str(scaled).lower()})")
            q, k, v = x @ w_q, x @ w_k, x @ w_v
            scale = None if scaled else 1.0
            output, weights = (
                F.scaled_dot_product_attention(q, k, values, scale=scale)
                for values in (v, torch.eye(N).double())
            )
            scores = (q @ k.T) * (width**-0.5 if scaled else 1.0)
            for name, right in {
                "outputs": output,
                "weights": weights,
                "values": v,
                "entropies": entropy(weights),
                "scores": scores,
            }.items():
                ours = torch.tensor(found[name]).double()
                torch.testing.assert_close(ours, right, rtol=0, atol=1e-5)
            along = torch.tensor(found["looks"]).double() @ x.T  # the arrows
            torch.testing.assert_close(along, scores, rtol=0, atol=1e-5)


def test_hull_holds_all_points_and_turns_one_way(visit):
    tab = visit("tokens")
    for seed in range(20):
        points = torch.randn(8, 2, generator=torch.Generator().manual_seed(seed))
        points[7] = points[0]  # two in one place
        hull = run(tab, f"figure.hullOf({points.tolist()})")
        corners = torch.tensor(hull)
        edges = corners.roll(-1, 0) - corners
        across = points[:, None] - corners
        turned = edges[:, 0] * across[..., 1] - edges[:, 1] * across[..., 0]
        assert (turned >= -1e-6).all()  # every point lies to the left of every edge
        assert {*map(tuple, hull)} <= {*map(tuple, points.tolist())}
    assert len(run(tab, "figure.hullOf([[1, 2]])")) == 1
    assert len(run(tab, "figure.hullOf([[0, 0], [1, 1], [2, 2], [1, 1]])")) == 2
    assert run(tab, "figure.hullOf([[1, 2], [1, 2]])")[0] == [1, 2]


def test_table_and_readout_follow_fields_and_switch(visit):
    tab = visit("tokens")
    tab.get_by_label("W K, row 0, column 1").fill("-1.5")
    tab.get_by_label("W V, row 1, column 0").fill("0.5")
    tab.get_by_role("slider", name="D").fill("3")
    tab.get_by_role("switch", name="scale").click()
    tab.get_by_role("radio", name="query 3").check()
    made = CASES["tokens"].make()
    x, w_q, w_k, w_v = (
        torch.tensor(table).double()
        for table in (made.tokens, made.w_q, made.w_k, made.w_v)
    )
    w_k[0, 1], w_v[1, 0] = -1.5, 0.5
    q, k = x @ w_q[:, :3], x @ w_k[:, :3]
    weights = (q @ k.T).softmax(-1)
    shown = [[float(value(tab, f"'{i} {j}'")) for j in range(5)] for i in range(5)]
    assert (torch.tensor(shown) - weights).abs().max() < 0.0051
    assert float(value(tab, "entropy").split()[0]) == pytest.approx(
        entropy(weights)[3].item(), abs=0.0051
    )
    output = (weights @ x @ w_v)[3].tolist()
    said = value(tab, "output").replace("−", "-").strip("()").split(", ")
    assert [float(number) for number in said] == pytest.approx(output, abs=0.0051)
    spread = (q @ k.T).std(correction=0).item()
    assert float(value(tab, "spread")) == pytest.approx(spread, abs=0.0051)


def test_what_is_typed_is_no_number_or_one(visit):
    tab = visit("tokens")
    before = value(tab, "output")
    field = tab.get_by_label("W Q, row 0, column 0")
    for text in ("", "5000"):
        field.fill(text)
        assert value(tab, "output") == before
        field.blur()
        assert field.input_value() == "1"
    field.press("ArrowUp")
    assert field.input_value() == "1.1"
    assert value(tab, "output") != before


def test_what_is_typed_counts_as_it_is_shown(visit):
    tab = visit("tokens")
    field = tab.get_by_label("W V, row 0, column 0")
    field.fill("500.125")
    assert field.input_value() == "500.13"
    label = tab.locator(".plane-token").nth(4).get_attribute("aria-label")
    x, _ = CASES["tokens"].make().tokens[4]
    assert f"value at ({500.13 * x:.2f}, " in label


def token_at(tab, i):
    label = tab.locator(".plane-token").nth(i).get_attribute("aria-label")
    x, y = label.replace("−", "-").split("(")[1].split(")")[0].split(", ")
    return float(x), float(y)


def test_a_drag_moves_the_nearest_token_and_a_tap_asks_for_it(visit):
    tab = visit("tokens")
    box = tab.locator(".plane-view > svg").bounding_box()
    unit = box["width"] / 4  # from -2 to 2
    start = [token_at(tab, i) for i in range(5)]
    x, y = box["x"] + unit * (2 + start[3][0]), box["y"] + unit * (2 - start[3][1])
    tab.mouse.move(x + 10, y + 5)  # beside its middle, which stays where it is
    tab.mouse.down()
    tab.mouse.move(x + 10, y + 5 + unit / 2)
    tab.mouse.move(x + 10 - unit / 2, y + 5 + unit / 2)
    tab.mouse.up()
    right = start[3][0] - 0.5, start[3][1] - 0.5
    assert token_at(tab, 3) == pytest.approx(right, abs=0.02)
    assert [token_at(tab, i) for i in (0, 1, 2, 4)] == start[:3] + start[4:]
    assert tab.get_by_role("radio", name="query 2").is_checked()
    tab.locator(".plane-token").nth(1).click()
    assert tab.get_by_role("radio", name="query 1").is_checked()
    assert token_at(tab, 1) == start[1]


def test_keys_move_a_token_to_the_edge_and_choose_it(visit):
    tab = visit("tokens")
    tab.locator(".plane-token").nth(4).focus()
    for key in ["ArrowRight"] * 20 + ["ArrowDown", "Enter"]:
        tab.keyboard.press(key)
    _, y = CASES["tokens"].make().tokens[4]
    assert token_at(tab, 4) == pytest.approx((2, y - 2 / 30), abs=0.006)
    assert tab.get_by_role("radio", name="query 4").is_checked()


def test_enter_and_space_choose_alone_and_the_page_does_not_see_them(visit):
    tab = visit("tokens")
    tab.evaluate("addEventListener('keydown', (e) => { window.reached = e.key; })")
    for key, token in (("Enter", 4), ("Space", 0)):
        tab.locator(".plane-token").nth(token).focus()
        radio = tab.get_by_role("radio", name=f"query {token}")
        for held in ("Control", "Shift"):
            tab.keyboard.press(f"{held}+{key}")
            assert not radio.is_checked()
        tab.evaluate("window.reached = null")
        tab.keyboard.press(key)
        assert radio.is_checked()
        assert tab.evaluate("window.reached") is None


def test_finger_drags_a_token_and_the_page_stays(visit):
    tab = visit("tokens", width=360, has_touch=True, is_mobile=True)
    box = tab.locator(".plane-token .plane-reach").nth(1).bounding_box()
    assert box["width"] >= 24
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = tab.context.new_cdp_session(tab)
    start = token_at(tab, 1)
    for kind, dy in (("touchStart", 0), *(("touchMove", -6 * i) for i in range(1, 9))):
        points = [{"x": x, "y": y + dy}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    tab.wait_for_timeout(200)
    assert token_at(tab, 1)[1] > start[1] + 0.4
    assert tab.evaluate("scrollY") == 0


SEEDED = """let seed = 1; // a generator of Park and Miller
    Math.random = () => (seed = (16807 * seed) % 2147483647) / 2147483647;"""


MANY = """Array.from({ length: 60 }, () => {
    [...document.querySelectorAll("button")]
        .find(button => button.textContent.includes("Random")).click();
    return Number(document.querySelector("[data-value=spread]").textContent);
})"""


def test_random_maps_keep_the_spread_with_the_scale_alone(visit):
    tab = visit("tokens", before=SEEDED)
    spreads = {True: {}, False: {}}
    for scaled, found in spreads.items():
        tab.get_by_role("switch", name="scale").set_checked(scaled)
        for width in (1, 8):
            tab.get_by_role("slider", name="D").fill(str(width))
            many = tab.evaluate(MANY)
            assert len({*many}) > 40
            found[width] = sum(s * s for s in many) / len(many)
    assert 0.5 < spreads[True][8] / spreads[True][1] < 2
    assert 4 < spreads[False][8] / spreads[False][1] < 16


def test_tokens_explorer_takes_the_reader_s_own():
    made = TokensExplorer(rand(3, 2), rand(2, 3).half(), rand(2, 3), 2 * torch.eye(2))
    assert (len(made.tokens), made.width, made.query) == (3, 3, 1)
    assert made.w_v == [[2, 0], [0, 2]]
    assert [len(row) for row in made.w_q + made.w_k] == [8] * 4
    assert torch.tensor(made.w_q)[:, :3].half().equal(rand(2, 3).half())
    assert repr(made) == "TokensExplorer(3 tokens, D_h = 3)"
    assert TokensExplorer(w_k=rand(2, 5)).width == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": "x"}, "expected a tensor of real numbers as tokens, got str"),
        ({"tokens": 1j * rand(3, 2)}, "as tokens, got torch.complex64"),
        ({"tokens": rand(3, 4)}, r"tokens \(N, 2\) with N from 1 to 8, got .*\(3, 4\)"),
        ({"tokens": rand(9, 2)}, r"with N from 1 to 8, got shape \(9, 2\)"),
        ({"tokens": rand(2)}, r"expected tokens \(N, 2\) .*, got shape \(2,\)"),
        ({"tokens": rand(3, 2) / 0}, "expected numbers from -1000 to 1000 in tokens"),
        ({"w_q": rand(3, 2)}, r"w_q \(2, D_h\) with D_h from 1 to 8, got shape"),
        ({"w_k": rand(2, 9)}, r"w_k \(2, D_h\) with D_h from 1 to 8, got shape"),
        (
            {"w_q": rand(2, 3), "w_k": rand(2, 4)},
            "expected w_q and w_k of one width D_h, got 3 and 4",
        ),
        ({"w_v": rand(2, 3)}, r"expected w_v \(2, 2\), got shape \(2, 3\)"),
        ({"query": 5}, "expected a query from 0 to 4, got 5"),
        ({"query": -1}, "expected a query from 0 to 4, got -1"),
        ({"query": 1.0}, "expected a query from 0 to 4, got 1.0"),
    ],
)
def test_tokens_explorer_refuses(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        TokensExplorer(**arguments)
