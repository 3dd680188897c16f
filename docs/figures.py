"""Fills the generated blocks of README.md and docs/, between <!-- name --> and <!-- end -->.

Measured figures come from benchmarks/results/, and the fields of a grid from their schema. The drawing of the
architecture and the JSON Schema of a grid are written as whole files.

python docs/figures.py           # write
python docs/figures.py --check   # exit status 1 where something is not up to date
"""

import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from architecture import drawing
from coverage_figures import coverage_by_kind, coverage_of_differences, coverage_of_rates
from gpu_figures import GPU_BLOCKS
from pydantic import BaseModel

from analysis.tables.render import aligned
from data_prep.text import counted
from sweep.planning.grid import GridSpec, grid_schema
from sweep.planning.grid_fields import FeatureChoice, Halving, Resources, Tracking, TrainingChoice

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("grids", "method", "results", "reliability", "performance", "statistics")
    ),
)


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
    return (
        f"{number} stages of {run['segments']:,} segments took {run['epochs']:,} epochs in total and {minutes:.0f} "
        f"minutes of training {where}. At iteration 0 the networks recognised "
        f"{run['baseline_test_segment_accuracy']:.2f}% of the test segments. torch {run['versions']['torch']}."
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


FAULTS = {
    "driver_killed": "launch killed (SIGKILL)",
    "worker_killed": "process of a trial killed (SIGKILL)",
    "node_killed": "node lost with all its processes",
    "disk_full": "disk of the store full",
    "checkpoint_truncated": "checkpoint cut off",
    "note_truncated": "lease, event log or corpus.json cut off",
    "stage_truncated": "file of a finished stage cut off",
    "server_errors": "object store answers 500 and 503",
    "dropped_connections": "object store drops connections",
    "hanging_server": "object store does not answer",
}


def faults_of_chaos() -> str:
    """How often each fault hit, by kind of store."""
    runs = chaos_runs()
    kinds = sorted({run["store"] for run in runs})
    rows = []
    for fault, name in FAULTS.items():
        hits = [sum(run["faults"].get(fault, 0) for run in runs if run["store"] == kind) for kind in kinds]
        if any(hits):
            rows.append(f"| {name} | {' | '.join(str(each or '—') for each in hits)} |")
    head = ["| Fault | " + " | ".join(kinds) + " |", "| :--- |" + " ---: |" * len(kinds)]
    return "\n".join([*head, *rows])


def outcome_of_chaos() -> str:
    """What came of it, in sentences."""
    runs = chaos_runs()

    def total(name: str) -> int:
        return sum(run[name] for run in runs)

    flawless = sum(run["finished"] and run["same_predictions"] and run["same_tables"] for run in runs)
    faults = sum(sum(run["faults"].values()) for run in runs)
    return (
        f"{len(runs)} runs had {total('stages')} stages in total, {faults} faults and {total('launches')} launches. "
        f"{total('lost')} committed stages were lost, and {total('repeated')} were trained twice. The "
        f"{total('destroyed')} stages whose files a fault destroyed were trained again. {total('resumed')} stages "
        f"continued from a checkpoint. {flawless} of {len(runs)} runs ended with a launch of exit status 0, and with "
        f"the same predictions and tables, bit for bit, as a run without faults."
    )


def simulated_worlds() -> str:
    """How many worlds were looked at, and in how long."""
    found = simulation()
    return (
        f"The last long run simulated {found['seeds']:,} worlds in {found['seconds'] / 60:.1f} minutes, "
        f"{found['processes']} at a time; {found['violations']} broke a promise."
    )


def planted_bugs() -> str:
    """The first world that finds each planted bug."""
    sys.path.insert(0, str(ROOT))
    from tests.simulation.planted import BUGS

    first = simulation()["first_seed_that_finds"]
    rows = [f"| `{name}` | {bug.__doc__} | {first[name]} |" for name, bug in BUGS.items()]
    head = ["| Bug | | first seed that finds it |", "| :--- | :--- | ---: |"]
    return "\n".join([*head, *rows])


def claims_on_s3() -> str:
    """What a claim costs on S3, and how often two launches trained the same."""
    found = json.loads((RESULTS / "claims.json").read_text(encoding="utf-8"))
    rows = []
    for side, name in (("before", "leases written without a condition"), ("ours", "claims by compare-and-swap")):
        one = found[side]
        requests = sum(one["requests_a_key"].values())
        rows.append(f"| {name} | {one['trained_twice']} | {requests:.1f} | {one['claim_ms']:.1f} |")
    head = ["| | keys trained twice | requests per key | ms per claim |", "| :--- | ---: | ---: | ---: |"]
    pairs = f"{found['pairs']} pairs of simultaneous launches, both of which need the same {found['keys']} keys:"
    return "\n".join([pairs, "", *head, *rows])


def simulation() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / "simulation.json").read_text(encoding="utf-8"))
    return found


