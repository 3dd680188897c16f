"""Tables of docs/performance.md, from the results of benchmarks/rented_gpu.py: one for each call, naming its card.

Jobs that failed or were skipped are listed as such. Blocks that no call has measured yet say so.
"""

import json
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.identity import BACKBONE_NAMES

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
FILES = ("rented_gpu_earlier.jsonl", "rented_gpu_1.jsonl", "rented_gpu_2.jsonl")
KERNELS = ROOT / "dsl" / "acceleration" / "gpu_kernels.py"
NOT_YET = "Not measured yet."
NO_PROCESSES = "No call has measured this: in the only attempt, MPS did not start within 20 s."
NOTHING = "—"
NO_CARD = "unknown card"
PRECISIONS = ("float32", "bfloat16")
LONGEST_CAUSE = 120
NO_NORMS = "vgg19"  # had no layers that there are kernels for, as it was when it was measured
FAULTS = {
    "capture_raises": "a step cannot be recorded",
    "capture_out_of_memory": "memory runs out while a step is recorded",
    "other_bits": "a recorded step gives other bits",
    "empty_cache_raises": "memory cannot be given back",
    "little_memory": "a trial has only {mebibytes:,} MiB",
}
LAYERS = {
    "BatchNorm2d": "batch norm",
    "BatchNormAct2d": "batch norm, with its activation",
    "Conv2d": "depthwise convolution",
    "SqueezeExcite": "squeeze and excitation",
}
ABOUT = ("service", "way", "of", "layer", "layout", "precision", "networks", "mebibytes", "part", "module")

Line = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """What one call of the program found."""

    lines: Sequence[Line]

    def of(self, what: str, having: str | None = None, **facts: Any) -> list[Line]:
        """The lines of jobs of a kind that have a field, and say these facts."""
        return [
            line
            for line in self.lines
            if line["job"].split()[0] == what
            and (having is None or having in line)
            and all(line.get(name) == value for name, value in facts.items())
        ]

    def last(self, what: str, having: str | None = None, **facts: Any) -> Line:
        """The last of them; empty where there is none."""
        return (self.of(what, having, **facts) or [{}])[-1]

    def backbones(self, what: str) -> list[str]:
        said = {line["backbone"] for line in self.of(what, "backbone")}
        return [name for name in BACKBONE_NAMES if name in said] + sorted(said - set(BACKBONE_NAMES))

    @property
    def card(self) -> str:
        named = [line["gpu"] for what in ("versions", "card") for line in self.of(what, "gpu")]
        named += [line["device"]["name"] for line in self.of("pack", "device")]
        return next(filter(None, named), NO_CARD)

    @property
    def title(self) -> str:
        return f"**{self.card}**, call {self.lines[0]['call']}{self._layers}"

    @property
    def _layers(self) -> str:
        """Whose kernels a step started, where these were listed or that is said."""
        said = self.last("card", "about")
        if said:
            return f", {said['about']}"
        listed = [line["longest"] for line in self.of("parity", "longest") if line["backbone"] != NO_NORMS]
        if not any(listed):
            return ""
        own = set(re.findall(r"^def (\w+)", KERNELS.read_text(encoding="utf-8"), re.MULTILINE))
        started = {name for each in listed for name, *_ in each}
        return ", with kernels of our own" if own & started else ", with torch's layers alone"

    def missing(self, whats: Iterable[str]) -> str:
        """Which of these jobs failed or were skipped, or what of them was."""
        causes: dict[tuple[str, str], list[str]] = defaultdict(list)
        for line in (line for what in whats for line in self.of(what)):
            if "error" in line or "skipped" in line:
                why = f"skipped, {line['skipped']}" if "skipped" in line else cause(line["error"])
                about = ", ".join(f"{line[name]}"[:40] for name in ABOUT if name in line)
                causes[line["job"], why].append(about)
        several = []
        for (job, why), abouts in causes.items():
            which = f" ({abouts[0] if len(abouts) == 1 else f'{len(abouts)} times'})" if any(abouts) else ""
            several.append(f"`{job}`{which}: {why}")
        return f"Failed or skipped: {'; '.join(several)}." if several else ""


def calls() -> list[Call]:
    """The calls whose results are there. A file may have the lines of several, each with an end."""
    found: list[list[Line]] = []
    for path in (RESULTS / name for name in FILES):
        found.append([])
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            found[-1].append(json.loads(line))
            if found[-1][-1]["job"] == "end":
                found.append([])
    return [Call(lines) for lines in found if lines]


