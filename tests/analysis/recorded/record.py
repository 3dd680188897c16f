"""Trains the store that golden tests and the notebook read, and leaves one fold of one rule out, as a sweep does that
is not done yet. `data` is what a sweep needs of the corpus beside it, without sound.

    python tests/analysis/recorded/record.py

Then write the golden files anew (UPDATE_GOLDEN=1) and read their difference.
"""

import shutil
import tempfile
from pathlib import Path

from ser_sweep.cli import main
from sweep.planning.grid import load_grid, resolve_corpora
from sweep.storage.store import Store

HERE = Path(__file__).parent
LEFT_OUT = ("hdl", 2)  # rule and fold


def record() -> None:
    grid, store, kept = HERE / "grid.yaml", HERE / "store", HERE / "data"
    shutil.rmtree(store, ignore_errors=True)
    shutil.rmtree(kept, ignore_errors=True)
    with tempfile.TemporaryDirectory() as data:
        assert main(["prepare", "synthetic", "--out", data, "--inline"]) == 0
        assert main(["run", str(grid), "--data", data, "--store", str(store), "--inline"]) == 0
        spec = load_grid(grid)
        chains = spec.expand(resolve_corpora(spec, Path(data)))
    for chain in chains:
        if (chain.last.rule, chain.last.fold) == LEFT_OUT:
            for stage in chain.stages[1:]:
                shutil.rmtree(store / "stages" / stage.key, ignore_errors=True)
    shutil.rmtree(store / "events")  # tests write their own
    shutil.copytree(store / "corpora", kept)
    for about in kept.glob("*/corpus.json"):
        about.rename(about.with_name("manifest.json"))
    assert Store(store).done_keys()


if __name__ == "__main__":
    record()
