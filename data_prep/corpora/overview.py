"""What `ser-sweep corpora` prints: every corpus, and the paper's Table I beside what is prepared."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from data_prep.corpora.catalogue import CORPORA, Corpus, known_name
from data_prep.features import FeatureSettings
from data_prep.shards import PreparedCorpus

Row = Sequence[str]
NOT_KNOWN = "-"


class Quantity(NamedTuple):
    """A number, and what follows it: `4`, ` (2 female)`."""

    number: str
    rest: str = ""

    @property
    def text(self) -> str:
        """The number and what follows it, `4 (2 female)`."""
        return f"{self.number}{self.rest}"


TABLE_1_HEADINGS = ("utterances", "speakers", "emotions", "sampling rate", "segments", "segment, hop")


def corpora_table() -> str:
    """Every corpus that can be prepared, with language, licence, size and how to get it; a line each."""
    rows = [_corpus_row(name, corpus) for name, corpus in CORPORA.items()]
    return _aligned([("corpus", "language", "utterances", "speakers", "emotions", "licence", "how to get it"), *rows])


def table_1(prepared: Sequence[PreparedCorpus] | None) -> str:
    """The paper's Table I with the segments of §VI, each line followed by those `prepared` of that corpus.

    Prepared corpora that the paper has not come last; None gives the paper's lines only. Raises ShardError where an
    utterances.parquet is damaged.
    """
    rows: list[Row] = [("Table I", *TABLE_1_HEADINGS)]
    published = paper_rows()
    for name, row in published.items():
        rows.append((f"{name}: the paper's", *(one.text for one in row)))
        if prepared is None:
            continue
        ours = [one for one in prepared if known_name(one.manifest) == name]
        rows += [_prepared_row(one) for one in ours] or [(f"  {name}: not prepared", *[NOT_KNOWN] * 6)]
    rows += [_prepared_row(one) for one in prepared or [] if known_name(one.manifest) not in published]
    return _aligned(rows)


def _corpus_row(name: str, corpus: Corpus) -> Row:
    known = corpus.known
    size = (f"{known.utterances:,}", str(known.speakers), str(len(known.emotions))) if known else (NOT_KNOWN,) * 3
    get = f"ser-sweep fetch {name} --out DIR ({corpus.get})" if corpus.archive else corpus.get
    return name, corpus.language, *size, corpus.licence, get


def paper_rows() -> dict[str, Sequence[Quantity]]:
    """Corpus -> its line of the paper's Table I with the segments of §VI, under TABLE_1_HEADINGS."""
    return {
        name: (
            Quantity(f"{corpus.paper.utterances:,}"),
            Quantity(str(corpus.paper.speakers), f" ({corpus.paper.female} female)"),
            Quantity(str(corpus.paper.emotions)),
            _kilohertz(corpus.paper.sample_rate),
            Quantity(f"{corpus.paper.segments:,}"),
            Quantity("335", f" ms, {corpus.hop_ms} ms"),
        )
        for name, corpus in CORPORA.items()
        if corpus.paper is not None
    }


def held_row(manifest: Mapping[str, Any], utterances: pd.DataFrame) -> Sequence[Quantity]:
    """The same of a prepared corpus, from its manifest and its utterances."""
    settings = FeatureSettings(**manifest["settings"])
    rates = sorted({int(rate) for rate in utterances["source_rate"]})
    frame = 1_000 * settings.shift / settings.sample_rate
    rest = 1_000 * (settings.window - settings.shift) / settings.sample_rate
    return (
        Quantity(f"{manifest['utterances']:,}"),
        Quantity(str(manifest["speakers"])),
        Quantity(str(len(manifest["classes"]))),
        _kilohertz(*rates),
        Quantity(f"{manifest['segments']:,}"),
        Quantity(f"{settings.segment_frames * frame + rest:.0f}", f" ms, {settings.segment_hop * frame:.0f} ms"),
    )


def held_name(name: str, manifest: Mapping[str, Any]) -> str:
    """A prepared corpus's full name, marked where it is a part of the corpus only."""
    return f"{name}{' (a part)' if manifest['partial'] else ''}"


def _prepared_row(one: PreparedCorpus) -> Row:
    return f"  {held_name(one.name, one.manifest)}", *(each.text for each in held_row(one.manifest, one.utterances()))


def _kilohertz(*rates: int) -> Quantity:
    first, *others = (f"{rate / 1_000:g}" for rate in rates)
    return Quantity(first, ", ".join([" kHz", *(f"{rate} kHz" for rate in others)]))


def _aligned(rows: Sequence[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
