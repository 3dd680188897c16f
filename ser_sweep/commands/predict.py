"""What trained networks say of recordings, and which ones a store keeps.

ser-sweep networks --store STORE
ser-sweep predict --store STORE --stage 3f0a recording.wav --figure contour.png
ser-sweep predict --store STORE --stage 3f0a *.wav --csv segments.csv
"""

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.errors import AudioError, UserError, bulleted
from data_prep.files import atomic_path
from data_prep.text import counted, plain
from ser_sweep.commands.arguments import add_command, of_store, path, quietly
from ser_sweep.commands.sweeps import existing_store
from ser_sweep.commands.terminal import notice, progress_bar, warnings_told

if TYPE_CHECKING:
    from sweep.inference import KnownUtterance, Spoken, TrainedNetwork
    from sweep.planning.stages import StageSpec

ROWS = 20  # of segments, where not all are asked for


def add(commands: Any) -> None:
    networks = add_command(
        commands,
        "networks",
        run_networks,
        "list the trained networks in a store, with their keys for predict",
        of_store,
    )
    networks.add_argument("--json", action="store_true", help="print a JSON list")
    predict = add_command(
        commands,
        "predict",
        run_predict,
        "ask a trained network about recordings: segment probabilities, and the decision by mean pooling",
        of_store,
        quietly,
    )
    predict.add_argument(
        "--stage", required=True, metavar="KEY", help="key of the network's stage, or a unique beginning of it"
    )
    predict.add_argument(
        "files",
        type=path,
        nargs="+",
        metavar="FILE",
        help="recordings, in any format and sampling rate that prepare reads",
    )
    predict.add_argument(
        "--chain",
        action="store_true",
        help="also ask the networks of the chain's earlier iterations, if the store keeps them",
    )
    predict.add_argument("--all", action="store_true", help=f"show every segment (default: {ROWS} segments)")
    predict.add_argument("--json", action="store_true", help="print one JSON object, with every segment")
    predict.add_argument("--csv", type=path, metavar="FILE", help="also write every segment to this file")
    predict.add_argument(
        "--figure", type=path, metavar="FILE", help="draw the paper's contours of one recording: a .png or .svg file"
    )


def run_networks(options: argparse.Namespace) -> None:
    from sweep.inference import kept_networks
    from sweep.planning.in_view import InView

    store = existing_store(options)
    kept = sorted(kept_networks(store), key=lambda pair: pair[0].label)
    view = InView.of(stage for stage, _ in kept)
    if options.json:
        told = [
            {
                "stage": record["key"],
                "network": stage.label_in(view),
                **{name: record[name] for name in ("classes", "metrics")},
            }
            for stage, record in kept
        ]
        print(json.dumps(told, indent=2))
        return
    for stage, record in kept:
        print(f"{record['key']}  {stage.label_in(view)}{_labels(stage)}")
    print(counted(len(kept), "network") + ("" if kept else "; grids with weights: last or weights: all keep them"))


def run_predict(options: argparse.Namespace) -> None:
    from sweep.inference import load_chain, load_network, predict_recording

    if options.figure is not None:
        _check_figure(options.figure, options.files)
    store = existing_store(options)
    networks = load_chain(store, options.stage) if options.chain else [load_network(store, options.stage)]
    with progress_bar(options) as progress:
        spoken: list[list[Spoken]] = []
        problems: list[str] = []
        progress("recordings", 0, len(options.files))
        for done, path in enumerate(options.files, start=1):
            try:
                spoken.append([predict_recording(network, path) for network in networks])
            except AudioError as error:
                problems.append(str(error))
            progress("recordings", done, len(options.files))
    if len(problems) > 1:
        raise AudioError(
            f"{len(problems)} of {counted(len(options.files), 'recording')} cannot be used\n{bulleted(problems)}"
        )
    if problems:
        raise AudioError(problems[0])
    for one, *_ in spoken:
        for remark in one.remarks:
            notice(options, f"{plain(one.path)}: {remark.detail}")
    if options.csv is not None:
        _write_csv(options.csv, networks, spoken)
        notice(options, f"wrote {options.csv}")
    if options.figure is not None:
        _draw(options, options.figure, spoken[0])
        notice(options, f"wrote {options.figure}")
    if options.json:
        print(json.dumps(_as_dict(networks, spoken)))
        return
    for said in spoken:
        _print_recording(said, options.all)


def _labels(stage: "StageSpec") -> str:
    return "" if stage.labels == "given" else f", labels {stage.labels.replace('_', ' ')}"


def _check_figure(path: Path, files: Sequence[Path]) -> None:
    """Before anything is computed. Raises UserError."""
    if path.suffix not in (".png", ".svg"):
        raise UserError(f"--figure {path}: its name must end with .png or .svg")
    if len(files) > 1:
        raise UserError(f"--figure {path} draws one recording, and {len(files)} are given; repeat the command for each")


