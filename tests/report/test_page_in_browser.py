"""The report in a real browser: opened from a file, without a network, by mouse and by keyboard."""

import io
import json
import shutil
import time

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector
from vae_anomaly.report import write_report

pytestmark = pytest.mark.browser
DESKTOP, PHONE = (1280, 900), (390, 844)
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # root in a container has none
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser():
    """Chromium without a network; its messages and requests are logged."""
    webdriver = pytest.importorskip("selenium.webdriver")
    programs = shutil.which("chromium"), shutil.which("chromedriver")
    assert all(programs), "install chromium and chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for option in OPTIONS:
        options.add_argument(option)
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A report in which the tenth row is anomalous, with names that would be code if they were not escaped."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=150)
    frame = pd.DataFrame(
        {
            "<script>window.pwned = 1</script>": size,
            "a_very_long_name_that_does_not_fit_in_one_line_on_a_phone": 3 * size + 0.1 * rng.normal(size=150),
            "build": np.where(size > 0, "<img src=x onerror='window.pwned = 1'>", "small"),
        }
    )
    frame.iloc[9, 1] = 40.0
    known = pd.DataFrame({"name": [f"</script><script>window.pwned = 1</script> {row}" for row in range(150)]})
    path = tmp_path_factory.mktemp("reports") / "<b>report.html"
    detector = VAEDetector(max_iter=60, random_state=0).fit(frame)
    write_report(detector, frame, path, title="<script>window.pwned = 1</script>", keep=known, top=50)
    return path.as_uri()


@pytest.fixture
def page(browser, address):
    """The report, just opened on a desktop."""
    resize(browser, DESKTOP)
    browser.get_log("performance")
    browser.get(address)
    return browser


def resize(browser, size):
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def find(page, selector):
    return page.find_element("css selector", selector)


def shown_rows(page):
    bodies = page.find_elements("css selector", "#rows > tbody")
    return [body for body in bodies if body.is_displayed()]


def column(page, index):
    """Texts of one column, of the rows that are shown."""
    return page.execute_script(
        "const bodies = [...document.querySelectorAll('#rows > tbody')].filter((body) => body.getClientRects().length);"
        "return bodies.map((body) => body.rows[0].cells[arguments[0]].innerText.trim());",
        index,
    )


def choose(page, value):
    """Choose which rows the table shows."""
    find(page, f"#show option[value='{value}']").click()


def header(page, name):
    headers = page.find_elements("css selector", "#rows > thead th")
    return next(found for found in headers if found.text.startswith(name))


def reasons_of(body):
    return body.find_element("css selector", "tr.reasons")


def press(page, key):
    page.switch_to.active_element.send_keys(key)


def test_it_loads_nothing_and_logs_no_error(page, address):
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert {url.partition("#")[0] for url in asked} == {address}
    assert page.get_log("browser") == []


def test_names_and_values_are_text(page):
    assert page.execute_script("return window.pwned") is None
    assert page.title == "<script>window.pwned = 1</script>"
    assert find(page, ".about").text.startswith(f"{page.title}, ")
    assert find(page, "h1").text.endswith("of 150 rows need a look")
    assert column(page, 1)[0] == "</script><script>window.pwned = 1</script> 9"
    assert page.find_elements("css selector", "main img, main script") == []


def test_a_script_that_is_not_the_page_s_own_does_not_run(page):
    evil = "<img src='http://example.com/'><b id='evil' onclick='window.pwned = 1'>x</b>"
    page.execute_script("document.body.insertAdjacentHTML('beforeend', arguments[0])", evil)
    page.execute_script("document.getElementById('evil').click()")
    assert page.execute_script("return window.pwned") is None
    assert all("Content Security Policy" in entry["message"] for entry in page.get_log("browser"))


def test_rows_sort_as_numbers_both_ways(page):
    choose(page, "all")
    assert header(page, "Severity").get_attribute("aria-sort") == "descending"
    rows = sorted(int(row) for row in column(page, 0))
    assert rows != sorted(rows, key=str)
    for order in ("ascending", "descending"):
        header(page, "Row").find_element("tag name", "button").click()
        assert [int(row) for row in column(page, 0)] == (rows if order == "ascending" else rows[::-1])
        assert header(page, "Row").get_attribute("aria-sort") == order
        assert header(page, "Severity").get_attribute("aria-sort") is None