def of_each_call(whats: Sequence[str], make: Callable[[Call], str], none: str = NOT_YET) -> str:
    """What `make` says of each call with jobs of the first kind, below its title, and what these jobs failed at; `none`
    where there is no such call."""
    several = [call for call in calls() if call.of(whats[0])]
    parts = ["\n\n".join(filter(None, [call.title, make(call), call.missing(whats)])) for call in several]
    return "\n\n".join(parts) or none


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, with the first column to the left; nothing where there are no rows."""
    line = "| :--- |" + " ---: |" * (len(head) - 1)
    return "\n".join([f"| {' | '.join(head)} |", line, *(f"| {' | '.join(row)} |" for row in rows)]) if rows else ""


def cause(error: str) -> str:
    """The beginning of a message."""
    first = (error.strip().splitlines() or ["no word"])[0].partition(". ")[0].replace("|", "/")
    return first if len(first) <= LONGEST_CAUSE else f"{first[:LONGEST_CAUSE]} …"


def named(backbone: str) -> str:
    return BACKBONE_NAMES.get(backbone, backbone)


def whole(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"


def rate(line: Line) -> str:
    return whole(line.get("rate"))


def megabytes(line: Line) -> str:
    return whole(line["memory"]["reserved"] / 1e6) if line.get("memory") else NOTHING


# The calls


def gpu_calls() -> str:
    """Cards, versions, and how the jobs ended."""
    rows = []
    for call in calls():
        about, smi, end = call.last("versions", "torch"), call.last("versions", "nvidia_smi"), call.last("end")
        driver = smi["nvidia_smi"][0].split(", ")[1] if smi.get("nvidia_smi") else NOTHING
        jobs = [f"{end[name]}" if end else NOTHING for name in ("ok", "failed", "skipped")]
        versions = [about.get("torch", NOTHING), f"{about.get('cudnn', NOTHING)}", driver]
        rows.append([call.title, *versions, *jobs, f"{end['seconds']:.0f}" if end else NOTHING])
    head = ["Card", "torch", "cuDNN", "driver", "jobs succeeded", "failed", "skipped", "seconds"]
    return table(head, rows) or NOT_YET


# Is it right


def parity_table(call: Call) -> str:
    rows = []
    for backbone in call.backbones("parity"):
        for precision in PRECISIONS:
            these = {"backbone": backbone, "precision": precision}
            slow = call.last("parity", **these, of="recording", way="unrecorded")
            fast = call.last("parity", **these, of="recording", way="recorded")
            beside = call.last("parity", **these, of="side_by_side")
            same = [
                verdict({**fast, **call.last("parity", "same_bits", **these, of="recording")}),
                verdict(beside),
                verdict(call.last("parity", **these, of="resume")),
            ]
            kernels = call.last("parity", "kernels_a_step", **these, of="kernels").get("kernels_a_step")
            memory = [megabytes(line) for line in (slow, fast, beside)]
            rows.append([named(backbone), precision, *same, whole(kernels), *memory])
    head = ["Same bits", "precision", "recorded", "three side by side", "interrupted", "kernels per step"]
    return table([*head, "MB, step by step", "MB, recorded", "MB, three side by side"], rows)


def verdict(line: Line) -> str:
    """`yes`, `no` or why that is not known; and why a step was not recorded, where it was not."""
    if "same_bits" not in line:
        return "failed" if "error" in line else NOTHING
    said = line.get("recorded", "exact")
    refused = [one.removeprefix("no: ") for one in ([said] if isinstance(said, str) else said) if one != "exact"]
    return ("yes" if line["same_bits"] else "no") + (f", not recorded: {cause(refused[0])}" if refused else "")


def drill_table(call: Call) -> str:
    undisturbed = call.last("shared", "predictions", process="alone").get("predictions")
    faults = list(FAULTS)
    drills = call.of("drill", "committed")
    drills.sort(key=lambda line: (faults.index(line["fault"]), line.get("mebibytes")))
    beside = [line for line in call.of("shared", "committed") if line["process"] != "alone"]
    rows = []
    for line in [*drills, *beside]:
        name = FAULTS[line["fault"]].format(**line) if "fault" in line else "two processes, half a GPU each"
        bits = NOTHING
        if line["predictions"] and undisturbed:
            bits = "same" if line["predictions"] == undisturbed else "other"
        last = "arrived" if line["ended"] else "lost"
        rows.append([name, f"{line['committed']} of {line['stages']}", last, bits, came_of(line)])
    head = ["Fault", "stages finished", "last report", "bits of its stages", "outcome"]
    return table(head, list(map(list, dict.fromkeys(map(tuple, rows)))))


def came_of(line: Line) -> str:
    if line.get("out_of_memory"):
        return "reported as out of memory"
    if "cause" in line:
        return f"failed: {cause(line['cause'])}"
    said = sorted(set(line.get("recorded") or ["no: no word"]))
    return "recorded" if said == ["exact"] else f"step by step: {cause(said[-1].removeprefix('no: '))}"


# How fast is it


def layout_table(call: Call) -> str:
    ways = sorted({(line["networks"], line["layout"]) for line in call.of("layouts", "rate")})
    rows = [
        [named(backbone), precision]
        + [
            rate(call.last("layouts", "rate", backbone=backbone, precision=precision, networks=networks, layout=layout))
            for networks, layout in ways
        ]
        for backbone in call.backbones("layouts")
        for precision in PRECISIONS
    ]
    head = [f"{layout}, {networks} network{'s' * (networks > 1)}" for networks, layout in ways]
    return table(["Segments per second", "precision", *head], rows)


def rate_table(call: Call) -> str:
    several = sorted({line["networks"] for line in call.of("rates", "rate", way="recorded")})
    rows = []
    for backbone in call.backbones("rates"):
        plain = call.last("rates", "rate", backbone=backbone, way="plain").get("rate")
        for precision in PRECISIONS:
            these = {"backbone": backbone, "precision": precision}
            step = call.last("rates", "rate", **these, way="step by step")
            recorded = [call.last("rates", "rate", **these, way="recorded", networks=each) for each in several]
            best = max(recorded, key=lambda line: line.get("rate", 0.0), default={})
            alone = call.last("rates", "rate", **these, way="recorded", networks=1)
            ratios = [f"{line['rate'] / plain:.1f}" if line and plain else NOTHING for line in (alone, best)]
            first = [whole(plain) if precision == "float32" else NOTHING, rate(step)]
            row = [*first, *map(rate, recorded), *ratios, megabytes(best)]
            if {*row} != {NOTHING}:
                rows.append([named(backbone), precision, *row])
    head = [f"{networks} side by side" if networks > 1 else "recorded" for networks in several]
    head = ["plain loop", "step by step", *head, "recorded / plain", "best / plain", "MB, best"]
    parts = [table(["Segments per second", "precision", *head], rows), allowed(call), compiled(call)]
    return "\n\n".join(filter(None, parts))


def allowed(call: Call) -> str:
    limits = [
        f"{named(line['backbone'])} {line['arithmetic_limit']:,.0f} and {line['traffic_limit']:,.0f}"
        for line in call.of("rates", "traffic_limit")
    ]
    return f"Limits of the arithmetic and of the memory, in segments per second: {'; '.join(limits)}." if limits else ""


def compiled(call: Call) -> str:
    sentences = []
    for line in call.of("compiled", "rate"):
        start = call.last("compiled", "start_seconds", backbone=line["backbone"]).get("start_seconds")
        beside = "" if line.get("alone") else ", while other work used the device, too"
        after = "" if start is None else f", after {start:,.0f} s of compiling beside other work"
        sentences.append(
            f"`torch.compile`, {named(line['backbone'])}: {rate(line)} segments per second{beside}{after}."
        )
    return " ".join(sentences)


def process_table(call: Call) -> str:
    rows = []
    for line in call.of("processes", "rate"):
        these = {"backbone": line["backbone"], "precision": "float32", "way": "recorded"}
        beside = call.last("rates", "rate", **these, networks=line["processes"])
        service = "with MPS" if line["service"] == "mps" else "without MPS"
        numbers = [f"{line['processes']}", rate(line), whole(line["slowest"]), rate(beside)]
        rows.append([named(line["backbone"]), service, *numbers])
    head = ["Segments per second", "service", "processes", "together", "slowest"]
    return table([*head, "as many networks in one process"], rows)


def layer_table(call: Call) -> str:
    kinds: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in call.of("layers", "ours_error"):
        kind = line["layer"].partition("(")[0]
        kinds[LAYERS.get(kind, kind), line["precision"]].append(line)
    rows = []
    for (kind, precision), lines in sorted(kinds.items(), reverse=True):
        ours, torch = (sum(line.get(f"{whose}_us", 0.0) for line in lines) for whose in ("ours", "torch"))
        times = [whole(ours), whole(torch), f"{torch / ours:.1f}"] if ours else [NOTHING] * 3
        apart = [f"{max(line[f'{whose}_error'] for line in lines):.0e}" for whose in ("ours", "torch")]
        rows.append([kind, precision, f"{len(lines)}", *times, *apart])
    head = ["Layers", "precision", "number", "ours, µs", "torch, µs", "Ratio", "error, ours", "error, torch"]
    return table(head, rows)


# Stages of a grid


def stage_table(call: Call) -> str:
    cells: dict[tuple[str, ...], list[Line]] = defaultdict(list)
    for line in call.of("pack", "stage"):
        cell = re.sub(r" fold \d+", "", line["label"] or line["stage"])
        cells[cell, line["device"]["name"], f"{line['device']['fused']}"].append(line)
    rows = []
    for (cell, card, beside), lines in cells.items():
        took = [line["timing"]["seconds"] for line in lines]
        epochs = statistics.median(line["metrics"]["epochs"] for line in lines)
        fast = [line["timing"]["segments_per_second"] for line in lines]
        learnt = [line["metrics"]["training_segments"] * line["metrics"]["epochs"] for line in lines]
        learning = sum(segments / rate for segments, rate in zip(learnt, fast, strict=True))
        seconds = [f"{statistics.median(took):.1f}", whole(sum(took)), whole(learning)]
        rows.append([cell, card, f"{len(lines)}", beside, f"{epochs:g}", whole(statistics.median(fast)), *seconds])
    head = ["Stages", "card", "number", "side by side", "epochs", "segments per second, together"]
    head += ["s per stage", "s in total", "learning, s"]
    return "\n\n".join(filter(None, [table(head, rows), launched(call)]))


def launched(call: Call) -> str:
    several = []
    for line in call.of("stages", "trained"):
        up = ", interrupted at the deadline" if line["interrupted"] else ""
        failed = "".join(f", and {label} failed ({cause(why)})" for label, why in line["failures"].items())
        several.append(f"{line['part']} {line['trained']}, {line['training_seconds']:,.0f} s{up}{failed}")
    return f"Stages and seconds of training of each launch, by rule: {'; '.join(several)}." if several else ""


def gpu_cost() -> str:
    """What a grid takes at the best rates (benchmarks/gpu_cost.py)."""
    path = RESULTS / "gpu_cost.json"
    if not path.exists():
        return NOT_YET
    found = json.loads(path.read_text(encoding="utf-8"))
    cards = {line["rate"]: call.card for call in calls() for line in call.of("rates", "rate")}
    rows = []
    for backbone, each in found["device_hours"].items():
        for precision, hours in each.items():
            best = found["best"][backbone][precision]
            numbers = [f"{best['networks']}", rate(best), whole(found["segment_updates"][backbone]), f"{hours:,.2f}"]
            rows.append([named(backbone), cards.get(best["rate"], NO_CARD), precision, *numbers])
    head = ["Networks", "card", "precision", "side by side", "segments per second", "segment updates, at most", "hours"]
    return f"`{found['grid']}`, {found['stages']:,} stages:\n\n{table(head, rows)}"


def gpu_summary(backbone: str = "efficientnet_b0") -> str:
    """What recording, and networks side by side, have come to, in a sentence for each call that measured them."""
    said = []
    for call in calls():
        plain = call.last("rates", "rate", backbone=backbone, way="plain")
        alone = call.last("rates", "rate", backbone=backbone, way="recorded", networks=1, precision="float32")
        if not plain or not alone:
            continue
        most = []
        for precision in PRECISIONS:
            recorded = call.of("rates", "rate", backbone=backbone, way="recorded", precision=precision)
            best = max(recorded, key=lambda line: line["rate"], default=None)
            if best is not None:
                times = best["rate"] / plain["rate"]
                most.append(f"a factor of {times:.1f} in {precision} ({best['networks']} networks)")
        said.append(
            f"{BACKBONE_NAMES.get(backbone, backbone)} on {call.title.replace('**', '')}: with recorded steps, one "
            f"network trains {alone['rate'] / plain['rate']:.1f} times as fast as the plain loop in float32. Networks "
            f"side by side are faster than the plain loop by {' and '.join(most)}."
        )
    return "\n\n".join(said) or NOT_YET


GPU_BLOCKS: dict[str, Callable[[], str]] = {
    "gpu_summary": gpu_summary,
    "gpu_calls": gpu_calls,
    "gpu_parity": lambda: of_each_call(["parity"], parity_table),
    "gpu_drills": lambda: of_each_call(["drill", "shared"], drill_table),
    "gpu_layers": lambda: of_each_call(["layers"], layer_table),
    "gpu_layouts": lambda: of_each_call(["layouts"], layout_table),
    "gpu_rates": lambda: of_each_call(["rates", "compiled"], rate_table),
    "gpu_processes": lambda: of_each_call(["processes"], process_table, NO_PROCESSES),
    "gpu_stages": lambda: of_each_call(["stages", "pack"], stage_table),
    "gpu_cost": gpu_cost,
}
