"""What a report says: what validation chooses, how a cell is made again, and what does not belong on a page."""

import json
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis.report import Place, ReportInput, render, write_report
from analysis.report.content import decisions_of as decisions_of_input
from analysis.report.content import gather, results_of
from analysis.report.headline import Headline, headlines
from analysis.report.page import isolated
from analysis.report.reproduce import Ground, grid_of, recipes
from analysis.report.runs import without_secrets
from data_prep.corpora.manifest import read_manifest
from data_prep.errors import UserError
from data_prep.prepare import prepare
from data_prep.synthetic import SyntheticCorpus, write_corpus
from ser_sweep.cli import main
from sweep.planning.grid import load_grid, parse_grid, resolve_corpora
from sweep.planning.stages import ChainSpec, Plan
from sweep.storage.store import Store
from tests.analysis.made_by_hand import decisions_of, first_right, setup_with
from tests.analysis.recorded_sweep import TRAINING, copy_store, source_of

LABEL = np.arange(40) % 2
SPEAKERS = [f"s{row % 4}" for row in range(40)]


def headline_of(*networks: dict[str, Any]) -> Headline:
    """Of networks on Emo-DB with so many utterances right; other fields as in `decisions_of`."""
    frames = []
    for network in networks:
        about = dict(network)
        frames.append(decisions_of(first_right(about.pop("right"), LABEL), LABEL, SPEAKERS, **about))
    decisions = pd.concat(frames)
    decisions = decisions[decisions["fold"] < decisions["folds_done"]]
    (headline,) = headlines(decisions)
    return headline


def test_validation_chooses_and_the_test_folds_do_not() -> None:
    found = headline_of(
        {"rule": "none", "right": 39, "validation_wa": 60.0},
        {"rule": "bdsl", "right": 20, "validation_wa": 70.0},
        {"rule": "gsl", "right": 40, "validation_wa": 65.0},
    )
    assert found.network == "DenseNet22 bdsl, t = 1, in_fold"
    assert "by WA of mean pooling on its validation utterances: 70.00%" in found.choice
    assert found.rates[0].value == "50.00"


def test_each_fold_is_judged_by_what_its_own_validation_utterances_choose() -> None:
    """The first 16 of 40 utterances, four folds, are tested by the one network, the others by the other."""
    first, second = ({"validation_wa": np.where(np.arange(40) < 16, *rates)} for rates in ((80.0, 50.0), (40.0, 60.0)))
    found = headline_of({"rule": "none", "right": 10, **first}, {"rule": "bdsl", "right": 24, **second})
    assert found.network == "DenseNet22 bdsl, t = 1, in_fold, in 6 of 10 folds"
    assert (
        "validation utterances: 68.00%, mean over folds" in found.choice and "DenseNet22, t = 0 in 4." in found.choice
    )
    assert found.rates[0].value == "45.00"  # 10 of 16 and 8 of 24
    assert found.rates[0].baseline.startswith("+20.00 ")
    assert found.rates[0].paper == ""


def test_the_choice_and_the_rates_each_say_who_decided() -> None:
    """Validation is by mean pooling, the rates are by random forest: two sentences, not one."""
    found = headline_of({"rule": "none", "right": 39, "validation_wa": 60.0})
    assert "mean pooling" in found.choice and "forest" not in found.choice
    assert found.decided == "The rates below are by random forest, on the test folds, which chose nothing."


def test_without_forests_all_is_told_of_mean_pooling() -> None:
    """The baseline is there, and tested against; the paper's rates, which are forests', stand beside nothing."""
    found = headline_of(
        {"rule": "none", "right": 20, "validation_wa": 60.0, "decision": "mean"},
        {"rule": "bdsl", "right": 40, "validation_wa": 70.0, "decision": "mean"},
    )
    assert found.tested and found.verdict.startswith("Better than the baseline beyond chance")
    assert found.rates[0].baseline.startswith("+50.00 ")
    assert found.decided.startswith("The rates below are by mean pooling,")
    assert found.rates[0].paper == "" and [bar.kind for bar in found.axis.bars] == ["chosen", "baseline"]


def test_where_only_one_of_two_has_a_forest_both_are_told_by_mean_pooling() -> None:
    pooled = {"rule": "none", "right": 20, "validation_wa": 60.0, "decision": "mean"}
    later = {"rule": "bdsl", "validation_wa": 70.0}
    found = headline_of(pooled, later | {"right": 40}, later | {"right": 30, "decision": "mean"})
    assert found.rates[0].value == "75.00" and found.rates[0].baseline.startswith("+25.00 ")


