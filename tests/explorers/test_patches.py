"""The patches: tokens, what a pixel changes, shuffles."""

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tests.explorers.cases import rand, run, value

from vit_encoder import patchify
from vit_encoder.figures import PatchExplorer
from vit_encoder.figures.pixels import few_pixels

pytestmark = pytest.mark.xdist_group("explorer patches")


def matrix(P):
    """E (3·P·P, 9): of each colour the mean, right minus left and below minus above."""
    side = torch.sign(torch.arange(P) - (P - 1) / 2).double()
    columns = [torch.ones(P, P), side.expand(P, P), side[:, None].expand(P, P)]
    block = torch.stack([c.double() for c in columns], -1) / P**2  # (P, P, 3)
    return torch.block_diag(*3 * [block.flatten(0, 1)])  # (3·P·P, 9)


def tokens_of(image, P, cut="patchify", positions=True):
    """The tokens (N, 9) of an image (3, H, W), as the figure should make them."""
    patches = patchify(image[None], P)[0]
    if cut == "reshape":
        patches = image.reshape(patches.shape)
    k = torch.arange(9.0, dtype=torch.float64)
    tokens = torch.cat([torch.cos(k)[None] / 2, patches @ matrix(P)])
    place = torch.arange(len(tokens), dtype=torch.float64)[:, None]
    return tokens + positions * torch.sin((k + 1) * place * 0.7 + k)


def output_of(tokens):
    """What attention gives the class token."""
    return F.scaled_dot_product_attention(tokens[:1], tokens, tokens, scale=1.0)[0]


@pytest.mark.parametrize("cut", ["patchify", "reshape"])
@pytest.mark.parametrize("P", [2, 4, 8, 16])
def test_tokens_and_output_are_those_of_torch(visit, cut, P):
    image = torch.randn(3, 32, 48, generator=torch.Generator().manual_seed(P)).double()
    tab = visit("patches")
    for positions in (True, False):
        code = (
            f"(() => {{ const image = {image.flatten().tolist()};"
            f"const tokens = figure.embed(image, [32, 48], {P}, '{cut}',"
            f" {str(positions).lower()});"
            "return [tokens, figure.attend(tokens)]; })()"
        )
        tokens, output = (torch.tensor(t).double() for t in run(tab, code))
        right = tokens_of(image, P, cut, positions)
        torch.testing.assert_close(tokens, right, rtol=0, atol=1e-5)
        torch.testing.assert_close(output, output_of(right), rtol=0, atol=1e-5)


def test_a_pixel_changes_its_token_and_a_bare_reshape_three(visit):
    tab = visit("patches")
    picture = tab.locator(".patch-picture")
    for P, y, x in ((8, 12, 17), (4, 31, 47), (2, 0, 5), (16, 15, 16)):
        tab.get_by_role("radio", name=f"P = {P}", exact=True).check()
        box = picture.bounding_box()
        at = {"x": box["width"] * (x + 0.5) / 48, "y": box["height"] * (y + 0.5) / 32}
        picture.click(position=at)
        N = 32 * 48 // P**2 + 1
        assert value(tab, "count") == f"n = {N - 1}, N = {N}"
        assert value(tab, "cost") == "N² = " + f"{N * N:,}".replace(",", "\xa0")
        assert value(tab, "pixel") == f"row {y}, column {x}"
        token = y // P * (48 // P) + x // P + 1
        assert value(tab, "change") == f"1 of {N}: {token}"
        assert tab.locator(".patch-changed").count() == 1
        tab.get_by_role("radio", name="bare reshape").check()
        places = [32 * 48 * c + 48 * y + x for c in range(3)]
        wrong = sorted({place // (3 * P * P) + 1 for place in places})
        assert (
            value(tab, "change") == f"{len(wrong)} of {N}: {', '.join(map(str, wrong))}"
        )
        tab.get_by_role("radio", name="patchify").check()


def test_only_positions_tell_a_shuffle(visit):
    tab = visit("patches")
    assert value(tab, "tell") == "not shuffled yet"
    tab.get_by_role("button", name="Shuffle").click()
    changed = float(value(tab, "tell").removeprefix("changed by up to "))
    assert changed > 0.01
    tab.get_by_role("switch", name="positions").click()
    assert value(tab, "tell") == "changed by up to 0.00000"


def test_a_shuffle_moves_whole_patches(visit):
    image = rand(3, 32, 48).double()
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    numbers, places = image.flatten().tolist(), order.tolist()
    moved = run(visit("patches"), f"figure.shuffled({numbers}, [32, 48], 8, {places})")
    moved = torch.tensor(moved).double().view(1, 3, 32, 48)
    assert torch.equal(patchify(moved, 8)[0], patchify(image[None], 8)[0][order])


def test_arrow_keys_move_the_pixel_and_stop_at_the_edge(visit):
    tab = visit("patches")
    tab.locator(".patch-picture").focus()
    for key in ["ArrowUp"] * 13 + ["ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowDown"]:
        tab.keyboard.press(key)
    assert value(tab, "pixel") == "row 1, column 16"


def test_reader_s_own_image_is_cut_and_shrunk(visit, tmp_path):
    tab = visit("patches")
    # Twice as wide as it should be: of this its middle is taken.
    halves = Image.new("RGB", (960, 320), (255, 0, 0))
    halves.paste((0, 0, 255), (480, 0, 960, 320))
    halves.save(tmp_path / "own.png")
    tab.get_by_label("Your own image").set_input_files(tmp_path / "own.png")
    cells = tab.locator(".patch-strip rect")
    tab.wait_for_function(
        "document.querySelectorAll('.patch-strip rect')[1].getAttribute('fill') =="
        " 'rgb(255,0,0)'"
    )
    fills = [cells.nth(i).get_attribute("fill") for i in range(1, 7)]
    assert fills == ["rgb(255,0,0)"] * 3 + ["rgb(0,0,255)"] * 3
    (tmp_path / "own.txt").write_text("no image")
    tab.get_by_label("Your own image").set_input_files(tmp_path / "own.txt")
    tab.get_by_text("Expected an image").wait_for()
    assert cells.nth(1).get_attribute("fill") == "rgb(255,0,0)"


def test_few_pixels_are_the_mean_of_many():
    photo = rand(3, 64, 100)
    small = few_pixels(photo, 32, 48)
    assert (small.shape, small.dtype) == ((3, 32, 48), torch.uint8)
    right = photo[:, :, 2:98].unfold(1, 2, 2).unfold(2, 2, 2).mean((-1, -2))
    assert (small / 255 - right).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"photo": rand(2, 64, 96)}, "a photo with 1 or 3 channels, got 2"),
        ({"photo": rand(3, 1, 1)}, "expected a photo of more pixels, got 1 × 1"),
        ({"patch_size": 5}, r"a patch_size of \(2, 4, 8, 16\), got 5"),
        ({"photo": rand(3, 0, 96)}, "expected a photo with pixels, got 0 × 96"),
        ({"pixel": 3}, "a pixel .* inside 32 × 48, got 3"),
        ({"pixel": (1.5, 2)}, r"a pixel .* inside 32 × 48, got \(1.5, 2\)"),
        ({"pixel": (1, 2, 3)}, r"a pixel .* inside 32 × 48, got \(1, 2, 3\)"),
        ({"pixel": (32, 0)}, r"a pixel .* inside 32 × 48, got \(32, 0\)"),
    ],
)
def test_patch_explorer_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        PatchExplorer(**{"photo": rand(3, 64, 96)} | arguments)