def chaos_runs() -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = json.loads((RESULTS / "chaos.json").read_text(encoding="utf-8"))["runs"]
    return runs


def same_bits() -> str:
    """Under what other conditions a stage came to the same bits."""
    conditions = results_of("same_bits")["conditions"]
    names = {"densenet22": "DenseNet22", "mobilenetv2": "MobileNetV2", "efficientnet_b0": "EfficientNet-B0"}
    head = ["| The second training had | " + " | ".join(names.values()) + " |", "| :--- |" + " ---: |" * len(names)]
    rows = [
        f"| {one['other']} | " + " | ".join("same" if one["same"][name] else "**other**" for name in names) + " |"
        for one in conditions
    ]
    return "\n".join(head + rows)


def costs_of_a_trial() -> str:
    """What a trial costs beside its training, against plain Ray Tune."""
    found = results_of("scale")
    rows = [
        f"| {name} | {one['trials']:,} | {1000 * one['seconds_per_trial']:.1f} | {one['driver_peak_mb']:,.0f} |"
        for name, one in (("plain Ray Tune, `grid_search`", found["rival"]), ("`ser-sweep run`", found["ours"]))
    ]
    head = ["| | Trials | ms per trial | Memory of the driver, MB |", "| :--- | ---: | ---: | ---: |"]
    commands = (
        f"On that store `plan` takes {found['plan_seconds']:.1f} s and `status` {found['status_seconds']:.1f} s. "
        f"`tables --no-forests` takes {found['tables_first_seconds']:.0f} s the first time and "
        f"{found['tables_seconds']:.0f} s afterwards. Plain Ray Tune took {found['ratio']:.2f} times as long per trial."
    )
    return "\n".join([*head, *rows, "", commands])


def sharing_of_slots() -> str:
    """Trainings against stages, and how busy the slots were, by number of trials at a time."""
    rows = [
        f"| {run['concurrent']} | {run['naive_stages']:,} | {run['stages']} | {run['trainings']} | {run['ratio']:.2f} "
        f"| {100 * run['utilisation']:.1f}% | {run['trial_seconds']:.1f} |"
        for run in results_of("sharing")["runs"]
    ]
    head = "| Trials at a time | Stages of the chains | Distinct stages | Trainings | Ratio | Busy slots | s a trial |"
    return "\n".join([head, "| ---: |" + " ---: |" * 6, *rows])


NAMES = {
    "densenet22": "DenseNet22",
    "mobilenetv2": "MobileNetV2",
    "efficientnet_b0": "EfficientNet-B0",
    "vgg19": "VGG19",
}