def _print_recording(said: "Sequence[Spoken]", all_segments: bool) -> None:
    """What each network says of one recording: the decision last, where the eye is when a table has gone by."""
    one = said[0]
    channels = "" if one.channels == 1 else f", {one.channels} channels mixed to one"
    segments = counted(len(one.q), "segment")
    print(f"recording {plain(one.path)}: {one.length:.2f} s, {one.source_rate} Hz{channels}, {segments}")
    for one in said:
        classes = [plain(name) for name in one.network.classes]
        print(f"network   {one.network.stage.key}  {one.network.stage.label}{_labels(one.network.stage)}")
        if one.known is not None:
            print(f"          {_known_words(one.known)}")
        print()
        width = [max(len(name), 5) for name in classes]
        print("segment  centre  " + "  ".join(f"{name:>{w}}" for name, w in zip(classes, width, strict=True)))
        shown = range(len(one.q)) if all_segments else _spread(len(one.q))
        for number in shown:
            cells = "  ".join(f"{p:{w}.3f}" for p, w in zip(one.q[number], width, strict=True))
            print(f"{number:7}  {one.seconds[number]:4.2f} s  {cells}")
        print(f"{'mean':15}  " + "  ".join(f"{p:{w}.3f}" for p, w in zip(one.means, width, strict=True)))
        if len(shown) < len(one.q):
            print(f"({len(shown)} of {counted(len(one.q), 'segment')}; --all shows all)")
        print(f"\ndecision  {classes[one.decision]}, by mean pooling {_pooled(one)}; random forests are not kept\n")


def _pooled(one: "Spoken") -> str:
    every = one.network.stage.training.every
    beside = f" (tables have every {every}th)" if every > 1 else ""
    return f"of {counted(len(one.q), 'segment')}{beside}"


def _known_words(known: "KnownUtterance") -> str:
    part = "was tested on it" if known.tested else "has learnt from it"
    words = f"utterance {plain(known.id)} of its corpus, {plain(known.emotion)}: the network {part}"
    if known.compared:
        words += f"; the store's predictions within {known.difference:.1g}, on {counted(known.compared, 'segment')}"
    return words


def _spread(count: int) -> Sequence[int]:
    """At most ROWS of `count` segments, from the first to the last."""
    if count <= ROWS:
        return range(count)
    return [round(step * (count - 1) / (ROWS - 1)) for step in range(ROWS)]


def _as_dict(networks: "Sequence[TrainedNetwork]", spoken: "Sequence[Sequence[Spoken]]") -> dict[str, Any]:
    """What a program reads; probabilities have the digits of a float32."""
    return {
        "classes": list(networks[0].classes),
        "recordings": [
            {
                "file": str(said[0].path),
                "seconds": said[0].length,
                "source_rate": said[0].source_rate,
                "channels": said[0].channels,
                "remarks": [remark.detail for remark in said[0].remarks],
                "centres": said[0].seconds.round(6).tolist(),
                "networks": [
                    {
                        "stage": one.network.stage.key,
                        "network": one.network.stage.label,
                        "iteration": one.network.stage.iteration,
                        "decision": one.network.classes[one.decision],
                        "decided_by": "mean pooling",
                        "means": one.means.tolist(),
                        "known": _known_as_dict(one.known),
                        "q": [[float(str(p)) for p in row] for row in one.q],
                    }
                    for one in said
                ],
            }
            for said in spoken
        ],
    }


def _known_as_dict(known: "KnownUtterance | None") -> dict[str, Any] | None:
    if known is None:
        return None
    told = asdict(known)
    return told if known.compared else {**told, "difference": None}


def _write_csv(path: Path, networks: "Sequence[TrainedNetwork]", spoken: "Sequence[Sequence[Spoken]]") -> None:
    """One row a recording, network and segment."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        q_names = [f"q_{name}" for name in networks[0].classes]
        writer.writerow(["file", "stage", "iteration", "segment", "centre", *q_names])
        for one in (one for said in spoken for one in said):
            stage = one.network.stage
            for number, (centre, q) in enumerate(zip(one.seconds, one.q, strict=True)):
                writer.writerow([plain(one.path), stage.key, stage.iteration, number, f"{centre:.4f}", *q])


def _draw(options: argparse.Namespace, path: Path, said: "Sequence[Spoken]") -> None:
    from analysis.figures import draw_contours, save_figure

    last = said[-1]
    known = last.known
    label = last.decision if known is None else last.network.classes.index(known.emotion)
    figure = draw_contours(
        last.seconds,
        {one.network.stage.iteration: one.q for one in said},
        last.network.classes,
        label,
        f"{plain(last.path.name)}, decided: {plain(last.network.classes[last.decision])}\n{last.network.stage.label}",
        label_is="decided" if known is None else "label",
    )
    with warnings_told(options):
        save_figure(figure, path)
