"""Renders the demo's screenshots and takes their true text from the page itself.

Run by hand whenever a page in `media/screens` changes, never by the demo:
`python -m infra.demo.render_screens`. Needs Chromium and the fonts Roboto, Liberation, DejaVu
and Noto Sans.
"""

import html
import json
import re
import subprocess
import tempfile
from pathlib import Path

SCREENS = Path(__file__).parent / "media" / "screens"
WIDTH_PX, HEIGHT_PX = 1920, 1080
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    f"--window-size={WIDTH_PX},{HEIGHT_PX}",
)
# The text as it is laid out, and whatever of it lies outside the picture.
TAKE_TEXT = """
<script>
const outside = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const node = walk.currentNode;
  if (!node.data.trim() || node.parentElement.tagName === "SCRIPT") continue;
  const range = document.createRange();
  range.selectNodeContents(node);
  const box = range.getBoundingClientRect();
  if (box.left < 0 || box.top < 0 || box.right > WIDTH || box.bottom > HEIGHT) {
    outside.push(node.data.trim());
  }
}
const text = document.body.innerText;
document.documentElement.setAttribute("data-truth", JSON.stringify({text, outside}));
</script>
"""


def chromium(page: Path, *args: str) -> str:
    """Open a page in a browser of its own and give back what it printed."""
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(  # whichever the machine has # nosec B607
            ["chromium", *FLAGS, f"--user-data-dir={profile}", *args, page.as_uri()],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    return done.stdout


def visible_lines(page: Path) -> list[str]:
    """The page's text, line by line as it is laid out.

    Raises ValueError if any of it lies outside the picture.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / page.name
        script = TAKE_TEXT.replace("WIDTH", str(WIDTH_PX)).replace("HEIGHT", str(HEIGHT_PX))
        copy.write_text(page.read_text().replace("</body>", script + "</body>"))
        dom = chromium(copy, "--dump-dom")
    found = re.search(r'data-truth="([^"]*)"', dom)
    if found is None:
        raise ValueError(f"{page.name}: the page gave no text")
    truth = json.loads(html.unescape(found.group(1)))
    if truth["outside"]:
        raise ValueError(f"{page.name}: outside the picture: {truth['outside']}")
    lines = (re.sub(r"\s+", " ", line).strip() for line in truth["text"].splitlines())
    return [line for line in lines if line]


def main() -> None:
    """Render every page and write `truth.json`."""
    truth = {}
    for page in sorted(SCREENS.glob("*.html")):
        chromium(page, f"--screenshot={page.with_suffix('.png')}")
        truth[page.stem] = visible_lines(page)
    (SCREENS / "truth.json").write_text(json.dumps(truth, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