def test_without_validation_rates_no_network_is_chosen() -> None:
    unknown = decisions_of(first_right(39, LABEL), LABEL, SPEAKERS, validation_wa=float("nan"))
    assert headlines(unknown) == []


def test_a_leaky_network_is_never_chosen_beside_an_honest_one() -> None:
    found = headline_of(
        {"rule": "none", "right": 30, "validation_wa": 60.0},
        {"rule": "bdsl", "right": 40, "validation_wa": 99.0, "label_source": "global_oof"},
    )
    assert not found.leaky and found.network == "DenseNet22, t = 0"
    assert any("leaky label source could not be chosen" in note for note in found.notes)


def test_a_network_with_missing_folds_is_never_chosen_beside_a_complete_one() -> None:
    partly = {"rule": "bdsl", "right": 40, "validation_wa": 99.0, "folds_done": 3}
    found = headline_of({"rule": "none", "right": 30, "validation_wa": 60.0}, partly)
    assert found.network == "DenseNet22, t = 0" and "1 more has folds missing" in found.choice
    alone = headline_of(partly)
    assert "Provisional" in alone.choice and "3 of 10 folds." in alone.notes


@pytest.mark.parametrize(
    ("right", "verdict"),
    [(40, "Better than the baseline beyond chance"), (21, "Within chance of the baseline."), (2, "Worse than")],
)
def test_the_verdict_is_that_of_the_paired_test(right: int, verdict: str) -> None:
    found = headline_of(
        {"rule": "none", "right": 20, "validation_wa": 60.0}, {"rule": "bdsl", "right": right, "validation_wa": 70.0}
    )
    assert found.verdict.startswith(verdict)


def test_the_verdict_says_where_speakers_do_not_bear_it_out() -> None:
    """All four speakers gain: p is 2 / 2^4, which the test over utterances is far below."""
    found = headline_of(
        {"rule": "none", "right": 20, "validation_wa": 60.0}, {"rule": "bdsl", "right": 40, "validation_wa": 70.0}
    )
    assert found.verdict == "Better than the baseline beyond chance, but not across speakers (p 0.12)."
    assert found.rates[0].baseline.endswith("; by speaker {50.0, 50.0} p 0.12")


def test_a_difference_of_less_than_the_rate_beside_it_says_so() -> None:
    half = {"rule": "none", "right": 20, "validation_wa": 60.0, "folds_done": 5}
    found = headline_of(half, {"rule": "bdsl", "right": 40, "validation_wa": 70.0})
    assert "(incomplete)" in found.rates[0].baseline
    assert "The difference to the baseline is of the utterances and training seeds that both have." in found.notes


def test_beside_a_chosen_baseline_stands_the_best_later_network_and_its_test() -> None:
    found = headline_of(
        {"rule": "none", "right": 20, "validation_wa": 70.0},
        {"rule": "gsl", "right": 38, "validation_wa": 50.0},
        {"rule": "bdsl", "right": 30, "validation_wa": 60.0},
    )
    assert found.verdict.startswith("The baseline itself")
    assert found.rival.startswith("The best later one, DenseNet22 bdsl, t = 1, in_fold: +25.00 [")
    assert found.rival.endswith("to it; by speaker {20.0, 30.0} p 0.12.")
    assert [bar.kind for bar in found.axis.bars] == ["chosen", "other", "paper"]


def test_the_paper_is_asked_for_the_same_backbone_where_it_has_it() -> None:
    bdsl = headline_of({"rule": "bdsl", "right": 20, "validation_wa": 70.0})
    assert bdsl.rates[0].paper == "−31.68 (81.68 in Table II, DenseNet22)"
    gsl = headline_of({"rule": "gsl", "right": 20, "validation_wa": 70.0})
    assert gsl.rates[0].paper == "not comparable (84.11 in Table III, EfficientNet-B0)"


@pytest.mark.parametrize(
    ("unlike", "told"),
    [
        ({"setup": setup_with(every=16)}, "Emo-DB: every 16th segment (paper: every), at most 12 epochs, 10 folds"),
        ({"folds_done": 9}, "9 of 10 folds."),
        ({"partial": True}, "Emo-DB: only part of the corpus"),
    ],
)
def test_what_is_not_the_papers_is_told_and_has_no_difference(unlike: dict[str, Any], told: str) -> None:
    found = headline_of({"rule": "bdsl", "right": 20, "validation_wa": 70.0, **unlike})
    assert [rate.paper for rate in found.rates] == [
        "not comparable (81.68 in Table II, DenseNet22)",
        "not comparable (81.41 in Table II, DenseNet22)",
        "",  # of F1, which the paper does not have
    ]
    assert "paper" not in [bar.kind for bar in found.axis.bars]
    assert any(note.startswith(told) for note in found.notes)


