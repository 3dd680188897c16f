"""Blocks of docs/performance.md and others on what this machine measured: trials, trainings, commands and forests."""

import statistics
from collections.abc import Callable

from from_results import NAMES, results_of, table, table_by

from analysis.tables.render import aligned

STARTS = {
    "inline": "`run --inline`, to the first step",
    "ray": "`run` on Ray, to the first step",
    "plain_tune": "plain Ray Tune, to the first step",
    "plan": "`plan`",
    "tables": "`tables`, with forests",
    "tables_again": "`tables`, with decisions from the store",
}


def costs_of_a_trial() -> str:
    """What a trial costs beside its training, against plain Ray Tune."""
    found = results_of("scale")
    rows = [
        [name, f"{one['trials']:,}", f"{1000 * one['seconds_per_trial']:.1f}", f"{one['driver_peak_mb']:,.0f}"]
        for name, one in (("plain Ray Tune, `grid_search`", found["rival"]), ("`ser-sweep run`", found["ours"]))
    ]
    shown = table(["", "Trials", "ms per trial", "Memory of the driver, MB"], rows)
    commands = (
        f"On that store `plan` takes {found['plan_seconds']:.1f} s and `status` {found['status_seconds']:.1f} s. "
        f"`tables --no-forests` takes {found['tables_first_seconds']:.0f} s the first time and "
        f"{found['tables_seconds']:.0f} s afterwards. Plain Ray Tune took {found['ratio']:.2f} times as long per trial."
    )
    return f"{shown}\n\n{commands}"


def sharing_of_slots() -> str:
    """Trainings against stages, and how busy the slots were, by number of trials at a time."""
    columns = {
        "Trials at a time": "{concurrent}",
        "Stages of the chains": "{naive_stages:,}",
        "Distinct stages": "{stages}",
        "Trainings": "{trainings}",
        "Ratio": "{ratio:.2f}",
        "Busy slots": "{utilisation:.1%}",
        "s a trial": "{trial_seconds:.1f}",
    }
    return table_by(columns, results_of("sharing")["runs"])


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
        rows.append([name, *cells])
        doubled = ", ".join(f"{rate:,.0f}" for rate in each["ours"])
        growth.append(f"{name} {doubled} for {', '.join(f'{size:,}' for size in one['segments'])} segments")
    loops = [f"{loop}, {cores}" for loop in ("plain loop", "ours") for cores in ("all cores", "each core")]
    ratios_of = [f"Ratio, {what}" for what in ("all cores", "each core", "as used")]
    limits = [f"limit of the {what} (reached)" for what in ("arithmetic", "memory")]
    text = f"Segments per second of ours, each core, as epochs double in size: {'; '.join(growth)}."
    return f"{table(['Segments per second', *loops, *ratios_of, *limits], rows)}\n\n{text}"


def parts_of_a_step() -> str:
    """What a training step's time goes to."""
    found = results_of("training")["backbones"]
    rows = [[kind, *(f"{100 * one['shares'][kind]:.0f}%" for one in found)] for kind in found[0]["shares"]]
    return table(["Share of a step", *(NAMES[one["backbone"]] for one in found)], rows)


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
        rows.append([NAMES[one["backbone"]], learnt, *cells])
    about = ["Held-out accuracy, %", "epochs x segments, batch, learning rate"]
    head = [*about, "plain loop, by seed", "mean (s.d.)", "ours, by seed", "mean (s.d.)"]
    return table(head, rows, "lllrlr")


def seconds_of_preparing() -> str:
    """Prepare against a librosa loop, and against the features alone."""
    columns = {
        "Utterances": "{utterances}",
        "s of audio": "{audio_seconds:,.0f}",
        "librosa loop, s": "{seconds[rival]:.2f}",
        "`prepare`, s": "{seconds[ours]:.2f}",
        "Ratio": "{ratio:.1f}",
        "decoding and features alone, one core, s": "{seconds[features_alone]:.2f}",
        "`prepare` / features alone": "{times_features_alone:.1f}",
    }
    return table_by(columns, results_of("prepare")["parts"])


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
        rows.append(cells)
    head = ["Chains", "Our trainings", "s per training", "`ser-sweep run`, s", "`run` / ideal"]
    head += ["plain `grid_search`, s", "Ratio", "Optuna and joblib, s", "Ratio"]
    return table(head, rows, "r" * len(head))


def start_up() -> str:
    """Seconds before commands do their work, of this code, of that before, and of plain Ray Tune."""
    found = results_of("start_up")
    rows = []
    for way, name in STARTS.items():
        one = found["ways"][way]
        cells = [name, *_seconds_and_cpu(one["ours"]), *_seconds_and_cpu(one.get("before", {}))]
        rows.append([*cells, f"{one['before_ratio']:.2f}" if "before_ratio" in one else ""])
    shown = table(["", "s", "CPU s", "before, s", "before, CPU s", "before / now"], rows)
    said = (
        f"Medians of {found['rounds']} alternating rounds, on {found['cores']} cores shared with other work (a load of "
        f"{found['load']:.0f}), so only the ratios are reliable. Plain Ray Tune takes "
        f"{found['ways']['ray']['plain_tune_ratio']:.2f} times as long as `run` on Ray."
    )
    return f"{shown}\n\n{said}"


def _seconds_and_cpu(one: dict[str, float]) -> list[str]:
    return [f"{one[name]:.1f}" if name in one else "" for name in ("seconds", "cpu_seconds")]


def seconds_of_tables() -> str:
    """Rates of many stages against a pandas loop."""
    columns = {
        "Stages": "{stages:,}",
        "pandas loop, s": "{rival:.1f}",
        "ours, s": "{ours:.1f}",
        "Ratio": "{ratio:.1f}",
        "pandas loop, MB": "{rival_peak_mb:,.0f}",
        "ours, MB": "{ours_peak_mb:,.0f}",
    }
    return table_by(columns, results_of("tables")["runs"])


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


BENCHMARK_BLOCKS: dict[str, Callable[[], str]] = {
    "costs_of_a_trial": costs_of_a_trial,
    "sharing_of_slots": sharing_of_slots,
    "rates_of_training": rates_of_training,
    "parts_of_a_step": parts_of_a_step,
    "accuracy_of_training": accuracy_of_training,
    "seconds_of_preparing": seconds_of_preparing,
    "seconds_of_sweeping": seconds_of_sweeping,
    "start_up": start_up,
    "seconds_of_tables": seconds_of_tables,
    "forests": seconds_of_forests,
    "speaker_forests": speaker_forests,
    "vgg19_begins": beginning_of_vgg19,
}