def rates_of_training() -> str:
    """Segments a second of every backbone against a plain loop, and against what the machine allows."""
    rows, growth = [], []
    for one in results_of("training")["backbones"]:
        name = NAMES[one["backbone"]]
        each, all_cores = one["each_core"], one["all_cores"]
        rates = [way[loop][-1] for loop in ("rival", "ours") for way in (all_cores, each)]
        plain_all, plain_each, ours_all, ours_each = rates
        ratios = ours_all / plain_all, ours_each / plain_each, ours_each / plain_all
        reached = [
            f"{one[limit]:,.0f} ({ours_each / one[limit]:.0%})" for limit in ("arithmetic_limit", "traffic_limit")
        ]
        cells = [*(f"{rate:,.0f}" for rate in rates), *(f"{ratio:.2f}" for ratio in ratios), *reached]
        rows.append(f"| {name} | {' | '.join(cells)} |")
        doubled = ", ".join(f"{rate:,.0f}" for rate in each["ours"])
        growth.append(f"{name} {doubled} for {', '.join(f'{size:,}' for size in one['segments'])} segments")
    head = (
        "| Segments per second | plain loop, all cores | plain loop, each core | ours, all cores | ours, each core "
        "| Ratio, all cores | Ratio, each core | Ratio, as used | limit of the arithmetic (reached) "
        "| limit of the memory (reached) |"
    )
    text = f"Segments per second of ours, each core, as epochs double in size: {'; '.join(growth)}."
    return "\n".join([head, "| :--- |" + " ---: |" * 9, *rows, "", text])


def parts_of_a_step() -> str:
    """What a training step's time goes to."""
    found = results_of("training")["backbones"]
    head = ["| Share of a step | " + " | ".join(NAMES[one["backbone"]] for one in found) + " |"]
    rows = [
        f"| {kind} | " + " | ".join(f"{100 * one['shares'][kind]:.0f}%" for one in found) + " |"
        for kind in found[0]["shares"]
    ]
    return "\n".join([*head, "| :--- |" + " ---: |" * len(found), *rows])


def accuracy_of_training() -> str:
    """What both loops come to on held-out segments."""
    rows = []
    for one in results_of("training_accuracy")["backbones"]:
        training = one["training"]
        learnt = f"{training['epochs']} x {one['segments']:,}, {training['batch_size']}, {training['learning_rate']:g}"
        cells = []
        for loop in ("rival", "ours"):
            rates = [100 * each for each in one[loop]]
            mean, deviation = statistics.mean(rates), statistics.stdev(rates)
            cells += [" ".join(f"{each:.1f}" for each in rates), f"{mean:.1f} ({deviation:.1f})"]
        rows.append("| " + " | ".join([NAMES[one["backbone"]], learnt, *cells]) + " |")
    head = (
        "| Held-out accuracy, % | epochs x segments, batch, learning rate | plain loop, by seed | mean (s.d.) "
        "| ours, by seed | mean (s.d.) |"
    )
    return "\n".join([head, "| :--- | :--- | :--- | ---: | :--- | ---: |", *rows])


def seconds_of_preparing() -> str:
    """Prepare against a librosa loop, and against the features alone."""
    rows = [
        f"| {part['utterances']} | {part['audio_seconds']:,.0f} | {part['seconds']['rival']:.2f} "
        f"| {part['seconds']['ours']:.2f} | {part['ratio']:.1f} | {part['seconds']['features_alone']:.2f} "
        f"| {part['times_features_alone']:.1f} |"
        for part in results_of("prepare")["parts"]
    ]
    head = (
        "| Utterances | s of audio | librosa loop, s | `prepare`, s | Ratio | decoding and features alone, one core, s "
        "| `prepare` / features alone |"
    )
    return "\n".join([head, "| ---: |" + " ---: |" * 6, *rows])


