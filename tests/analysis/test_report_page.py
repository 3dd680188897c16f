"""The report in a browser: what its readers see, hear and press, and what a hostile corpus cannot do to them."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.report import write_report
from data_prep.shards import PreparedCorpus
from sweep.storage.store import Store
from tests.analysis.recorded_sweep import copy_store, source_of

IN_CI = os.environ.get("CI") == "true"  # where nothing is skipped
if not IN_CI:
    pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra dev")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not IN_CI, reason="needs chromium, which apt-get install chromium brings"
)
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 800}
ATTACK = "<script>alert('read me')</script>"
PICTURE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "CI needs chromium, which apt-get install chromium brings"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def half_done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on a store in which a fold is missing, with figures, claims, and a label source that leaks."""
    folder = tmp_path_factory.mktemp("half_done")
    write_report(source_of(copy_store(folder / "store")), folder / "report")
    return folder / "report" / "index.html"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on a store in which whatever a file can say is markup."""
    folder = tmp_path_factory.mktemp("hostile")
    source = hostile_source(copy_store(folder / "store"))
    write_report(source, folder / "report")
    return folder / "report" / "index.html"


def hostile_source(store: Store) -> Any:
    root = Path(store.uri)
    (corpus,) = (root / "corpora").iterdir()
    about = json.loads((corpus / "corpus.json").read_text())
    about["classes"] = {f"{name} {PICTURE}": count for name, count in about["classes"].items()}
    (corpus / "corpus.json").write_text(json.dumps(about))
    utterances = pd.read_parquet(corpus / "utterances.parquet")
    for column in ("id", "speaker", "text"):
        utterances[column] = utterances[column].astype(str) + ATTACK
    utterances.to_parquet(corpus / "utterances.parquet")
    for path in root.glob("stages/*/stage.json"):
        record = json.loads(path.read_text())
        record["device"]["name"] = record["versions"]["torch"] = record["revision"] = ATTACK
        path.write_text(json.dumps(record))
    (root / "events").mkdir()
    launched = {"time": "2026-05-04T10:11:12.345Z", "event": "launched", "grid": ATTACK, "user": "u", "host": "h"}
    (root / "events" / "20260504.jsonl").write_text(json.dumps(launched) + "\n")
    source = source_of(Store(root), name=ATTACK, label_sources=["in_fold"], iterations=1)
    (missing, *_) = source.plan.to_train
    store.note_failure(missing, f"{ATTACK}\n{PICTURE}")
    other = PreparedCorpus(Path("other"), {**about, "corpus": ATTACK})
    source = source_of(Store(root), name=ATTACK, label_sources=["in_fold"], iterations=1)
    place = replace(source.place, store=ATTACK, data=f"' {PICTURE}")
    return replace(source, corpora=(*source.corpora, other), place=place, forest_seeds=0)


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """Opens a page from a file; what its console says, what it asks for and any dialog are kept beside it."""
    contexts = []

    def open_(path: Path, size: dict[str, int] = DESKTOP, scheme: str = "light", **options: Any) -> Any:
        context = browser.new_context(viewport=size, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.said, page.asked, page.dialogs = [], [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("dialog", lambda dialog: (page.dialogs.append(dialog.message), dialog.dismiss()))
        page.goto(path.as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()


def eventually(page: Any, expression: str, seconds: float = 10) -> None:
    """Wait until a JavaScript expression is true; the page's own policy does not let a browser poll one."""
    from playwright.sync_api import Error

    end = time.monotonic() + seconds
    true = False
    while not true:
        assert time.monotonic() < end, f"never came true: {expression}"
        with suppress(Error):  # of a page that is just loading itself again
            true = page.evaluate(expression)
        page.wait_for_timeout(50)


