"""The style of reports: text cannot break a page, and it fits a phone in light and dark."""

from pathlib import Path

from aasp_features.train.html_page import html_page, html_table


def test_titles_are_text() -> None:
    page = html_page('<b>$body & "x"', ["<p>one</p>", "$title"])
    assert page.count("&lt;b&gt;$body &amp; &quot;x&quot;") == 2
    assert "<p>one</p>\n$title" in page


def test_a_wide_table_of_text_fits_a_phone(browser: object, tmp_path: Path) -> None:
    rows = [["corpus", "0123456789abcdef" * 8]]
    (tmp_path / "page.html").write_text(html_page("page", [html_table(["", "run"], rows, "text")]), encoding="utf-8")
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    browser.get((tmp_path / "page.html").as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