@pytest.mark.parametrize("index, name", [(1, "name"), (2, "Severity"), (4, "What")])
def test_every_column_sorts_both_ways(page, index, name):
    choose(page, "all")
    button = header(page, name).find_element("tag name", "button")
    button.click()
    ascending = column(page, index)
    button.click()
    descending = column(page, index)
    assert len(set(ascending)) > 1
    assert ascending == descending[::-1]
    if name == "Severity":
        numbers = [float(number.strip("<")) for number in ascending]
        assert numbers == sorted(numbers)


def test_reasons_stay_with_their_row_when_rows_are_sorted(page):
    find(page, "#row-10 button").click()
    header(page, "Row").find_element("tag name", "button").click()
    body = find(page, "#row-10")
    assert reasons_of(body).is_displayed()
    assert reasons_of(body).text.startswith("Row 10 ")


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=str)
def test_the_filter_keeps_rows_that_contain_the_text(page, size):
    resize(page, size)
    choose(page, "all")
    (first, *_), total = column(page, 0), len(shown_rows(page))
    find(page, "#filter").send_keys(f"</SCRIPT> {int(first) - 1}")
    left = column(page, 0)
    assert first in left
    assert 0 < len(left) < total
    assert find(page, "#shown").text == f"{len(left)} of {total} rows contain this text"
    find(page, "#filter").clear()
    find(page, "#filter").send_keys("no such text")
    assert shown_rows(page) == []
    assert find(page, "#shown").text == f"0 of {total} rows contain this text"


def test_a_click_on_a_row_shows_its_reasons_and_another_hides_them(page):
    body = shown_rows(page)[0]
    cell = body.find_element("css selector", "td.main-reasons")
    cell.click()
    assert reasons_of(body).is_displayed()
    bars = [bar.rect["width"] for bar in reasons_of(body).find_elements("css selector", "td.bar i")]
    assert bars[0] == max(bars) > 100
    assert "a_very_long_name_that_does_not_fit_in_one_line_on_a_phone 40" in reasons_of(body).text
    cell.click()
    assert not reasons_of(body).is_displayed()


@pytest.mark.parametrize("key", ["\ue007", "\ue006", " "], ids=["enter", "return", "space"])
def test_the_keyboard_opens_a_row(page, key):
    button = find(page, "#row-10 button")
    page.execute_script("document.getElementById('filter').focus()")
    for _ in range(40):  # tabs from the filter over the headers to the first row
        press(page, "\ue004")
        if page.switch_to.active_element == button:
            break
    assert button.get_attribute("aria-expanded") == "false"
    press(page, key)
    assert button.get_attribute("aria-expanded") == "true"
    assert reasons_of(find(page, "#row-10")).is_displayed()


