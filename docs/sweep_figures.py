"""Blocks of docs/results.md and others: what grids came to that `benchmarks/grids.py` ran."""

import json
from collections.abc import Callable
from typing import Any

from from_results import NAMES, RESULTS

from analysis.tables.render import aligned
from data_prep.text import counted


def text_of(grid: str, name: str) -> str:
    """A file of a grid's results, such as `benchmarks/grids.py` writes."""
    return (RESULTS / grid / name).read_text(encoding="utf-8").strip()


def fenced(text: str) -> str:
    return f"```\n{text}\n```"


def table_of(grid: str, title: str) -> str:
    """One table of a grid's tables, from its title to the next one's."""
    after = text_of(grid, "tables.md").partition(f"**{title}.**")[2]
    if not after:
        raise KeyError(f"{grid}: no table {title}")
    return f"**{title}.**" + after.partition("\n**")[0].rstrip()


def said_of(finding: dict[str, Any]) -> str:
    """As `ser-sweep claims` says it, with the training seed where that is one; older results do not tell."""
    one_seed = finding.get("training_seeds") == 1 and finding["verdict"] in ("supported", "contradicted")
    return f"{finding['verdict']}{' (one seed)' if one_seed else ''}"


def claims_of(grid: str) -> str:
    """The claims of which a grid has all networks."""
    found = []
    for claim in json.loads(text_of(grid, "claims.json"))["claims"]:
        known = [one for one in claim["findings"] if not (one["reason"] or "").startswith("missing")]
        if known:
            found.append(f"{claim['statement']} ({claim['source']})")
            several = len({one["backbone"] for one in known}) > 1
            for one in known:
                whose = f"{NAMES[one['backbone']]}, " if several else ""
                found.append(f"  {whose}{one['label_source']}{' (leaky)' if one['leaky'] else ''}: {said_of(one)}")
    return "\n".join(found)


def run_of(grid: str) -> str:
    """How a grid was trained, in sentences."""
    run = json.loads(text_of(grid, "run.json"))
    minutes = run["training_seconds"] / 60
    devices = ", ".join(run["devices"])
    rate = run["segments_per_second"]
    where = f"on {run['cores']} cores ({devices}), one stage on each core, at {rate['median']:,} segments per second "
    where += f"and stage (median; best: {rate['best']:,})"
    if run.get("side_by_side", 1) > 1:
        together = f"{run['side_by_side']} networks side by side, together at {rate['median']:,} segments per second"
        where = f"on {devices.removeprefix('cuda ')}, {together}"
    of_all = run.get("stages_of_grid", run["stages"])
    number = f"{run['stages']}" + (f" of {of_all}" if of_all > run["stages"] else "")
    resumed = run["resumed_stages"]
    of_resumed = (
        f" The minutes of {counted(resumed, 'resumed stage')} are those since the last checkpoint." if resumed else ""
    )
    segments = run["segments"] if isinstance(run["segments"], list) else [run["segments"]]
    of_segments = " to ".join(f"{one:,}" for one in segments)
    return (
        f"{number} stages of {of_segments} segments took {run['epochs']:,} epochs in total and {minutes:.0f} "
        f"minutes of training {where}. At iteration 0 the networks recognised "
        f"{run['baseline_test_segment_accuracy']:.2f}% of the test segments.{of_resumed} torch "
        f"{run['versions']['torch']}."
    )


def launches_of(grid: str) -> str:
    """What the store's event log says of the launches of a grid, in sentences."""
    launches = json.loads(text_of(grid, "run.json"))["launches"]
    interrupted = sum(one["interrupted"] for one in launches)
    cut_off = sum(not one["finished"] for one in launches)
    hours = sum(one["seconds"] for one in launches) / 3600
    return (
        f"The store's event log has {counted(len(launches), 'launch', 'launches')}, which ran for {hours:.1f} hours in "
        f"total. A signal interrupted {interrupted} of them, and {cut_off} ended without a word. "
        f"{sum(one['failed'] for one in launches)} trainings failed."
    )


def exact_audit() -> str:
    """By split and label source: of how many chains nothing changed with their test utterances."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in json.loads(text_of("exact_audit", "audit.json")):
        groups.setdefault((line["split"], line["label_source"]), []).append(line)
    rows = [
        ["split", "label source", "chains", "identical with other labels", "with another sound", "labels that reach"]
    ]
    for (split, source), lines in groups.items():
        same = [sum(line[what] == "identical" for line in lines) for what in ("labels", "sound")]
        reaching = {f"{line['labels_reaching']:,} of {line['test_utterances']:,}" for line in lines}
        named = f"{source} (leaky)" if lines[0]["leaky_source"] else source
        rows.append([split, named, str(len(lines)), *(f"{one} of {len(lines)}" for one in same), *sorted(reaching)])
    return aligned(rows)


SWEEP_BLOCKS: dict[str, Callable[[], str]] = {
    "prepare": lambda: fenced(text_of("emodb_lite", "prepare.txt")),
    "emodb_table_5": lambda: table_of("emodb_lite", "Table V"),
    "emodb_tables": lambda: text_of("emodb_lite", "tables.md"),
    "emodb_run": lambda: run_of("emodb_lite"),
    "networks_table": lambda: table_of("emodb_networks", "All networks"),
    "networks_run": lambda: run_of("emodb_networks"),
    "networks_compared": lambda: table_of("emodb_networks", "Label sources compared"),
    "networks_claims": lambda: fenced(claims_of("emodb_networks")),
    "densenet_run": lambda: run_of("emodb_densenet"),
    "densenet_launches": lambda: launches_of("emodb_densenet"),
    "densenet_table": lambda: table_of("emodb_densenet", "All networks"),
    "densenet_compared": lambda: table_of("emodb_densenet", "Label sources compared"),
    "densenet_claims": lambda: fenced(claims_of("emodb_densenet")),
    "thinning_run": lambda: run_of("thinning"),
    "thinning_settings": lambda: table_of("thinning", "Settings"),
    "thinning_compared": lambda: table_of("thinning", "Settings compared"),
    "gap_run": lambda: run_of("remaining_gap"),
    "gap_compared": lambda: table_of("remaining_gap", "Settings compared"),
    "label_sources_run": lambda: run_of("label_sources"),
    "label_sources_networks": lambda: table_of("label_sources", "All networks"),
    "label_sources_compared": lambda: table_of("label_sources", "Label sources compared"),
    "label_sources_chosen": lambda: table_of("label_sources", "Iteration chosen by validation"),
    "label_sources_claims": lambda: fenced(claims_of("label_sources")),
    "leakage_audit": lambda: text_of("leakage_audit", "audit.md"),
    "exact_audit": exact_audit,
    "label_correction": lambda: table_of("label_correction", "Targets that are right"),
}
