"""The map of many sounds: seconds to make it, and how long the page takes to load and to answer, in headless Chromium.

``python tests/benchmarks/map_speed.py [--sounds 10000]``; needs chromium and chromedriver. Vectors are random clusters.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from aasp_features.folder.map_page import write_map

# Reading a pixel back makes the browser finish what it has drawn.
TIMED = """
const pixel = canvas.getContext("2d"), times = [];
for (let round = 0; round < 15; round++) {
  const began = performance.now(); (() => { %s })(); draw(); pixel.getImageData(0, 0, 1, 1);
  times.push(performance.now() - began);
}
return times;
"""
ACTIONS = {
    "draw": "",
    "hover": "hovered = nearestTo(400 + 3 * round, 300, 14);",
    "search": "at('search').value = round % 2 ? '7' : ''; filter();",
    "select": "select(round * 97 % N, false);",
    "arrow key": "step(1, 0);",
    "zoom": "zoom(1.1, 300, 300);",
}


def clusters(sounds: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(50, 1536))
    return (centres[np.arange(sounds) % 50] + rng.normal(size=(sounds, 1536))).astype(np.float32)


def open_browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    for flag in ("headless", "no-sandbox", "disable-gpu", "window-size=1200,800", "disable-background-networking"):
        options.add_argument(f"--{flag}")
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sounds", type=int, default=10_000)
    sounds = parser.parse_args().sounds
    with tempfile.TemporaryDirectory() as name:
        page = Path(name) / "map.html"
        began = time.process_time()
        write_map(page, clusters(sounds), [{"path": f"{index % 50}/{index}.wav"} for index in range(sounds)])
        made = time.process_time() - began
        print(f"{sounds} sounds: made in {made:.0f} s of one processor, {page.stat().st_size / 1e6:.1f} MB\n")
        browser = open_browser()
        try:
            browser.get(page.as_uri())
            loaded = browser.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd")
            print(f"| action | milliseconds (fastest, median, slowest of 15) |\n|---|---|\n| load | {loaded:.0f} |")
            for action, code in ACTIONS.items():
                times = browser.execute_script(TIMED % code)
                print(f"| {action} | {min(times):.0f}, {statistics.median(times):.0f}, {max(times):.0f} |")
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