def test_another_split_than_the_papers_has_nothing_published_beside_it() -> None:
    found = headline_of({"rule": "bdsl", "right": 20, "validation_wa": 70.0, "split": "speaker"})
    assert [rate.paper for rate in found.rates] == ["", "", ""]
    assert [bar.kind for bar in found.axis.bars] == ["chosen"]
    assert not any("(paper:" in note for note in found.notes)


def chains_of(store: Store, **fields: Any) -> list[ChainSpec]:
    return list(source_of(store, **fields).plan.chains)


@pytest.mark.parametrize(
    "fields",
    [
        {"rules": ["none", "bdsl", {"wdsl": [0.2, 1]}, "gsl", {"sharpened": 0.5}], "iterations": 1},
        {"rules": [{"wdsl": [[0.5, 0.2], [0, 0.5]]}, {"sharpened": [[1, 0]]}, {"gsl_bdsl": [[0, 1]]}]},
        {"label_sources": ["cross_fit"], "inner_folds": 3, "seeds": [3, 1], "splits": ["speaker"]},
        {
            "labels": "permuted",
            "training": TRAINING | {"early_stopping": False, "patience": 5, "precision": "bfloat16"},
        },
        {"splits": ["speaker", "text"], "training": TRAINING | {"validation_by": "utterance"}},
        {"training": TRAINING | {"early_stopping": False, "validation_share": 0, "validation_by": "text"}},
    ],
    ids=["rules", "alphas by iteration", "cross_fit", "permuted", "by utterance", "without validation"],
)
def test_the_grid_of_a_cell_asks_for_the_same_stages_and_no_others(tmp_path: Path, fields: dict[str, Any]) -> None:
    source = source_of(Store(tmp_path / "store"), **fields)
    found = recipes(source.plan, Ground(source.settings, {}, "REPORT", "DATA", "STORE"))
    asked = set()
    for recipe in found:
        grid = parse_grid(yaml.safe_load(recipe.grid), recipe.file)
        keys = {
            stage.key for chain in grid.expand({source.corpora[0].name: source.corpora[0]}) for stage in chain.stages
        }
        assert keys == {stage.key for stage in recipe.stages}
        asked |= keys
    assert asked == set(source.plan.stages)
    assert len({recipe.file for recipe in found}) == len(found)


def test_a_cell_says_how_it_is_trained_anew_and_shown(tmp_path: Path) -> None:
    source = source_of(Store(tmp_path / "store"), rules=["none"])
    (recipe,) = recipes(source.plan, Ground(source.settings, {}, "OUT", "my data", "STORE"))
    assert recipe.commands[0] == f"ser-sweep run OUT/cells/{recipe.file} --data 'my data' --store NEW_STORE"
    assert recipe.commands[2] == f"ser-sweep tables OUT/cells/{recipe.file} --data 'my data' --store STORE"
    assert grid_of(source.plan.chains, source.settings)["resources"] == {"cpu": 1}


def test_addresses_lose_their_passwords() -> None:
    text = "store: s3://me:pass%2Fword@bucket/folder?secret_key=abc&region=eu, http://host/x?token=t"
    shown = without_secrets(text)
    assert shown == "store: s3://…@bucket/folder?secret_key=…&region=eu, http://host/x?token=…"


def test_nothing_secret_is_written_to_a_report(tmp_path: Path) -> None:
    store = copy_store(tmp_path / "store")
    source = source_of(store, label_sources=["in_fold"], iterations=1)
    (missing, *_) = source.plan.to_train
    store.note_failure(missing, "cannot reach http://user:hunter2@tracker/")
    source = source_of(store, label_sources=["in_fold"], iterations=1)
    place = replace(source.place, store="s3://key:hunter2@bucket", data="s3://key:hunter2@other")
    secret = replace(source, place=place, text="tracking: {mlflow: 'http://user:hunter2@tracker'}", forest_seeds=0)
    write_report(secret, tmp_path / "report")
    written = [path for path in (tmp_path / "report").rglob("*") if path.is_file()]
    assert {"index.html", "tables.tex", "tables.csv", "claims.json"} <= {path.name for path in written}
    assert not [path for path in written if b"hunter2" in path.read_bytes()]