def test_a_click_on_a_flagged_dot_opens_its_row(page):
    find(page, "#filter").send_keys("no such text")
    page.execute_script(
        "document.querySelector('[data-row=\"10\"]').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    assert reasons_of(find(page, "#row-10")).is_displayed()
    assert page.switch_to.active_element == find(page, "#row-10 button")


def test_a_link_can_open_a_row(browser, address):
    browser.get("about:blank")
    browser.get(f"{address}#row-10")
    assert reasons_of(find(browser, "#row-10")).is_displayed()


@pytest.mark.parametrize("size", [(320, 640), PHONE, (768, 1024), DESKTOP], ids=str)
def test_the_page_is_no_wider_than_the_window(page, size):
    resize(page, size)
    page.refresh()
    find(page, "#row-10 button").click()
    assert page.execute_script("return document.documentElement.scrollWidth") <= size[0]
    cut = (
        "return [...document.querySelectorAll('.scroll *')].filter((part) => part.getBoundingClientRect().right >"
        " innerWidth).map((part) => part.outerHTML.slice(0, 200))"
    )
    assert page.execute_script(cut) == []  # nothing to scroll to


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_contrasts_with_its_background(page, scheme):
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    colours = page.execute_script(
        "const style = getComputedStyle(document.documentElement);"
        "const names = ['paper', 'page', 'hover', 'ink', 'quiet', 'flagged-ink', 'model', 'good', 'look', 'bad'];"
        "return names.map((name) => style.getPropertyValue('--' + name).trim());"
    )
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    backgrounds, inks = colours[:3], colours[3:]
    assert min(contrast(ink, background) for ink in inks for background in backgrounds) >= 4.5  # WCAG 2, level AA


def contrast(first, second):
    """Ratio of the relative luminances of two colours, from 1 to 21."""
    values = np.array([[int(colour[start : start + 2], 16) for start in (1, 3, 5)] for colour in (first, second)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    darker, lighter = np.sort(linear @ [0.2126, 0.7152, 0.0722])
    return (lighter + 0.05) / (darker + 0.05)


def test_in_print_the_first_rows_are_open_and_there_are_no_controls(page):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    opened = [reasons_of(body).is_displayed() for body in shown_rows(page)]
    controls = [find(page, selector).is_displayed() for selector in ("nav", ".tools")]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    n_open = min(10, len(opened))
    assert opened == [True] * n_open + [False] * (len(opened) - n_open)
    assert controls == [False, False]


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """A report in which the first eight rows have one cause, which breaks the rule between two columns."""
    rng = np.random.default_rng(0)
    net = rng.uniform(40, 80, 300)
    frame = pd.DataFrame({"net": net, "total": 1.2 * net, "note": rng.choice(["a", "b"], 300)})
    frame.loc[:7, "total"] *= 100
    frame.loc[8, "note"] = '=cmd(), "quoted"\nsecond line </template><script>window.pwned = 1</script>'
    path = tmp_path_factory.mktemp("reports") / "grouped.html"
    write_report(VAEDetector(random_state=0).fit(frame), frame, path, alerts=9, top=40, compare=False)
    return path.as_uri(), frame


def opened(browser, address):
    resize(browser, DESKTOP)
    browser.get(address)
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    return browser


def downloaded(page, folder, button):
    """Text of the file that a button saves."""
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    find(page, button).click()
    for _ in range(100):
        if found := [path for path in folder.iterdir() if path.suffix == ".csv"]:
            return found[0].read_text(encoding="utf-8-sig")
        time.sleep(0.05)
    raise AssertionError("nothing was saved")


def test_a_few_rows_of_a_pattern_are_shown_and_its_button_shows_all(browser, grouped):
    page = opened(browser, grouped[0])
    assert {*column(page, 0)} < {*map(str, range(1, 10))}
    assert len(shown_rows(page)) == 6  # five of the pattern, and the row with reasons of its own
    find(page, "#pattern-1 button.show").click()
    assert {*column(page, 0)} == {*map(str, range(1, 9))}
    choose(page, "0")
    assert column(page, 0) == ["9"]


def test_verdicts_are_kept_and_saved_as_csv(browser, grouped, tmp_path):
    page = opened(browser, grouped[0])
    choose(page, "flagged")
    find(page, "#pattern-1 select.judge option:nth-child(2)").click()
    find(page, "#row-9 select.judge option:nth-child(3)").click()
    assert not reasons_of(find(page, "#row-9")).is_displayed()  # a verdict opens nothing
    find(page, "#row-2 select.judge option:nth-child(1)").click()
    page.refresh()
    assert find(page, "#row-1 select.judge").get_attribute("value") == "error"
    assert find(page, "#pattern-1 select.judge").get_attribute("value") == ""  # its rows differ
    saved = pd.read_csv(io.StringIO(downloaded(page, tmp_path, "#verdicts-csv")))
    assert list(saved) == ["row", "verdict"]
    assert dict(saved.to_numpy().tolist()) == dict.fromkeys((1, 3, 4, 5, 6, 7, 8), "error") | {9: "normal"}


def test_the_flagged_rows_are_saved_as_they_are_but_formulas(browser, grouped, tmp_path):
    address, frame = grouped
    page = opened(browser, address)
    saved = pd.read_csv(io.StringIO(downloaded(page, tmp_path, "#rows-csv"))).set_index("row").sort_index()
    assert saved.index.tolist() == list(range(1, 10))
    assert saved["total"].tolist() == frame["total"][:9].tolist()
    assert saved["note"].tolist() == [*frame["note"][:8], f"'{frame['note'][8]}"]
    assert page.execute_script("return window.pwned") is None
    assert [entry for entry in page.get_log("browser") if "Security" in entry["message"]] == []


@pytest.mark.parametrize("size", [(320, 640), PHONE, DESKTOP], ids=str)
def test_cards_and_charts_fit_into_the_window(browser, grouped, size):
    page = opened(browser, grouped[0])
    resize(page, size)
    page.refresh()
    cut = (
        "return [...document.querySelectorAll('.card *')].filter((part) => part.getBoundingClientRect().right >"
        " part.closest('.card').getBoundingClientRect().right + 1).map((part) => part.outerHTML.slice(0, 200))"
    )
    assert page.execute_script(cut) == []
    assert page.execute_script("return document.documentElement.scrollWidth") <= size[0]
