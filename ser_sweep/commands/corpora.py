"""Corpora: what is known of them, and how to get them.

ser-sweep corpora --data DATA
ser-sweep fetch emodb --out ~/corpora
"""

import argparse
import sys
from typing import Any

from data_prep.errors import ShardError
from data_prep.text import command, plain
from ser_sweep.commands.arguments import DONE, FAILED, add_command, path, quietly
from ser_sweep.commands.terminal import progress_bar


def add(commands: Any) -> None:
    from data_prep.corpora import CORPORA

    corpora = add_command(
        commands,
        "corpora",
        run_corpora,
        "list the known corpora, where to get them, and the paper's Table I beside the prepared ones",
    )
    corpora.add_argument("--data", help="folder of prepared corpora (default: show only the paper's lines)")
    fetch = add_command(
        commands,
        "fetch",
        run_fetch,
        "download a corpus, or say where to ask for it if its licence allows no download",
        quietly,
    )
    fetch.add_argument("corpus", choices=[name for name in CORPORA if name != "manifest"])
    fetch.add_argument("--out", type=path, required=True, help="folder in which to make the corpus's folder")
    fetch.add_argument("--url", help="a mirror of the archive; its checksum must be the same")


def run_corpora(options: argparse.Namespace) -> int:
    from data_prep.corpora.overview import corpora_table, table_1
    from data_prep.data_folder import list_prepared

    if options.data is None:
        print(corpora_table(), table_1(None), sep="\n\n")
        return DONE
    prepared, unreadable = list_prepared(options.data)
    whole = []
    for one in prepared:
        try:
            one.utterances()
            whole.append(one)
        except ShardError as error:
            unreadable[one.name] = error
    print(corpora_table(), table_1(whole), sep="\n\n")
    for why in unreadable.values():
        print(f"notice: {plain(why)}", file=sys.stderr)
    return FAILED if unreadable else DONE


def run_fetch(options: argparse.Namespace) -> None:
    from data_prep.download import fetch

    with progress_bar(options) as progress:
        folder, made = fetch(options.corpus, options.out, options.url, progress)
    print(f"{plain(folder)}{'' if made else ' (was there before)'}")
    print(f"prepare it with: {plain(command('prepare', options.corpus, '--source', folder, '--out', 'DATA'))}")