@pytest.mark.parametrize(
    ("fields", "there", "gone"),
    [
        ({}, {"tables", "figures", "claims", "sources", "correction", "cost"}, {"failures"}),
        ({"label_sources": ["in_fold"]}, {"tables", "figures", "claims", "correction"}, {"sources", "failures"}),
        (
            {"rules": ["none"], "seeds": [7]},
            {"run", "reproduce"},
            {"tables", "figures", "claims", "cost", "correction"},
        ),
    ],
)
def test_a_section_without_content_is_neither_on_the_page_nor_among_its_contents(
    tmp_path: Path, fields: dict[str, Any], there: set[str], gone: set[str]
) -> None:
    write_report(source_of(copy_store(tmp_path / "store"), **fields), tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    sections = re.findall(r'<section id="([a-z]+)"', page)
    assert re.findall(r'<li><a href="#([a-z]+)"', page) == sections
    assert there <= set(sections) and gone.isdisjoint(sections)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r'id="([^"]+)"', page))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("غضب 24, فرح 12", "<bdi>غضب</bdi> 24, <bdi>فرح</bdi> 12"),
        ("שמחה גדולה_1: t = 1", "<bdi>שמחה גדולה_1</bdi>: t = 1"),
        ("Utterance data/عربي-01, label غضب.", "Utterance <bdi>data/عربي-01</bdi>, label <bdi>غضب</bdi>."),
        ("anger 24, <b>فرح</b>", "anger 24, &lt;b&gt;<bdi>فرح</bdi>&lt;/b&gt;"),
        ("Emo-DB, stratified split", "Emo-DB, stratified split"),
    ],
)
def test_names_from_right_to_left_leave_what_stands_beside_them_in_place(text: str, said: str) -> None:
    assert isolated(text) == said


