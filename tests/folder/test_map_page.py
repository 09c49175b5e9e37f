"""The map: numbers against plain formulas, names that try to break out, and the page in a real browser."""

import base64
import json
import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import soundfile

pytest.importorskip("sklearn")

from aasp_features.folder.map_colours import Colouring
from aasp_features.folder.map_page import (
    check_frames,
    components,
    compressed,
    map_run,
    neighbours,
    pictures,
    project,
    timeline,
    write_map,
)
from aasp_features.options import OptionError
from aasp_features.sounds.sound import Sound


def read(page: Path) -> dict:
    return json.loads(re.search(r'type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)[1])


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 24)).astype(np.float32)


def test_neighbours_against_the_plain_formula() -> None:
    vectors = rows(40)
    indices, cosines = neighbours(vectors)
    for row in range(40):
        plain = [a @ vectors[row] / np.linalg.norm(a) / np.linalg.norm(vectors[row]) for a in vectors]
        expected = sorted((other for other in range(40) if other != row), key=lambda other: -plain[other])[:10]
        assert indices[row].tolist() == expected
        np.testing.assert_allclose(cosines[row], [plain[other] for other in expected], atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 30])
def test_any_number_of_sounds(count: int, tmp_path: Path) -> None:
    table = [{"path": f"{index}.wav"} for index in range(count)]
    write_map(tmp_path / "a.html", rows(count), table)
    write_map(tmp_path / "b.html", rows(count), table)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    data = read(tmp_path / "a.html")
    places = np.array(data["places"])
    assert places.shape == (count, 2)
    assert ((places >= 0) & (places <= 1)).all()
    assert [len(near) for near in data["nearest"]] == [min(10, count - 1)] * count


def test_equal_vectors_do_not_break_the_projection() -> None:
    assert np.isfinite(project(components(np.ones((12, 8), np.float32), 0), 0)).all()


def test_clusters_stay_together() -> None:
    vectors = np.repeat(rows(3), 20, axis=0) + 0.05 * rows(60, seed=1)
    places = project(components(vectors, 0), 0).reshape(3, 20, 2)
    within = max(np.linalg.norm(cluster - cluster.mean(axis=0), axis=1).max() for cluster in places)
    centres = places.mean(axis=1)
    assert min(np.linalg.norm(centres[a] - centres[b]) for a, b in [(0, 1), (0, 2), (1, 2)]) > within


def test_names_cannot_break_out_and_links_lead_home(tmp_path: Path) -> None:
    names = ["</script><b>.wav", "a b#?%.wav", os.fsdecode(b"caf\xe9.wav"), "&amp;.wav"]
    (tmp_path / "sounds").mkdir()
    files = [tmp_path / "sounds" / name.replace("/", "_") for name in names]
    for file in files:
        file.touch()
    write_map(tmp_path / "map.html", rows(4), [{"path": str(file), "start": 1.5, "end": 2.0} for file in files])
    text = (tmp_path / "map.html").read_text()
    assert text.count("</script>") == 2
    assert not re.search(r"(src|href)=|https?://", text)
    for file, address in zip(files, read(tmp_path / "map.html")["sounds"], strict=True):
        link, part = address.split("#")
        assert os.path.join(os.fsencode(tmp_path), unquote_to_bytes(link)) == os.fsencode(file)
        assert part == "t=1.5,2"


def test_components_and_their_compression() -> None:
    """Cosines of what the page has, against those of the vectors from which their mean is taken."""
    vectors = np.random.default_rng(0).normal(size=(30, 24)).astype(np.float32)
    reduced = components(vectors, 0)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    np.testing.assert_allclose(reduced @ reduced.T, centred @ centred.T, atol=1e-5)
    stored = np.frombuffer(base64.b64decode(compressed(reduced)), np.int8).reshape(reduced.shape)
    np.testing.assert_allclose(stored * (np.abs(reduced).max() / 127), reduced, atol=np.abs(reduced).max() / 253)


def test_pictures_against_the_frontend(tmp_path: Path) -> None:
    """A tone that jumps up after half of the sound; parts have their own; what cannot be read has a blank one."""
    time = np.arange(16000) / 16000
    soundfile.write(tmp_path / "jump.wav", 0.5 * np.sin(2 * np.pi * np.where(time < 0.5, 400, 4000) * time), 16000)
    soundfile.write(tmp_path / "low.wav", 0.5 * np.sin(2 * np.pi * 400 * time[:8000]), 16000)
    sounds = [Sound(tmp_path / "jump.wav"), Sound(tmp_path / "jump.wav", None, 0.5)]
    sounds += [Sound(tmp_path / "low.wav"), Sound(tmp_path / "gone.wav")]
    drawn: list[float] = []
    stored = np.frombuffer(base64.b64decode(pictures(sounds, lambda rows: drawn.append)), np.uint8).reshape(4, -1)
    assert sum(drawn) == 4
    jump = np.stack([stored[0] >> 4, stored[0] & 15], axis=1).reshape(48, 24)
    loudest = jump.argmax(axis=1)
    assert (loudest[:20] < 10).all()
    assert (loudest[28:] > 14).all()
    assert jump.max() == 15
    np.testing.assert_array_equal(stored[1], stored[2])
    assert not stored[3].any()


