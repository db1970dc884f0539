"""A real browser: headless Chromium, asked for a page's measures and for pictures of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE, DESK = (390, 844), (1280, 900)

_QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]

_MEASURE = """<script>addEventListener("load", () => {
  const text = getComputedStyle(document.body), wide = document.documentElement.scrollWidth;
  const boxes = [...document.querySelectorAll("h1,h2,h3,p,dd,.card,.panel")];
  const out = {wide, room: innerWidth, paper: text.backgroundColor, ink: text.color, size: text.fontSize,
    beyond: boxes.filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.textContent.slice(0, 60)),
    curves: [...document.querySelectorAll("polyline")].map(each => each.getBBox().width),
    bars: [...document.querySelectorAll(".progress rect")].map(each => each.getBoundingClientRect().width),
    titles: [...document.querySelectorAll("h1,h2,h3")].map(each => each.firstChild.textContent)};
  const told = document.createElement("pre"); told.id = "measured"; told.textContent = JSON.stringify(out);
  document.body.append(told);
});</script>"""


def measure(page: str, folder: Path, size: tuple[int, int], *, dark: bool = False) -> dict[str, Any]:
    """What the browser makes of a page: its width, its colours, what doesn't fit. A script is added for that alone."""
    file = folder / "measured.html"
    shown = re.sub(r'<meta http-equiv="refresh"[^>]*>', "", page)
    # A window of Chromium's is never narrower than 500 pixels; a frame is.
    frame = (
        f'<iframe width="{size[0]}" height="{size[1]}" style="border:0" srcdoc="{_quoted(shown + _MEASURE)}"></iframe>'
    )
    told = '<script>addEventListener("load", () => setTimeout(() => { document.title = "told"; const found = '
    told += 'document.querySelector("iframe").contentDocument.getElementById("measured").textContent; '
    told += 'const out = document.createElement("pre"); out.id = "outer"; out.textContent = found; '
    told += "document.body.append(out); }, 200));</script>"
    file.write_text(f"<!DOCTYPE html><body>{frame}{told}")
    dumped = _run(folder, size, dark, "--virtual-time-budget=3000", "--dump-dom", file.as_uri())
    found = re.search(r'<pre id="outer">(.*?)</pre>', dumped, re.DOTALL)
    assert found is not None, dumped[-2000:]
    return dict(json.loads(unescape(found[1])))


def picture(url: str, file: Path, size: tuple[int, int], *, dark: bool = False) -> bytes:
    """A PNG of a page as it is served."""
    _run(file.parent, size, dark, "--hide-scrollbars", f"--screenshot={file}", url)
    return file.read_bytes()


def _quoted(page: str) -> str:
    return page.replace("&", "&amp;").replace('"', "&quot;")


def _run(folder: Path, size: tuple[int, int], dark: bool, *words: str) -> str:
    assert PROGRAM is not None
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]
    options = [*_QUIET, *scheme, f"--user-data-dir={folder}/profile", f"--window-size={size[0]},{size[1]}"]
    ended = subprocess.run([PROGRAM, *options, *words], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout
