"""Draw the social card and the README's screenshot from the built book."""

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from address import ROOT
from book import HTML
from browser import chromium
from site_server import serving
from vit_encoder.figures import encoder_map

STATIC = ROOT / "book" / "_static"
CARD = """<style>
body {{ margin: 0; width: 1200px; height: 630px; display: flex; align-items: center;
       background: #2a1440; color: #fff; font: 34px/1.4 system-ui, sans-serif; }}
main {{ width: 660px; padding-left: 80px; }}
h1 {{ font-size: 78px; line-height: 1.05; margin: 0 0 32px; }}
.vit-map svg {{ height: 590px !important; width: 300px !important; }}
</style>
<main><h1>Inside the ViT Encoder</h1>
Build it by hand, in PyTorch, part by part. Prove every part right.</main>
{drawing}"""


def main() -> None:
    """Write both pictures."""
    with chromium() as browser, serving(HTML) as site:
        shoot_card(browser, STATIC / "card.png")
        shoot_page(browser, f"{site}index.html")


def shoot_card(browser: Browser, path: Path) -> None:
    """The picture that a link to the course shows."""
    tab = browser.new_page(viewport={"width": 1200, "height": 630})
    tab.set_content(CARD.format(drawing=encoder_map()._repr_html_()))
    save(tab.screenshot(), path)


def shoot_page(browser: Browser, url: str) -> None:
    """The first page, with the figure in which the ViT is at work."""
    tab = browser.new_page(
        viewport={"width": 1280, "height": 860}, reduced_motion="reduce"
    )
    tab.goto(url, wait_until="networkidle")
    tab.locator(".work-thumbs").wait_for()
    save(tab.screenshot(), STATIC / "screenshot.png")


def save(png: bytes, path: Path) -> None:
    """Write a PNG as small as it gets without loss."""
    Image.open(io.BytesIO(png)).convert("RGB").save(path, optimize=True)
    print(f"drew  {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