def open_all_details(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")


def column(page: Any, table: str, position: int) -> list[str]:
    found: list[str] = page.locator(f"#{table} tbody tr > :nth-child({position})").all_text_contents()
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_fits_its_window_and_has_no_serious_violation_of_accessibility(
    half_done: Path, open_page: Any, size: dict[str, int], scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(half_done, size, scheme)
    open_all_details(page)
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    found = Axe().run(page).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert not serious, json.dumps(serious, indent=1)[:3000]
    assert page.said == []


def test_asks_for_nothing_but_itself(half_done: Path, open_page: Any) -> None:
    page = open_page(half_done)
    page.wait_for_load_state("networkidle")
    files = [url for url in page.asked if not url.startswith("data:")]
    assert files == [half_done.as_uri()]
    assert "http" not in page.content().replace("http-equiv", "")


def test_tells_what_is_missing_and_what_leaks(half_done: Path, open_page: Any) -> None:
    page = open_page(half_done)
    assert page.locator(".status").inner_text().startswith("in progress")
    assert "4 of 15 stages missing" in page.locator("#run").inner_text()
    assert "global_oof leaks" in page.locator(".callout.leaky").inner_text()
    assert "Best of" in page.locator(".headline").inner_text()
    leaky = page.locator("tr.leaky-row").filter(has_text="global_oof")
    assert leaky.count() and leaky.first.locator(".badge.leaky").count()


def test_the_bar_of_a_complete_sweep_is_as_wide_as_the_page(tmp_path: Path, open_page: Any) -> None:
    source = source_of(copy_store(tmp_path / "store"), rules=["none"])
    assert write_report(replace(source, forest_seeds=0), tmp_path / "report").complete
    page = open_page(tmp_path / "report" / "index.html")
    bar = page.locator(".title > progress")
    assert bar.evaluate("one => one.value === one.max")
    assert bar.bounding_box()["width"] == page.locator(".title").bounding_box()["width"]


def test_every_figure_is_there_with_a_text_and_a_caption(half_done: Path, open_page: Any) -> None:
    page = open_page(half_done)
    pictures = page.locator("figure img")
    assert pictures.count() >= 10
    eventually(page, "[...document.images].every((one) => one.complete)")
    assert page.evaluate("[...document.images].every((one) => one.naturalWidth > 100 && one.alt.length > 20)")
    assert all(page.locator("figcaption").all_text_contents())
    for kind in ("Recall by class", "Confusion matrices", "Segment contours", "Learning curves"):
        assert page.get_by_role("heading", name=kind, exact=True).count() == 1


def test_headings_go_down_step_by_step(half_done: Path, open_page: Any) -> None:
    page = open_page(half_done)
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later <= before + 1 for before, later in pairwise(levels))


def test_a_table_is_sorted_by_its_heads_up_down_and_back(half_done: Path, open_page: Any) -> None:
    page = open_page(half_done)
    table = "costs"
    original = column(page, table, 3)
    head = page.locator(f"#{table} th").nth(2)
    sort = head.get_by_role("button")
    sort.focus()
    page.keyboard.press("Enter")
    numbers = [float(text.replace(",", "")) for text in column(page, table, 3)]
    assert head.get_attribute("aria-sort") == "ascending" and numbers == sorted(numbers)
    page.keyboard.press("Enter")
    numbers = [float(text.replace(",", "")) for text in column(page, table, 3)]
    assert head.get_attribute("aria-sort") == "descending" and numbers == sorted(numbers, reverse=True)
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") is None and column(page, table, 3) == original


def test_missing_values_are_sorted_last(hostile: Path, open_page: Any) -> None:
    page = open_page(hostile)
    page.evaluate(
        "document.querySelector('#costs tbody tr td:nth-child(3)').textContent = '—';"
        "document.querySelectorAll('#costs tbody tr td:nth-child(3)')[1].textContent = '−2.5 [−8.0, 3.0]';"
    )
    for _ in range(2):
        page.locator("#costs th button").nth(2).click()
        assert column(page, "costs", 3)[-1] == "—"
        assert "−2.5 [−8.0, 3.0]" in column(page, "costs", 3)


def test_a_long_table_is_filtered_and_says_how_much_is_left(half_done: Path, open_page: Any) -> None:
    page = open_page(half_done)
    open_all_details(page)
    block = page.locator("[data-table]").filter(has=page.locator("#stages"))
    count = block.locator("output")
    assert count.get_attribute("aria-live") == "polite"
    block.get_by_label("Filter").fill("hdl global_oof")
    rows = page.locator("#stages tbody tr:visible")
    assert 0 < rows.count() < page.locator("#stages tbody tr").count()
    assert all("hdl global_oof" in text for text in rows.all_inner_texts())
    assert count.inner_text() == f"{rows.count()} of {page.locator('#stages tbody tr').count()} rows"
    block.get_by_label("Filter").fill("")
    assert count.inner_text() == "" and page.locator("#stages tbody tr[hidden]").count() == 0


def test_the_scheme_follows_the_system_until_it_is_chosen_and_then_stays(half_done: Path, open_page: Any) -> None:
    page = open_page(half_done, scheme="dark")

    def background() -> str:
        found: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return found

    dark = background()
    page.get_by_role("button", name="Light scheme").click()
    light = background()
    assert light != dark
    page.reload()
    page.wait_for_function("light => getComputedStyle(document.body).backgroundColor === light", arg=light)
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Dark scheme").click()
    assert background() == dark


def test_the_keyboard_reaches_the_results_and_every_wide_table(half_done: Path, open_page: Any) -> None:
    page = open_page(half_done, PHONE)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    regions = page.locator(".scroll")
    assert regions.count() >= 8
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll')].every((one) => one.tabIndex === 0 && one.role === 'region' && "
        "(one.ariaLabel || document.getElementById(one.getAttribute('aria-labelledby')).textContent.trim()))"
    )
    wide = page.locator("#costs").locator("xpath=..")
    wide.focus()
    page.keyboard.press("ArrowRight")
    eventually(page, "document.querySelector('#costs').parentElement.scrollLeft > 0")