def seconds_of_sweeping() -> str:
    """A sweep against plain Ray Tune, Optuna with joblib and the ideal."""
    rows = []
    for run in results_of("grid_search")["runs"]:
        ours = run["ours"]
        rivals = [
            cell
            for rival, ratio in (("plain_tune", "plain_tune_ratio"), ("optuna_with_joblib", "optuna_ratio"))
            for cell in ((f"{run[rival]['seconds']:.0f}", f"{run[ratio]:.2f}") if rival in run else ("", ""))
        ]
        cells = [
            *(f"{ours['chains']}", f"{ours['trainings']}", f"{ours['median_training_seconds']:.1f}"),
            *(f"{ours['seconds']:.0f}", f"{run['times_ideal']:.3f}", *rivals),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    head = (
        "| Chains | Our trainings | s per training | `ser-sweep run`, s | `run` / ideal | plain `grid_search`, s "
        "| Ratio | Optuna and joblib, s | Ratio |"
    )
    return "\n".join([head, "| ---: |" + " ---: |" * 8, *rows])


STARTS = {
    "inline": "`run --inline`, to the first step",
    "ray": "`run` on Ray, to the first step",
    "plain_tune": "plain Ray Tune, to the first step",
    "plan": "`plan`",
    "tables": "`tables`, with forests",
    "tables_again": "`tables`, with decisions from the store",
}


def start_up() -> str:
    """Seconds before commands do their work, of this code, of that before, and of plain Ray Tune."""
    found = results_of("start_up")
    rows = []
    for way, name in STARTS.items():
        one = found["ways"][way]
        cells = [name, *_seconds_and_cpu(one["ours"]), *_seconds_and_cpu(one.get("before", {}))]
        rows.append(f"| {' | '.join([*cells, ratio_text(one.get('before_ratio'))])} |")
    head = "| | s | CPU s | before, s | before, CPU s | before / now |"
    said = (
        f"Medians of {found['rounds']} alternating rounds, on {found['cores']} cores shared with other work (a load of "
        f"{found['load']:.0f}), so only the ratios are reliable. Plain Ray Tune takes "
        f"{found['ways']['ray']['plain_tune_ratio']:.2f} times as long as `run` on Ray."
    )
    return "\n".join([head, "| :--- |" + " ---: |" * 5, *rows, "", said])


def _seconds_and_cpu(one: dict[str, float]) -> list[str]:
    return [f"{one[name]:.1f}" if name in one else "" for name in ("seconds", "cpu_seconds")]


def ratio_text(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def signals() -> str:
    """How runs ended that got a signal at random moments."""
    measured = results_of("signals")
    found = {(one["way"], one["to"], one["signal"]): one["outcomes"] for one in measured["found"]}
    sent = list(dict.fromkeys(signal for _, _, signal in found))
    rows = [["To", "run", *sent]]
    for way, to in dict.fromkeys((way, to) for way, to, _ in found):
        rows.append([SIGNALLED[to], SIGNALLED[way], *(_ended(found[way, to, signal]) for signal in sent)])
    lengths = " and ".join(f"{seconds:.0f} s ({way})" for way, seconds in measured["seconds"].items())
    wrong = sum(
        count for outcomes in found.values() for what, count in outcomes.items() if what not in (AS_PROMISED, TOO_EARLY)
    )
    tries = sum(sum(outcomes.values()) for outcomes in found.values())
    return (
        f"{aligned(rows).rstrip()}\n\n{tries} signals in all, within the first {lengths} of a run; {wrong} of them did "
        "not end it as promised. *Early*: the signal came before Python was up, and ended it then and there."
    )


SIGNALLED = {
    "driver": "the process",
    "group": "its process group",
    "number 1": "process 1 of a container",
    "inline": "inline",
    "ray": "on Ray",
}
AS_PROMISED, TOO_EARLY = "as it should", "before it began"


def _ended(outcomes: dict[str, int]) -> str:
    """`20 of 20`, or with what ended otherwise."""
    told = [f"{outcomes.get(AS_PROMISED, 0)} of {sum(outcomes.values())}"]
    told += [f"{count} early" for what, count in outcomes.items() if what == TOO_EARLY]
    told += [f"{count}: {what}" for what, count in outcomes.items() if what not in (AS_PROMISED, TOO_EARLY)]
    return ", ".join(told)


def seconds_of_tables() -> str:
    """Rates of many stages against a pandas loop."""
    rows = [
        f"| {run['stages']:,} | {run['rival']:.1f} | {run['ours']:.1f} | {run['ratio']:.1f} "
        f"| {run['rival_peak_mb']:,.0f} | {run['ours_peak_mb']:,.0f} |"
        for run in results_of("tables")["runs"]
    ]
    head = "| Stages | pandas loop, s | ours, s | Ratio | pandas loop, MB | ours, MB |"
    return "\n".join([head, "| ---: |" + " ---: |" * 5, *rows])


def seconds_of_forests() -> str:
    """Forests of ours beside scikit-learn's, for as many utterances as RAVDESS has."""
    found = results_of("forests")
    took = ", ".join(f"{name}: {seconds:.0f} s" for name, seconds in found["seconds"].items())
    return (
        f"Forests for {found['networks']} networks, {found['utterances']:,} utterances and {found['classes']} classes, "
        f"on {found['cores']} cores: {took}. Ours are {found['ratio']:.1f} times as fast for more than three times "
        f"as many forests, or {found['ratio_forest_for_forest']:.1f} times as fast per forest. Where both decided, "
        f"the decisions are {'the same' if found['same_decisions'] else 'NOT the same'}."
    )


def results_of(benchmark: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{benchmark}.json").read_text(encoding="utf-8"))
    return found


def fields_of(model: type[BaseModel]) -> str:
    """The fields of a part of a grid file: type, default and meaning, from its schema."""
    schema = grid_schema()
    described = schema if model is GridSpec else schema["$defs"][model.__name__]
    rows = [
        f"| `{name}` | {type_text(one)} | {default_text(one)} | {one['description']} |"
        for name, one in described["properties"].items()
    ]
    return "\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows])


def type_text(schema: dict[str, Any]) -> str:
    """A JSON Schema in words: `whole number, at least 1`, `list of stratified, speaker`; of an axis, one value's."""
    if "oneOf" in schema:
        first, *others = schema["oneOf"]
        told = [first, *(one for one in others if one.get("$ref", "").rpartition("/")[2] in SECTIONS)]
        return " or ".join(map(type_text, told))
    if "anyOf" in schema:
        return " or ".join(type_text(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "$ref" in schema:
        part = schema["$ref"].rpartition("/")[2]
        return f"[mapping](#{SECTIONS[part]})"
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{name}`" for name in schema.get("enum", [schema.get("const")]))
    kind = schema["type"]
    if kind == "array":
        return f"list: {type_text(schema['items'])}"
    if kind == "object":
        return f"mapping of one of {', '.join(f'`{name}`' for name in schema['properties'])} to alphas"
    bounds = [f"{word} {schema[key]:,}" for key, word in BOUNDS.items() if schema.get(key, BOUNDLESS) != BOUNDLESS]
    return ", ".join([WORDS[kind], *bounds])


SECTIONS = {
    "Axes": "chains",
    "TrainingChoice": "training",
    "FeatureChoice": "features",
    "FoldsFrom": "folds-from-a-list",
    "Scheduler": "scheduler",
    "Halving": "scheduler",
    "Resources": "resources",
    "Tracking": "tracking",
}
WORDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
BOUNDLESS = 10**9  # a bound that nobody meets
BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def default_text(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    return "" if default is None or isinstance(default, dict) else f"`{json.dumps(default)}`".replace('"', "")


def speaker_forests() -> str:
    found = results_of("speaker_forests")
    labels = {"given": "corpus labels", "permuted_by_speaker": "classes permuted by speaker"}
    head = ["Decision", *labels.values()]
    rows = [[name, *(f"{found['wa'][one][name]:.1f}" for one in labels)] for name in found["wa"]["given"]]
    return aligned([head, *rows, ["chance", "", f"{found['chance']:.1f}"]])


def beginning_of_vgg19() -> str:
    found = results_of("vgg19_begins")
    runs, training = found["runs"], found["training"]
    rows = [["Network", "seed", *(f"epoch {n + 1}" for n in range(training["epochs"])), "begins in epoch"]]
    names = {"before": "version 1", "now": "version 2"}
    for run in runs:
        epochs = [f"{one['loss']:.2f}, {100 * one['validation_accuracy']:.0f}%" for one in run["epochs"]]
        rows.append([names[run["network"]], f"{run['seed']}", *epochs, f"{run['begins'] or 'none'}"])
    counts = [
        f"{sum(run['begins'] is not None for run in each)} of {len(each)} of {names[name]}"
        for name in names
        if (each := [run for run in runs if run["network"] == name])
    ]
    segments, where = runs[0]["training_segments"], found["card"] or f"{found['cores']} cores"
    return (
        f"{aligned(rows).rstrip()}\n\n"
        f"Training loss and validation accuracy by epoch, on {segments:,} segments ({where}). A network has begun to "
        f"learn when its loss is below {runs[0]['loss_limit']:.2f} and its accuracy above the share of the most "
        f"frequent class, {100 * runs[0]['accuracy_limit']:.0f}%: {' and '.join(counts)}."
    )


BLOCKS: dict[str, Callable[[], str]] = {
    "grid_fields": lambda: fields_of(GridSpec),
    "training_fields": lambda: fields_of(TrainingChoice),
    "feature_fields": lambda: fields_of(FeatureChoice),
    "scheduler_fields": lambda: fields_of(Halving),
    "resource_fields": lambda: fields_of(Resources),
    "tracking_fields": lambda: fields_of(Tracking),
    "costs_of_a_trial": costs_of_a_trial,
    "sharing_of_slots": sharing_of_slots,
    "rates_of_training": rates_of_training,
    "parts_of_a_step": parts_of_a_step,
    "accuracy_of_training": accuracy_of_training,
    "seconds_of_preparing": seconds_of_preparing,
    "seconds_of_sweeping": seconds_of_sweeping,
    "start_up": start_up,
    "signals": signals,
    "seconds_of_tables": seconds_of_tables,
    "forests": seconds_of_forests,
    **GPU_BLOCKS,
    "prepare": lambda: fenced(text_of("emodb_lite", "prepare.txt")),
    "emodb_table_5": lambda: table_of("emodb_lite", "Table V"),
    "emodb_tables": lambda: text_of("emodb_lite", "tables.md"),
    "same_bits": same_bits,
    "speaker_forests": speaker_forests,
    "vgg19_begins": beginning_of_vgg19,
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
    "chaos_faults": faults_of_chaos,
    "chaos_outcome": outcome_of_chaos,
    "simulated_worlds": simulated_worlds,
    "planted_bugs": planted_bugs,
    "claims_on_s3": claims_on_s3,
    "coverage_by_kind": coverage_by_kind,
    "coverage_of_rates": coverage_of_rates,
    "coverage_of_differences": coverage_of_differences,
    "label_correction": lambda: table_of("label_correction", "Targets that are right"),
}


def filled(page: str) -> str:
    """`page` with every block as the results say. Raises KeyError for a block nobody makes."""
    return re.sub(
        r"<!-- (\w+) -->\n.*?<!-- end -->",
        lambda found: f"<!-- {found[1]} -->\n{BLOCKS[found[1]]()}\n<!-- end -->",
        page,
        flags=re.DOTALL,
    )


FILES: dict[Path, Callable[[], str]] = {
    ROOT / "docs" / "architecture.svg": drawing,
    ROOT / "configs" / "grid.schema.json": lambda: json.dumps(grid_schema(), indent=2) + "\n",
}


def main() -> int:
    made = {page: filled(page.read_text(encoding="utf-8")) for page in PAGES}
    made |= {path: make() for path, make in FILES.items()}
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        print("\n".join(f"{path.name} is not up to date: python docs/figures.py" for path in stale))
        return int(bool(stale))
    for path in stale:
        path.write_text(made[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
