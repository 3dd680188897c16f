"""What was run: the grid's axes, software and devices, launches, and what each kind of stage and each stage cost."""

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.identity import backbone_name, source_name
from analysis.scoring.formats import MISSING, joined
from analysis.scoring.setup import training_text
from analysis.tables.blocks import Block, Line
from analysis.tables.cells import NumberCell, QuantityCell, TableCell, TextCell
from analysis.tables.listings import Heading
from data_prep.text import counted
from dsl.labels import LEAKY_LABEL_SOURCES
from sweep.planning.stages import ChainSpec, Plan, StageSpec
from sweep.storage.events import LaunchSummary

Record = Mapping[str, Any]  # of a stage, as in stage.json
Fact = tuple[str, str]  # what it is, and its value


def without_secrets(text: str) -> str:
    """`text` without what addresses say of users, passwords and keys."""
    text = re.sub(r"(?<=://)[^/@\s'\"]+@", "…@", text)
    return re.sub(r"(?i)([?&][^=&\s]*(?:key|token|secret|password)[^=&\s]*=)[^&\s'\"]+", r"\1…", text)


def grid_facts(plan: Plan, shown: Sequence[ChainSpec], settings: str = "") -> list[Fact]:
    """The axes of a grid, as its chains have them; the training is that of the chains that are `shown`. `settings` says
    how many settings there are, of a grid that has several."""
    chains = [chain.last for chain in plan.chains]
    folds = " and ".join(counted(each, "fold") for each in sorted({one.folds for one in chains}))
    facts = [
        ("Corpora", _listed(one.corpus for one in chains)),
        ("Backbones", _listed(backbone_name(one.backbone) for one in chains)),
        ("Rules", _listed(joined(one.rule, one.alpha) for one in chains)),
        ("Iterations", str(max(one.iteration for one in chains))),
        ("Label sources", _listed(source_name(one.label_source) for one in chains if one.label_source)),
        ("Split", f"{_listed(one.split_name for one in chains)}, {folds}"),
        ("Training seeds", _listed(map(str, sorted({one.seed for one in chains})))),
        ("Labels", _listed(one.labels for one in chains)),
        ("Settings", settings),
        ("Training", "; ".join(dict.fromkeys(training_text(chain.last.training) for chain in shown))),
    ]
    return [fact for fact in facts if fact[1]]


