"""Rates of thousands of stages from their predictions: ours against a plain pandas loop, in turn.

python benchmarks/tables.py --stages 10000 --json benchmarks/results/tables.json

Both read every stage of one store, compute the statistics of utterances that decisions are made from (Eq. 14-18),
decide by mean pooling, and give WA and UA of every cell with 95% bootstrap intervals; they must agree. Forests are
scikit-learn's on either side and left out. The rival takes the stages file by file, as one would in a notebook, and
draws utterances for its intervals; ours also checks every file against its checksum, and gives intervals over speakers,
too. A stage predicts about as many segments as one of emodb_lite. The number of stages is quadrupled twice.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measured import report

ROOT = Path(__file__).parents[1]
FOLDS = 10
PARTS = (16, 4, 1)
RESAMPLES = 10_000


def make_store(work: Path, stages: int) -> None:
    """A store of `stages` stages of iteration 0 on a synthetic corpus; what they predict is drawn at random."""
    import numpy as np

    from data_prep.corpora import read_manifest
    from data_prep.prepare import prepare
    from data_prep.shards import load_corpus
    from data_prep.synthetic import SyntheticCorpus, write_corpus
    from dsl.splits import assign_folds
    from sweep.planning.grid import load_grid, resolve_corpora
    from sweep.storage.predictions import Predictions
    from sweep.storage.store import Store

    manifest = write_corpus(work / "audio", SyntheticCorpus(speakers=8, texts=10, takes=6))
    prepared = prepare("synthetic", read_manifest(manifest), work / "data", inline=True).corpus
    grid_of(work, stages)
    grid = load_grid(work / "grid.json")
    chains = grid.expand(resolve_corpora(grid, work / "data"))
    corpus = load_corpus(prepared).thinned(chains[0].last.training.every)
    store = Store(work / "store")
    store.create()
    store.add_corpus(prepared)
    rng = np.random.default_rng(0)
    favoured = np.eye(len(corpus.classes))[corpus.label]
    for chain in chains:
        stage = chain.last
        drawn = rng.normal(size=(len(corpus), len(corpus.classes))) + favoured
        q = np.exp(drawn) / np.exp(drawn).sum(axis=1, keepdims=True)
        fold_of = assign_folds(stage.split, corpus.utterances, stage.folds, stage.seed)
        test = (fold_of == stage.fold)[corpus.utterance]
        predictions = Predictions(corpus.utterance, corpus.segment, test, q.astype(np.float32))
        store.commit(stage, predictions, {"metrics": {"validation_wa": 0.5}})


def grid_of(work: Path, stages: int) -> Path:
    path = work / "grid.json"
    path.write_text(
        json.dumps(
            {
                "corpora": ["synthetic"],
                "backbones": ["tiny"],
                "rules": ["none"],
                "folds": FOLDS,
                "seeds": list(range(stages // FOLDS)),
                "training": {"every": 40},
            }
        )
    )
    return path


Rates = dict[str, list[float]]  # of a seed: WA and UA, each with its interval's ends


def rival(work: Path, stages: int) -> Rates:
    """WA and UA of every seed, by a loop over files and utterances."""
    import numpy as np
    import pandas as pd
    import pyarrow.parquet as pq
    from sklearn.metrics import accuracy_score, recall_score

    (corpus,) = (work / "store" / "corpora").iterdir()
    utterances = pd.read_parquet(corpus / "utterances.parquet")
    said: dict[int, list[tuple[int, int]]] = {}
    for path in (work / "store" / "stages").glob("*/stage.json"):
        record = json.loads(path.read_text())
        seed = record["identity"]["seed"]
        if seed >= stages // FOLDS:
            continue
        frame = pq.read_table(path.parent / record["predictions"]["file"]).to_pandas()
        for utterance, rows in frame[frame["test"]].groupby("utterance"):
            q = np.stack(rows["q"].to_list())
            features = [q.mean(axis=0)]
            features += [np.percentile(q, percent, axis=0) for percent in (1, 99, 25, 50, 75)]
            features += [(q > beta).mean(axis=0) for beta in (0.2, 0.3)]
            decision = int(np.concatenate(features)[: q.shape[1]].argmax())
            said.setdefault(seed, []).append((int(utterances["label"][utterance]), decision))
    rates = {}
    for seed, pairs in said.items():
        label, predicted = map(np.array, zip(*pairs, strict=True))
        drawn = np.random.default_rng(seed).integers(len(label), size=(RESAMPLES, len(label)))
        right, drawn_label = (label == predicted)[drawn], label[drawn]
        recalls = [(right & (drawn_label == k)).sum(axis=1) / (drawn_label == k).sum(axis=1) for k in np.unique(label)]
        wa = np.percentile(right.mean(axis=1), [2.5, 97.5])
        ua = np.percentile(np.mean(recalls, axis=0), [2.5, 97.5])
        recall = recall_score(label, predicted, average="macro")
        rates[str(seed)] = [accuracy_score(label, predicted), *wa.tolist(), recall, *ua.tolist()]
    return rates


def ours(work: Path, stages: int) -> Rates:
    from analysis.scoring.results import decide
    from analysis.scoring.scores import score
    from sweep.planning.grid import load_grid, resolve_corpora
    from sweep.storage.store import Store

    grid = load_grid(grid_of(work, stages))
    chains = grid.expand(resolve_corpora(grid, work / "data"))
    scores = score(decide(Store(work / "store"), chains, forest_seeds=0))
    columns = ["wa", "wa_low", "wa_high", "ua", "ua_low", "ua_high"]
    return dict(zip(map(str, scores["seed"]), (scores[columns] / 100).to_numpy().tolist(), strict=True))


def only(what: str, work: Path, stages: int) -> dict[str, Any]:
    from joblib.externals.loky import get_reusable_executor

    import analysis.scoring.results  # noqa: F401  # before the clock starts, as what the rival imports nearly all is

    began = time.perf_counter()
    rates = {"rival": rival, "ours": ours}[what](work, stages)
    seconds = time.perf_counter() - began
    get_reusable_executor().shutdown(wait=True)  # so that the memory of the workers is known
    own, worker = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    memory = (own + (os.cpu_count() or 1) * worker) / 1024
    return {"rates": rates, "seconds": seconds, "peak_mb": memory}


def in_a_process(what: str, work: Path, stages: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--only", what, "--work", str(work), "--stages", str(stages)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    print(what, stages, f"{found['seconds']:.1f} s, {found['peak_mb']:.0f} MB", file=sys.stderr, flush=True)
    return found


def measure(work: Path, stages: int) -> dict[str, Any]:
    decisions = work / "store" / "decisions"
    for kept in decisions.glob("*"):  # of a measurement before
        kept.unlink()
    plain, fast = (in_a_process(what, work, stages) for what in ("rival", "ours"))
    assert plain["rates"].keys() == fast["rates"].keys()
    for seed, expected in plain["rates"].items():
        for number, (one, other) in enumerate(zip(expected, fast["rates"][seed], strict=True)):
            assert abs(one - other) < (1e-9 if number % 3 == 0 else 0.01), (seed, expected, fast["rates"][seed])
    times = {"rival": plain["seconds"], "ours": fast["seconds"], "ratio": plain["seconds"] / fast["seconds"]}
    return {"stages": stages, **times, "rival_peak_mb": plain["peak_mb"], "ours_peak_mb": fast["peak_mb"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, default=10_000)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--only", choices=["rival", "ours"], help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(only(options.only, options.work, options.stages)))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_store(work, options.stages)
        runs = [measure(work, options.stages // part // FOLDS * FOLDS) for part in PARTS]
    report({"runs": runs}, options.json)


if __name__ == "__main__":
    main()