def test_can_be_read_without_its_script(half_done: Path, open_page: Any) -> None:
    page = open_page(half_done, java_script_enabled=False)
    assert page.locator("#costs tbody tr").count() == 5
    assert page.get_by_label("Filter").first.is_hidden()


def test_prints_without_what_only_a_screen_needs(half_done: Path, open_page: Any) -> None:
    page = open_page(half_done, scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    for selector in (".contents", ".top", ".tools"):
        assert page.locator(selector).first.is_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_what_files_say_is_text_and_nothing_else(hostile: Path, open_page: Any) -> None:
    page = open_page(hostile)
    open_all_details(page)
    page.wait_for_timeout(200)
    assert page.dialogs == [] and page.said == []
    assert page.locator("script").count() == 1 and page.locator("img[src=x]").count() == 0
    assert page.locator("h1").inner_text() == ATTACK
    assert PICTURE in page.locator("#failures pre").inner_text()
    shown = page.locator("main").inner_text()
    assert f"anger {PICTURE}" in shown
    assert ATTACK in page.get_by_role("img", name="along utterance").first.get_attribute("alt")
    assert ATTACK in page.locator("#devices").inner_text()
    assert ATTACK in page.locator("#launches").inner_text()
    assert ATTACK in page.locator("#data").inner_text()


def test_should_markup_slip_through_it_does_not_run(half_done: Path, open_page: Any) -> None:
    page = open_page(half_done)
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(1)>');"
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'alert(2)' }));"
    )
    page.wait_for_timeout(200)
    assert page.dialogs == [] and page.said  # the console tells what the policy kept from running


def test_a_store_without_a_stage_says_how_to_train_one(tmp_path: Path, open_page: Any) -> None:
    write_report(source_of(Store(tmp_path / "store")), tmp_path / "report")
    page = open_page(tmp_path / "report" / "index.html", PHONE)
    assert "nothing trained yet" in page.locator(".status").inner_text()
    assert "ser-sweep run recorded.yaml --data DATA --store STORE" in page.locator("#summary").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert page.said == []


def test_a_watched_report_loads_itself_again_under_its_readers_eyes(tmp_path: Path, open_page: Any) -> None:
    source = source_of(copy_store(tmp_path / "store"), rules=["none"])
    report = tmp_path / "report"
    write_report(replace(source, forest_seeds=0), report, refresh=2)
    page = open_page(report / "index.html")
    page.locator("summary", has_text="The grid file").click()
    page.evaluate("window.scrollTo({top: 1500, behavior: 'instant'}); window.before = true;")
    eventually(page, "window.before === undefined")
    eventually(page, "Math.abs(window.scrollY - 1500) < 5")
    assert page.get_by_label("Grid file").is_visible()
    page.get_by_role("button", name="Pause").click()
    page.evaluate("window.paused = true")
    page.wait_for_timeout(2500)
    assert page.evaluate("window.paused")