def _listed(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def software(records: Iterable[Record]) -> list[Fact]:
    """The versions that stages were trained with; several where they differ, each with its number of stages."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        for name, version in _mapping(record, "versions").items():
            found[str(name)][str(version)] += 1
        found["code revision"][str(record.get("revision") or "unknown")] += 1
    return [(name, _counted(versions)) for name, versions in sorted(found.items())]


def _counted(values: Counter[str]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return ", ".join(f"{value} ({counted(count, 'stage')})" for value, count in values.most_common())


def devices(records: Iterable[Record]) -> Block:
    """The kinds of device that stages were trained on."""
    found: dict[tuple[str, str, TableCell], list[Record]] = defaultdict(list)
    for record in records:
        device = _mapping(record, "device")
        share, threads = device.get("gpu_share") or 0, int(device.get("threads", 0))
        on_cpu = NumberCell(threads, unit="thread" if threads == 1 else "threads")
        about = QuantityCell(f"{share:g}", " of a GPU") if share else on_cpu
        found[str(device.get("type", "unknown")), str(device.get("name", "unknown")), about].append(record)
    lines = [
        Line(f"{name} ({kind})", (about, NumberCell(len(own)), _hours(own), _gigabytes(own)))
        for (kind, name, about), own in found.items()
    ]
    return Block("Devices", headings("Device", "Share of it", "Stages", "Hours", "Peak memory [GB]"), tuple(lines))


def headings(*names: str) -> tuple[Heading, ...]:
    """A heading for each name."""
    return tuple(map(Heading, names))


def device_hours(records: Iterable[Record]) -> float:
    """Hours that trainings took of devices, each by its share of a GPU or, without one, in full."""
    return sum(
        (_number(record, "timing", "seconds") or 0) * (_number(record, "device", "gpu_share") or 1) / 3600
        for record in records
    )


def _hours(records: Iterable[Record]) -> TableCell:
    return NumberCell(sum(_number(record, "timing", "seconds") or 0 for record in records) / 3600, 2)


def _gigabytes(records: Iterable[Record]) -> TableCell:
    peak = max((_number(record, "device", "peak_memory_bytes") or 0 for record in records), default=0)
    return NumberCell(peak / 1e9 or None, 2)


def launches_block(launches: Sequence[LaunchSummary], price_per_hour: float | None) -> Block:
    """Launches on the store, of this grid or of others, without who launched them and where."""
    price = () if price_per_hour is None else ("Price",)
    head = headings("Launch", "Grid", "Trained", "Reused", "Failed", "Hours", "Device-hours", *price)
    lines = []
    for one in launches:
        hours = one.device_seconds / 3600
        cells: list[TableCell] = [TextCell(one.grid)]
        cells += [NumberCell(count) for count in (one.trained, one.reused, one.failed)]
        cells += [NumberCell(one.seconds / 3600, 2), NumberCell(hours, 2)]
        cells += [] if price_per_hour is None else [NumberCell(hours * price_per_hour, 2)]
        lines.append(Line(f"{_minute(one.time)}{one.end and f', {one.end}'}", tuple(cells)))
    return Block("Launches", head, tuple(lines))


def costs(plan: Plan, records: Mapping[str, Record]) -> Block:
    """What the stages of each kind, over folds and seeds, have taken so far."""
    cells: dict[str, list[StageSpec]] = defaultdict(list)
    for stage in plan.stages.values():
        cells[plan.cell_of(stage)].append(stage)
    lines = []
    for cell, stages in cells.items():
        own = [records[stage.key] for stage in stages if stage.key in records]
        shown = (
            NumberCell(len(own), unit=f"of {len(stages)}"),
            _median(own, "timing", "seconds", 1),
            _median(own, "metrics", "epochs", 1),
            _median(own, "timing", "segments_per_second", 0),
            _hours(own) if own else TextCell(),
        )
        lines.append(Line(cell, shown, stages[0].label_source in LEAKY_LABEL_SOURCES))
    head = headings("Stages", "Done", "Median seconds", "Median epochs", "Median segments/s", "Hours in all")
    return Block("Cost by kind of stage", head, tuple(lines))


def stages_block(plan: Plan, records: Mapping[str, Record]) -> Block:
    """Every finished stage of the plan."""
    lines = []
    for key, stage in plan.stages.items():
        if key in records:
            record = records[key]
            share = _number(record, "metrics", "validation_wa")
            cells = (
                NumberCell(_number(record, "timing", "seconds"), 1, grouped=True),
                NumberCell(_number(record, "metrics", "epochs"), grouped=True),
                NumberCell(_number(record, "timing", "segments_per_second"), grouped=True),
                NumberCell(None if share is None else 100 * share, 2),
                TextCell(str(_mapping(record, "device").get("name", MISSING))),
                TextCell(_second(_mapping(record, "timing").get("finished"))),
                TextCell(key, code=True),
            )
            lines.append(Line(plan.label_of(key), cells, stage.label_source in LEAKY_LABEL_SOURCES))
    names = ("Stage", "Seconds", "Epochs", "Segments/s", "WA validation", "Device", "Finished (UTC)", "Key")
    return Block("Every stage", headings(*names), tuple(lines))


def _minute(time: str) -> str:
    """A time of an event as people read it: `2026-11-27 00:43`."""
    return time[:16].replace("T", " ")


def _second(time: Any) -> str:
    """A time of stage.json, which ends in Z, as people read it: `2026-11-27 00:43:15`."""
    return MISSING if time is None else str(time).replace("T", " ").removesuffix("Z")


def _median(records: Iterable[Record], part: str, name: str, digits: int) -> TableCell:
    known = [value for record in records if (value := _number(record, part, name)) is not None]
    return NumberCell(statistics.median(known) if known else None, digits, grouped=True)


def _number(record: Record, part: str, name: str) -> float | None:
    value = _mapping(record, part).get(name)
    return float(value) if isinstance(value, int | float) and value == value else None


def _mapping(record: Record, name: str) -> Mapping[str, Any]:
    """A part of stage.json; empty where an old version did not write it."""
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}
