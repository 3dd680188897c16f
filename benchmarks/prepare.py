"""From Emo-DB's wav files to shards: ours against a librosa loop that writes the same rows with pandas, in turn.

python benchmarks/prepare.py --emodb EMODB --json benchmarks/results/prepare.json

Process start aside: modules are imported, and Ray's workers are up, before a clock starts. Beside both stands what
decoding and computing the frames alone takes on one core. The corpus is taken in parts that double.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measured import report

ROOT = Path(__file__).parents[1]
ROUNDS = 3
PARTS = (4, 2, 1)  # every n-th utterance


def utterances_of(emodb: Path, every: int) -> list[Any]:
    from data_prep.corpora import read_emodb

    return sorted(read_emodb(emodb), key=lambda one: one.id)[::every]


def rival(emodb: Path, every: int, out: Path) -> float:
    """The loop that one would write; returns its seconds."""
    import librosa
    import numpy as np
    import pandas as pd

    utterances = utterances_of(emodb, every)
    librosa.feature.melspectrogram(y=np.zeros(16_000, dtype=np.float32), sr=16_000)  # librosa imports lazily
    began = time.perf_counter()
    rows = []
    for one in utterances:
        samples, rate = librosa.load(one.path, sr=16_000)
        power = librosa.feature.melspectrogram(
            y=samples, sr=rate, n_fft=512, win_length=400, hop_length=160, center=False, n_mels=64, fmin=125, fmax=7500,
            htk=True, norm=None,
        )  # fmt: skip
        frames = np.log(np.maximum(power, 1e-10)).T
        for start in range(len(frames) - 31):
            rows.append({"utterance_id": one.id, "segment": start, "spectrogram": frames[start : start + 32].ravel()})
    pd.DataFrame(rows).to_parquet(out / "segments.parquet")
    return time.perf_counter() - began


def ours(emodb: Path, every: int, out: Path) -> float:
    from data_prep.cluster import ray_session
    from data_prep.prepare import prepare

    utterances = utterances_of(emodb, every)
    with ray_session():
        prepare("warm", utterances, out / "warm", partial=every > 1)  # until every worker has imported what it needs
        began = time.perf_counter()
        prepare("emodb", utterances, out, partial=every > 1)
        return time.perf_counter() - began


def features_alone(emodb: Path, every: int, out: Path) -> float:
    import torch

    from data_prep.audio import read_audio
    from data_prep.features import FeatureSettings, LogMel

    torch.set_num_threads(1)
    utterances = utterances_of(emodb, every)
    log_mel = LogMel(FeatureSettings())
    log_mel(read_audio(utterances[0].path, 16_000).samples)
    began = time.perf_counter()
    for one in utterances:
        log_mel(read_audio(one.path, 16_000).samples)
    return time.perf_counter() - began


KINDS = {"rival": rival, "ours": ours, "features_alone": features_alone}


def seconds_of(what: str, emodb: Path, every: int) -> float:
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, __file__, "--only", what, str(emodb), str(every), out]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    print(what, every, said.splitlines()[-1], file=sys.stderr, flush=True)
    return float(said.splitlines()[-1])


def measure(emodb: Path, every: int) -> dict[str, Any]:
    import soundfile

    taken: dict[str, list[float]] = {what: [] for what in KINDS}
    for _ in range(ROUNDS):
        for what, found in taken.items():
            found.append(seconds_of(what, emodb, every))
    seconds = {what: statistics.median(found) for what, found in taken.items()}
    utterances = utterances_of(emodb, every)
    return {
        "utterances": len(utterances),
        "audio_seconds": sum(soundfile.info(one.path).duration for one in utterances),
        "seconds": seconds,
        "ratio": seconds["rival"] / seconds["ours"],
        "times_features_alone": seconds["ours"] / seconds["features_alone"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emodb", type=Path, help="the folder of Emo-DB's wav files")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--only", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        emodb, every, out = options.arguments
        print(KINDS[options.only](Path(emodb), int(every), Path(out)))
        return
    if options.emodb is None:
        parser.error("--emodb is needed")
    found = {"parts": [measure(options.emodb.absolute(), every) for every in PARTS]}
    report(found, options.json)


if __name__ == "__main__":
    main()
