"""What the folds of a grid are.

ser-sweep folds show GRID.yaml --data DATA
"""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from data_prep.text import counted
from ser_sweep.commands.arguments import DONE, add_command, add_group, path
from ser_sweep.sweeps import open_sweep

if TYPE_CHECKING:
    from dsl.overlaps import FoldParts
    from sweep.planning.stages import StageSpec

OF_A_FOLD = {"speaker": "speakers in both", "text": "texts in both", "sound": "same recording"}  # column -> its heading
IN_WORDS = {
    "speaker": "by a speaker whom training or validation has, too",
    "text": "of a text that training or validation has, too",
    "sound": "the same recording as one of training or validation",
}
UNKNOWN = "not told"


def add(commands: Any) -> None:
    group = add_group(commands, "folds", "show the folds of a grid, and what training and test share")
    show = add_command(
        group,
        "show",
        run_folds_show,
        "list what training, validation and test have in common, for each corpus, split and fold",
        "ser-sweep folds show configs/emodb_lite.yaml --data DATA",
    )
    show.add_argument("grid", type=path, metavar="GRID.yaml", help="the grid file; see configs/")
    show.add_argument("--data", required=True, help="folder of prepared corpora: a path or an address")
    show.add_argument("--json", action="store_true", help="print a JSON list")


def run_folds_show(options: argparse.Namespace) -> int:
    listed = open_sweep(options.grid, options.data).folds()
    if options.json:
        about = [{**_about(stage), "parts": [asdict(one) for one in parts]} for stage, parts in listed]
        print(json.dumps(about, indent=2))
    else:
        print("\n".join(_text(stage, parts) for stage, parts in listed), end="")
    return DONE


def _about(stage: "StageSpec") -> dict[str, Any]:
    return {"corpus": stage.corpus, "split": stage.split_name, "folds": stage.folds, "seed": stage.seed}


def _text(stage: "StageSpec", parts: "list[FoldParts]") -> str:
    from analysis.tables.render import aligned

    head = ["fold", "training", "validation", "test", *OF_A_FOLD.values()]
    rows = []
    for one in parts:
        shared = []
        for column in OF_A_FOLD:
            found = one.overlaps.get(column)
            shared.append(UNKNOWN if found is None else f"{found.shared:,} of {found.values:,}")
        rows.append([str(one.fold), *(f"{count:,}" for count in (one.training, one.validation, one.test)), *shared])
    tested = sum(one.test for one in parts)
    lines = [f"{stage.corpus}, {stage.split_name} split, {counted(stage.folds, 'fold')}, seed {stage.seed}", ""]
    lines += [aligned([head, *rows])]
    for column, words in IN_WORDS.items():
        told = [one.overlaps[column].utterances for one in parts if column in one.overlaps]
        if told:
            lines.append(f"{sum(told):,} of {counted(tested, 'test utterance')}: {words}")
    return "\n".join(lines) + "\n"
