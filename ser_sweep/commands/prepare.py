"""From a corpus's audio files to Parquet shards.

ser-sweep prepare emodb --source ~/corpora/emodb --out DATA
ser-sweep prepare savee --source ~/corpora/SAVEE --out DATA --framing counted
ser-sweep prepare manifest --source mine.csv --name mine --out DATA --segment-ms 215
"""

import argparse
from typing import Any

from data_prep.addresses import is_address, local_path
from data_prep.errors import UserError, bulleted
from data_prep.text import clean, counted, plain
from ser_sweep.commands.arguments import LINES, add_command, of_place, path, quietly
from ser_sweep.commands.terminal import progress_bar


def add(commands: Any) -> None:
    from data_prep.corpora import CORPORA

    prepare = add_command(
        commands,
        "prepare",
        run_prepare,
        "turn a corpus into Parquet shards of segment spectrograms",
        of_place,
        quietly,
    )
    prepare.add_argument("corpus", choices=[*CORPORA, "synthetic"])
    prepare.add_argument("--source", type=path, help="the corpus's folder; for manifest, the CSV file")
    prepare.add_argument("--out", required=True, help="folder of prepared corpora: a path or an address (s3://...)")
    prepare.add_argument("--name", help="name of a manifest's corpus (default: manifest)")
    prepare.add_argument("--allow-partial", action="store_true", help="accept a corpus with missing files")
    prepare.add_argument(
        "--segment-ms", type=int, help="length of a segment in ms: 215, 225, ... 415 (default: 335, 32 frames)"
    )
    prepare.add_argument(
        "--hop-ms", type=int, help="time between the starts of segments in ms: 10, 20, ... (default: 10; casia: 30)"
    )
    prepare.add_argument(
        "--framing",
        choices=["described", "counted"],
        help="for savee: frames as the paper describes them (default), or as its number of segments implies",
    )
    prepare.add_argument("--seed", type=int, default=0, help="seed of the synthetic corpus (default: 0)")


def run_prepare(options: argparse.Namespace) -> None:
    import pandas as pd

    from data_prep.corpora import check_name, read_corpus, settings_for
    from data_prep.corpora.manifest import unread_columns
    from data_prep.data_folder import data_folder, refuse_exported
    from data_prep.prepare import prepare
    from data_prep.synthetic import SyntheticCorpus, read_truth, write_corpus

    truth: pd.DataFrame | None = None
    name = clean(options.name or options.corpus)
    check_name(name, options.corpus)
    settings = settings_for(options.corpus, options.segment_ms, options.hop_ms, options.framing)
    if options.corpus == "synthetic":
        if options.source is None and is_address(options.out):
            raise UserError(f"prepare synthetic --out {options.out} needs --source: a local folder for its audio files")
        refuse_exported(data_folder(options.out))  # before audio is written into it
        source = options.source or local_path(options.out) / "audio" / f"synthetic-seed{options.seed}"
        utterances, lacking = read_corpus("manifest", write_corpus(source, SyntheticCorpus(seed=options.seed)))
        truth = read_truth(source / "truth.csv")
    elif options.source is None:
        raise UserError(f"prepare {options.corpus} needs --source: the corpus's folder, or the manifest's CSV file")
    else:
        utterances, lacking = read_corpus(options.corpus, options.source, options.allow_partial)
    with progress_bar(options) as progress:
        done = prepare(
            name,
            utterances,
            options.out,
            settings,
            truth=truth,
            partial=bool(lacking),
            inline=options.inline,
            address=options.address,
            progress=progress,
        )
    manifest = done.corpus.manifest
    unread = unread_columns(options.source) if options.corpus == "manifest" else []
    notices = [f"{counted(len(unread), 'column')} of the manifest not read: {', '.join(unread)}"] if unread else []
    notices += done.notices
    if lacking:
        notices.append(
            f"{options.corpus} is only a part of the corpus, so its results do not compare with those on all of it; "
            f"left out or missing, {len(lacking)} in total:\n{bulleted(lacking)}"
        )
    for notice in [] if options.quiet else notices:
        print(f"notice: {plain(notice, keep=LINES)}")
    print(f"{done.corpus.folder}")
    speakers = counted(manifest["speakers"], "speaker")
    print(f"  utterances  {manifest['utterances']:,} by {speakers}, {manifest['seconds']:,.0f} s")
    print("  classes     " + ", ".join(f"{plain(emotion)} {count}" for emotion, count in manifest["classes"].items()))
    print(f"  segments    {manifest['segments']:,}")
    size = sum(shard["bytes"] for shard in manifest["shards"]) / 1e6
    print(f"  shards      {len(manifest['shards'])} ({size:.1f} MB): {done.made} made, {done.kept} kept")
