"""The map: numbers against plain formulas, names that try to break out, and the page in a real browser."""

import json
import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import soundfile

pytest.importorskip("sklearn")

from aasp_features.folder.map_page import folders, map_run, neighbours, project, write_map


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
    assert np.isfinite(project(np.ones((12, 8), np.float32), seed=0)).all()


def test_clusters_stay_together() -> None:
    vectors = np.repeat(rows(3), 20, axis=0) + 0.05 * rows(60, seed=1)
    places = project(vectors, seed=0).reshape(3, 20, 2)
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


def test_folders() -> None:
    assert folders(["/a/b/x.wav", "/a/b/c/y.wav", "/a/b/c/d/z.wav", "/a/b/e/w.wav"]) == ["", "c", "c", "e"]
    assert folders(["/a/x.wav"]) == [""]


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


def listened(browser: object, page: Path, k: int) -> list:
    """Click on a row's point, let its sound end, and return its tooltip, its name, and what is noted below the name."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.support.wait import WebDriverWait

    browser.get(page.as_uri())
    canvas = browser.find_element("id", "map")
    x, y = browser.execute_script(f"return place({k})")
    there = x - canvas.size["width"] / 2, y - canvas.size["height"] / 2
    ActionChains(browser).move_to_element_with_offset(canvas, *map(int, there)).click().perform()
    WebDriverWait(browser, 60).until(lambda _: browser.execute_script("return player.paused || player.error"))
    return [browser.find_element("id", name).text for name in ("tip", "name", "note")]


def test_parts_show_their_times_and_end(browser: object, tmp_path: Path) -> None:
    """Also when they are played again, where a browser would go on to the end of the file."""
    from selenium.webdriver.support.wait import WebDriverWait

    soundfile.write(tmp_path / "long.wav", np.zeros(8000 * 70, np.float32), 8000)
    table = [{"path": str(tmp_path / "long.wav"), "start": start, "end": start + 0.25} for start in (0.0, 0.5, 61.5)]
    write_map(tmp_path / "map.html", rows(4), [*table, {"path": str(tmp_path / "long.wav"), "start": 1.0}])
    tip, name, note = listened(browser, tmp_path / "map.html", 2)
    assert (name, note) == (str(tmp_path / "long.wav"), "1:01.50 to 1:01.75 s")
    assert tip == f"{name}, {note}"
    assert {
        button.text.split("long.wav, ")[1].split("\n")[0]
        for button in browser.find_elements("css selector", "#list button")
    } == {
        "0.00 to 0.25 s",
        "0.50 to 0.75 s",
        "from 1.00 s",
    }
    for _ in range(2):
        assert browser.execute_script("return player.currentTime") == 61.5
        browser.execute_script(
            "window.last = 0; player.ontimeupdate = () => { last = player.currentTime }; player.play()"
        )
        WebDriverWait(browser, 60).until(lambda _: browser.execute_script("return player.paused && last == 61.5"))


def test_members_of_shards_say_why_they_do_not_play(browser: object, tmp_path: Path) -> None:
    (tmp_path / "a.tar").touch()
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    table = [{"path": str(tmp_path / name)} for name in ("a.tar/x/y.wav", "gone.wav", "noise.wav")]
    write_map(tmp_path / "map.html", rows(3), table)
    said = f"A browser cannot play a sound inside a shard, here {tmp_path / 'a.tar'}. "
    notes = [said + "To listen, unpack the shard and map its folder.", "The file was not there when the map was drawn."]
    for k, note in enumerate([*notes, "The browser cannot find or cannot play the file."]):
        assert listened(browser, tmp_path / "map.html", k) == [table[k]["path"], table[k]["path"], note]
        assert browser.find_element("id", "player").is_displayed() == (k == 2)