def test_a_timeline_against_the_frontend(tmp_path: Path) -> None:
    """A tone that jumps up after 6 of 10 seconds; the columns divide the whole recording, not its parts."""
    time = np.arange(160_000) / 16000
    soundfile.write(tmp_path / "jump.wav", 0.5 * np.sin(2 * np.pi * np.where(time < 6, 400, 4000) * time), 16000)
    drawn = timeline([Sound(tmp_path / "jump.wav", start, start + 1) for start in (2.0, 3.0)])
    columns, bands = drawn["size"]
    assert columns * drawn["step"] == pytest.approx(10, abs=drawn["step"])
    stored = np.frombuffer(base64.b64decode(drawn["bytes"]), np.uint8)
    loudest = np.stack([stored >> 4, stored & 15], axis=1).reshape(columns, bands).argmax(axis=1)
    jump = int(6 / drawn["step"])
    assert loudest[: jump - 1].max() < loudest[jump + 1 :].min()
    assert timeline([Sound(tmp_path / "gone.wav", start) for start in (2.0, 3.0)]) is None


def test_only_one_recording_in_order_is_over_time(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", rows(1000)[:, 0], 8000)
    a, b = (
        [{"path": str(tmp_path / name), "time": time, "start": time} for time in (0.0, 0.05)]
        for name in ("a.wav", "b.wav")
    )
    for table, over_time in ((a, True), (a[::-1], False), ([a[0], b[1]], False), ([a[0], a[0]], False)):
        write_map(tmp_path / "map.html", rows(2), table)
        data = read(tmp_path / "map.html")
        assert (data["timeline"] is not None) == over_time
        assert ("time" in [one["title"] for one in data["colourings"]]) == over_time
    check_frames([Sound(tmp_path / "a.wav")], 0.16)
    soundfile.write(tmp_path / "long.wav", np.zeros(720 * 100, np.float32), 100)
    with pytest.raises(
        OptionError, match=r"shows at most 50000 frames, 0.1 hours at a hop of 0.01 s, got 0.2 hours; use"
    ):
        check_frames([Sound(tmp_path / "long.wav")], 0.01)


@pytest.mark.slow
def test_ten_thousand_sounds(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(10_000, 1536)).astype(np.float32)
    write_map(tmp_path / "map.html", vectors, [{"path": f"{index % 50}/{index}.wav"} for index in range(10_000)])
    assert len(read(tmp_path / "map.html")["places"]) == 10_000


def test_in_a_browser(browser: object, sounds: Path, checkpoint: Path, tmp_path: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    from aasp_features import AaSPEncoder
    from aasp_features.folder.run import embed_sounds
    from aasp_features.sounds.discovery import find_sounds

    embed_sounds(AaSPEncoder.from_pretrained(checkpoint), find_sounds([sounds]), tmp_path / "emb.npy")
    map_run(tmp_path / "emb.npy", tmp_path / "map.html")
    browser.get((tmp_path / "map.html").as_uri())

    def text(name: str) -> str:
        return browser.find_element("id", name).text

    assert text("count") == "12 sounds"
    browser.find_element("css selector", "body").send_keys("/")
    browser.switch_to.active_element.send_keys("music")
    assert text("count") == "4 of 12 sounds"
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert text("count") == "12 sounds"
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    first = text("name")
    browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN, Keys.ARROW_LEFT)
    assert first.startswith(str(sounds))
    x, y = browser.execute_script("return place(7)")
    canvas = browser.find_element("id", "map")
    size = canvas.size
    ActionChains(browser).move_to_element_with_offset(
        canvas, int(x - size["width"] / 2), int(y - size["height"] / 2)
    ).click().perform()
    data = read(tmp_path / "map.html")
    assert text("name") == data["names"][7]
    listed = browser.find_elements("css selector", "#list button")
    assert [button.get_attribute("title") for button in listed] == [data["names"][k] for k in data["nearest"][7]]
    assert browser.execute_script("return player.src").endswith(data["sounds"][7].split("/")[-1])
    listed[0].click()
    assert text("name") == data["names"][data["nearest"][7][0]]
    browser.find_elements("css selector", "#legend button")[0].click()
    assert text("count") == "8 of 12 sounds"
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def test_labelling(browser: object, tmp_path: Path) -> None:
    """Two kinds of sounds: one mark finds the rest of its kind, keys confirm and reject, and undo takes back."""
    from selenium.webdriver.common.action_chains import ActionChains

    kinds = np.arange(60) % 3
    vectors = np.eye(24, dtype=np.float32)[kinds] + 0.1 * rows(60)
    names = [f"{'abc'[kind]}{index}.wav" for index, kind in enumerate(kinds)]
    write_map(tmp_path / "map.html", vectors, [{"path": name} for name in names])
    browser.get((tmp_path / "map.html").as_uri())

    def press(*keys: str) -> None:
        ActionChains(browser).send_keys(*keys).perform()

    def marked() -> str:
        return browser.find_element("id", "marked").text

    browser.execute_script("select(0, false)")
    browser.find_element("id", "mark").click()
    assert marked() == "Name the class first."
    browser.find_element("id", "label").send_keys("bell")
    browser.find_element("id", "rank").click()
    assert marked().startswith("Mark some sounds of the class first")
    browser.find_element("id", "mark").click()
    assert marked() == "1 bell"
    browser.find_element("id", "rank").click()
    for _ in range(12):
        row = browser.execute_script("return selected")
        press("y" if kinds[row] == 0 else "n")
    assert marked() == "13 bell"  # all twelve were of the kind
    order = browser.execute_script("return rank('bell').map(([row]) => row)")
    assert {int(kinds[row]) for row in order[:7]} == {0}
    press("n")
    rejected = browser.execute_script(
        "return [...against].filter(([, names]) => names.has('bell')).map(([row]) => row)"
    )
    assert rejected == order[:1]
    press("u", "u")
    assert marked() == "12 bell"
    table = browser.execute_script("return table()").splitlines()
    assert table[0] == "file,label"
    assert len(table) == 13
    assert all(line.endswith(",bell") and Path(line.partition(",")[0]).name.startswith("a") for line in table[1:])
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def test_colours_names_search_and_lasso(browser: object, tmp_path: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    vectors = np.repeat(np.eye(24, dtype=np.float32)[:2], 10, axis=0) + 0.05 * rows(20)
    names = [f"{kind}_{index}.wav" for kind in ("dog", "rain") for index in range(10)]
    labels = [Colouring("site", ["north", "south"] * 10)]
    write_map(tmp_path / "map.html", vectors, [{"path": name} for name in names], labels=labels)
    browser.get((tmp_path / "map.html").as_uri())

    def legend() -> list[str]:
        return [button.text for button in browser.find_elements("css selector", "#legend button")]

    assert legend() == ["north", "south"]
    by = browser.find_element("id", "by")
    assert [option.text for option in by.find_elements("tag name", "option")] == ["site", "cluster"]
    by.send_keys("cluster")
    assert {name.partition(" ")[0] for name in legend()} == {"dog", "rain"}
    search = browser.find_element("id", "search")
    search.send_keys("rain", Keys.ENTER)
    matches = browser.find_elements("css selector", "#matches button")
    assert [button.get_attribute("title") for button in matches] == names[10:]
    matches[3].click()
    assert browser.find_element("id", "name").text == names[13]
    browser.find_element("id", "label").send_keys("wet")
    corners = browser.execute_script(
        "const points = data.places.slice(10).map(onScreen), xs = points.map(p => p[0]), ys = points.map(p => p[1]);"
        "return [Math.min(...xs) - 9, Math.min(...ys) - 9, Math.max(...xs) + 9, Math.max(...ys) + 9].map(Math.round)"
    )
    left, top, right, bottom = corners
    canvas = browser.find_element("id", "map")
    middle = canvas.size["width"] // 2, canvas.size["height"] // 2
    chain = ActionChains(browser).key_down(Keys.SHIFT)
    for step, (x, y) in enumerate([(left, top), (right, top), (right, bottom), (left, bottom)]):
        chain.move_to_element_with_offset(canvas, x - middle[0], y - middle[1])
        if step == 0:
            chain.click_and_hold()
    chain.release().key_up(Keys.SHIFT).perform()
    assert browser.find_element("id", "marked").text == "10 wet"
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def test_every_format_has_a_map(sounds: Path, checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from aasp_features import AaSPEncoder
    from aasp_features.folder import embed_sounds, find_sounds

    encoder, found = AaSPEncoder.from_pretrained(checkpoint), find_sounds([sounds / "music"])
    pages = []
    for ending in (".npy", ".npz", ".parquet"):
        embed_sounds(encoder, found, tmp_path / f"emb{ending}", overwrite=True)
        map_run(tmp_path / f"emb{ending}", tmp_path / "map.html")
        pages.append(read(tmp_path / "map.html"))
    assert all({**page, "of": ""} == {**pages[0], "of": ""} for page in pages)
