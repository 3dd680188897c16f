"""What the folds of a grid are, and folds that others have published.

ser-sweep folds show configs/emodb_lite.yaml --data DATA
ser-sweep folds import emobox EmoBox --out emobox.csv --data DATA
"""

import argparse
import json
import sys
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.errors import UserError
from data_prep.text import plain
from ser_sweep.commands.arguments import add_command, add_group, of_data, path
from ser_sweep.sweeps import open_sweep

if TYPE_CHECKING:
    from sweep.planning.stages import StageSpec


def add(commands: Any) -> None:
    group = add_group(commands, "folds", "show the folds of a grid, or import published ones")
    show = add_command(
        group,
        "show",
        run_folds_show,
        "list what training, validation and test have in common, for each corpus, split and fold",
        of_data,
    )
    show.add_argument("grid", type=path, metavar="GRID.yaml", help="the grid file; see configs/")
    show.add_argument("--json", action="store_true", help="print a JSON list")
    imported = add_command(
        group,
        "import",
        run_folds_import,
        "write a file of published folds for the corpora that are read here, and say what they are",
    )
    imported.add_argument("kind", choices=["emobox"], help="whose folds: EmoBox's")
    imported.add_argument("folder", type=path, metavar="DIR", help="a checkout of EmoBox, or its folder data")
    imported.add_argument("--out", type=path, default=Path("emobox.csv"), help="file to write (default: emobox.csv)")
    imported.add_argument("--data", help="folder of prepared corpora, whose utterances to compare with the lists")
    imported.add_argument("--corpora", nargs="+", metavar="NAME", help="corpora to import (default: all there are)")


def run_folds_show(options: argparse.Namespace) -> None:
    from analysis.tables.folds_table import folds_text

    listed = open_sweep(options.grid, options.data).folds()
    if options.json:
        about = [{**_about(stage), "parts": [asdict(one) for one in parts]} for stage, parts in listed]
        print(json.dumps(about, indent=2))
    else:
        print("\n".join(folds_text(stage, parts) for stage, parts in listed), end="")


def _about(stage: "StageSpec") -> dict[str, Any]:
    listed = {} if stage.listed is None else {"fold_list": stage.listed.digest}
    return {"corpus": stage.corpus, "split": stage.split_name, **listed, "folds": stage.folds, "seed": stage.seed}


def run_folds_import(options: argparse.Namespace) -> None:
    from data_prep.emobox import emobox_corpora, notices_of, read_emobox
    from data_prep.fold_files import fold_file, write_fold_file

    there = emobox_corpora(options.folder)
    absent = [name for name in options.corpora or () if name not in there]
    if absent:
        raise UserError(f"--corpora {absent[0]}: EmoBox's lists of it are not there; there are {', '.join(there)}")
    wanted = list(options.corpora or there)
    prepared = dict.fromkeys(wanted) if options.data is None else _prepared_ids(options.data, wanted)
    found = [read_emobox(there[name], name, prepared[name]) for name in wanted if name in prepared]
    if not found:
        raise UserError(f"no corpus of EmoBox's ({', '.join(there)}) is prepared in {options.data}; check --data")
    write_fold_file(options.out, fold_file({one.corpus: one.folds for one in found}))
    for one in found:
        print(plain(one.text))
        for notice in notices_of(one):
            print(f"notice: {plain(notice)}", file=sys.stderr)
    out = plain(options.out)
    beside = f"folds: {{file: {plain(options.out.name)}}}"
    print(f"{out}: a grid beside it takes these folds with {beside}; the path is relative to the grid file")


def _prepared_ids(data: str, corpora: Collection[str]) -> dict[str, list[str] | None]:
    """The ids of each of the corpora that is prepared; of several preparations of one, those of any."""
    from data_prep.data_folder import list_prepared

    ids: dict[str, set[str]] = {}
    for one in list_prepared(data)[0]:
        if one.corpus in corpora:
            ids.setdefault(one.corpus, set()).update(one.utterances()["id"])
    return {corpus: sorted(own) for corpus, own in ids.items()}
