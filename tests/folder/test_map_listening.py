"""The map plays: files, parts, members of shards, one recording over time; in a real browser."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("sklearn")

from aasp_features.folder.map_page import map_run, write_map


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 24)).astype(np.float32)


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


def test_members_of_shards_play_from_the_shard_that_is_chosen(browser: object, tmp_path: Path) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    for index, seconds in enumerate((0.5, 0.25)):
        soundfile.write(tmp_path / f"{index}.wav", np.zeros(int(8000 * seconds)), 8000)
    shard = tmp_path / "a" / "shard.tar"
    for path in (shard, tmp_path / "b" / "shard.tar"):  # the second only has the same name
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT if path is shard else tarfile.PAX_FORMAT) as file:
            for index in (0, 1) if path is shard else (1,) * 30:
                file.add(tmp_path / f"{index}.wav", f"{index}.wav")
    table = [{"path": f"{shard}/0.wav"}, {"path": f"{shard}/1.wav"}, {"path": f"{shard}/1.wav", "start": 0.125}]
    write_map(tmp_path / "map.html", rows(4), [*table, {"path": f"{shard}/gone.wav"}])
    assert listened(browser, tmp_path / "map.html", 0)[2].startswith(f"To listen, choose {shard}; ")
    choose = browser.find_element("id", "shards")
    choose.send_keys(str(tmp_path / "b" / "shard.tar"))
    wrong = f"That is not {shard}: name and size must be the same."
    WebDriverWait(browser, 60).until(lambda _: browser.find_element("id", "note").text == wrong)
    choose.send_keys(str(shard))
    for k, seconds, start in ((0, 0.5, 0), (1, 0.25, 0), (2, 0.25, 0.125)):
        browser.execute_script(f"select({k}, false)")
        WebDriverWait(browser, 60).until(lambda _, s=seconds: browser.execute_script("return player.duration") == s)
        assert browser.execute_script("return player.currentTime") == start
    assert not choose.is_displayed()
    browser.execute_script("select(3, true)")
    assert (
        browser.find_element("id", "note").text == "No file that a browser can play was there when the map was drawn."
    )
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def test_what_does_not_play_says_why(browser: object, tmp_path: Path) -> None:
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    table = [{"path": str(tmp_path / name)} for name in ("gone.wav", "noise.wav")]
    write_map(tmp_path / "map.html", rows(2), table)
    notes = [
        "No file that a browser can play was there when the map was drawn.",
        "The browser cannot find or cannot play the file.",
    ]
    for k, note in enumerate(notes):
        assert listened(browser, tmp_path / "map.html", k) == [table[k]["path"], table[k]["path"], note]
        assert browser.find_element("id", "player").is_displayed() == (k == 1)


def test_one_recording_over_time(browser: object, checkpoint: Path, tmp_path: Path) -> None:
    """A click on the timeline plays from there, keys move along it, and the map follows what is played."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    from aasp_features import AaSPEncoder
    from aasp_features.folder import RunOptions, embed_sounds, find_sounds

    soundfile.write(tmp_path / "long.wav", 0.1 * rows(4000).ravel(), 16000)  # 6 s
    encoder = AaSPEncoder.from_pretrained(checkpoint)
    found = find_sounds([tmp_path / "long.wav"])
    embed_sounds(encoder, found, tmp_path / "emb.npy", RunOptions(frames=True))
    map_run(tmp_path / "emb.npy", tmp_path / "map.html")
    browser.get((tmp_path / "map.html").as_uri())
    starts = browser.execute_script("return data.parts.map(([start]) => start)")
    np.testing.assert_allclose(
        starts[:-1], 0.16 * np.arange(37) + 0.0075, atol=1e-6
    )  # a column's centre less half a hop
    band = browser.find_element("id", "timeline")
    ActionChains(browser).move_to_element_with_offset(band, 0, -20).click().perform()
    clicked = browser.execute_script("return selected")
    assert starts[clicked] == pytest.approx(3, abs=0.2)
    assert browser.find_element("id", "note").text == f"{starts[clicked]:.2f} to {starts[clicked] + 0.16:.2f} s"
    WebDriverWait(browser, 60).until(lambda _: browser.execute_script("return hovered") > clicked)
    WebDriverWait(browser, 60).until(lambda _: browser.execute_script("return player.ended"))
    assert browser.execute_script("return hovered") >= 36
    band.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert browser.execute_script("return selected") == clicked + 1
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