def test_names_on_the_page_are_isolated_wherever_they_stand(tmp_path: Path) -> None:
    store = copy_store(tmp_path / "store")
    (corpus,) = (tmp_path / "store" / "corpora").iterdir()
    about = json.loads((corpus / "corpus.json").read_text())
    about["classes"] = dict(zip(("غضب", "فرح", "חדל", "עצב"), about["classes"].values(), strict=True))
    (corpus / "corpus.json").write_text(json.dumps(about))
    source = replace(source_of(store, label_sources=["in_fold"]), name="شبكة", forest_seeds=0)
    write_report(source, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    shown = re.sub(r'="[^"]*"', "", page)  # attributes hold text alone
    for name in ("غضب", "فرح", "חדל", "עצב"):
        assert 1 <= shown.count(name) == len(re.findall(rf"<bdi>[^<]*{name}[^<]*</bdi>", shown))
    assert "<h1><bdi>شبكة</bdi></h1>" in page


@pytest.fixture(scope="module")
def two_corpora(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> ReportInput:
    """A finished grid of two corpora."""
    folder = tmp_path_factory.mktemp("two")
    manifest = write_corpus(folder / "audio", SyntheticCorpus(speakers=2, texts=2, takes=2, seed=1))
    data = shutil.copytree(small_data, folder / "data")
    prepare("other", read_manifest(manifest), data, inline=True)
    text = "{corpora: [synthetic, other], backbones: [tiny], rules: [none], folds: 2, training: {epochs: 1, every: 32}}"
    (folder / "grid.yaml").write_text(text)
    arguments = [str(folder / "grid.yaml"), "--data", str(data), "--store", str(folder / "store")]
    assert main(["run", *arguments, "--inline", "--quiet"]) == 0
    store = Store(folder / "store")
    grid = load_grid(folder / "grid.yaml")
    prepared = resolve_corpora(grid, str(data))
    records = list(store.records())
    plan = Plan.of(grid.expand(prepared), (record["key"] for record in records), {})
    place = Place("grid.yaml", "DATA", "STORE", "REPORT")
    settings = grid.model_dump(mode="json")
    return ReportInput(
        "two", settings, text, place, plan, plan.chains, tuple(prepared.values()), store, records, forest_seeds=0
    )


def test_figures_of_many_corpora_have_a_page_each_and_the_report_links_to_them(
    two_corpora: ReportInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = write_report(two_corpora, tmp_path / "one")
    monkeypatch.setattr("analysis.report.content.MOST_ON_ONE_PAGE", 1)
    apart = write_report(two_corpora, tmp_path / "several")
    assert len(apart.figures) == len(together.figures) > 4
    one, index = ((tmp_path / where / "index.html").read_text(encoding="utf-8") for where in ("one", "several"))
    assert one.count("<img ") == len(together.figures) and index.count("<img ") == 0
    assert not list((tmp_path / "one").glob("figures-*.html"))
    pages = re.findall(r'href="(figures-[^"]+\.html)"', index)
    assert pages == ["figures-other.html", "figures-synthetic.html"]
    shown = 0
    for name in pages:
        page = (tmp_path / "several" / name).read_text(encoding="utf-8")
        assert 'href="index.html"' in page and 'src="data:image/svg+xml' in page
        for file in re.findall(r'href="(figures/[^"]+)"', page):
            assert (tmp_path / "several" / file).is_file()
        shown += page.count("<img ")
    assert shown == len(apart.figures)


def test_the_report_of_one_corpus_is_one_page_however_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = replace(source_of(copy_store(tmp_path / "store")), forest_seeds=0)
    monkeypatch.setattr("analysis.report.content.MOST_ON_ONE_PAGE", 1)
    report = write_report(source, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("<img ") == len(report.figures)
    assert not list((tmp_path / "report").glob("figures-*.html"))


def test_a_page_that_is_no_report_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("my home page")
    with pytest.raises(UserError, match="give another --out"):
        write_report(source_of(Store(tmp_path / "store")), tmp_path)
    assert (tmp_path / "index.html").read_text() == "my home page"


def test_the_header_counts_the_hours_of_the_grids_own_stages_alone(tmp_path: Path) -> None:
    """Of two grids in one store, whose trainings took an hour each, two of them half a GPU."""
    store = copy_store(tmp_path / "store")
    for path in (tmp_path / "store" / "stages").glob("*/stage.json"):
        record = json.loads(path.read_text())
        record["timing"]["seconds"] = 3600
        record["device"]["gpu_share"] = 0.5 if record["identity"]["fold"] else 0.0
        path.write_text(json.dumps(record))
    events = tmp_path / "store" / "events"
    events.mkdir()
    times = {"time": "2026-05-04T10:11:12.345Z", "trial": "t"}
    launch: list[dict[str, Any]] = [{**times, "event": "launched", "grid": "other"}, {**times, "event": "issued"}]
    launch += [{**times, "event": "ended", "seconds": 90_000.0}]
    (events / "20260504.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in launch))
    for rules, hours in ((["none"], "2.00"), (["none", "bdsl"], "6.00")):
        source = source_of(store, rules=rules, label_sources=["in_fold"])
        report = render(gather(source, results_of(source, pd.DataFrame()), [], "1"))
        done = len(source.plan.done)
        assert f"{done} of {done} stages, {hours} device-hours of training" in report
        assert "25.00 device-hours in all launches on the store" in report


def test_an_audit_is_shown_where_labels_are_permuted(tmp_path: Path) -> None:
    """Permuted by name only: the networks recognise what they learnt, and those of an honest source must not."""
    given = source_of(copy_store(tmp_path / "store"), rules=["none", "bdsl"], iterations=1)
    decisions = decisions_of_input(given)
    assert "Null-label test" not in render(gather(given, results_of(given, decisions), [], "1.0"))

    permuted = replace(given, settings={**given.settings, "labels": "permuted"})
    audited = results_of(permuted, decisions.assign(labels="permuted"))
    page = render(gather(permuted, audited, [], "1.0"))
    assert "<strong>Labels are permuted.</strong>" in page
    assert "Null-label test: UA in percent on permuted labels" in page
    assert "<li>in_fold: 2 of 2 above chance.</li>" in page and "<li>global_oof: 2 of 2 above chance.</li>" in page
    assert "<strong>A leak was found where there must be none.</strong>" in page
    assert page.count("above chance: leaks</td>") == len(audited.audited)


def test_the_command_writes_a_report_and_watches_until_all_is_done(
    small_data: Path, tmp_path: Path, write_grid: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_grid(rules=["none"]).rename(tmp_path / "first.yaml")
    grid = write_grid(rules=["none", "bdsl"])
    place = ["--data", str(small_data), "--store", str(tmp_path / "store")]
    assert main(["run", str(first), *place, "--inline"]) == 0
    page = tmp_path / "report" / "index.html"
    out = ["--out", str(tmp_path / "report"), "--no-forests"]
    watched: list[int] = []
    watching = threading.Thread(
        target=lambda: watched.append(main(["report", str(grid), *place, *out, "--watch", "--every", "1"]))
    )
    watching.start()
    while not page.exists():
        watching.join(0.1)
    assert 'data-refresh="1"' in page.read_text(encoding="utf-8")
    assert main(["run", str(grid), *place, "--inline"]) == 0
    watching.join(60)
    assert watched == [0]
    assert "4 of 4 stages" in page.read_text(encoding="utf-8") and "data-refresh" not in page.read_text().split(">")[1]
    assert f"4 of 4 stages: {page}" in capsys.readouterr().out
