"""What `ser-sweep corpora` prints: every corpus, and the paper's Table I beside what is prepared."""

from collections.abc import Sequence

from data_prep.corpora.catalogue import CORPORA, Corpus
from data_prep.shards import PreparedCorpus

Row = Sequence[str]
NOT_KNOWN = "-"


def corpora_table() -> str:
    """Every corpus that can be prepared, with language, licence, size and how to get it; a line each."""
    rows = [_corpus_row(name, corpus) for name, corpus in CORPORA.items()]
    return _aligned([("corpus", "language", "utterances", "speakers", "emotions", "licence", "how to get it"), *rows])


def table_1(prepared: Sequence[PreparedCorpus] | None) -> str:
    """The paper's Table I with the segments of §VI, each line followed by those `prepared` of that corpus.

    Prepared corpora that the paper has not come last; None gives the paper's lines only. Raises ShardError where an
    utterances.parquet is damaged.
    """
    rows: list[Row] = [("Table I", "utterances", "speakers", "emotions", "sampling rate", "segments", "segment, hop")]
    published = [name for name, corpus in CORPORA.items() if corpus.paper]
    for name in published:
        rows.append(_paper_row(name, CORPORA[name]))
        if prepared is None:
            continue
        ours = [one for one in prepared if one.corpus == name]
        rows += [_prepared_row(one) for one in ours] or [(f"  {name}: not prepared", *[NOT_KNOWN] * 6)]
    rows += [_prepared_row(one) for one in prepared or [] if one.corpus not in published]
    return _aligned(rows)


def _corpus_row(name: str, corpus: Corpus) -> Row:
    known = corpus.known
    size = (f"{known.utterances:,}", str(known.speakers), str(len(known.emotions))) if known else (NOT_KNOWN,) * 3
    get = f"ser-sweep fetch {name} --out DIR ({corpus.get})" if corpus.archive else corpus.get
    return name, corpus.language, *size, corpus.licence, get


def _paper_row(name: str, corpus: Corpus) -> Row:
    paper = corpus.paper
    assert paper is not None
    return (
        f"{name}: the paper's",
        f"{paper.utterances:,}",
        f"{paper.speakers} ({paper.female} female)",
        str(paper.emotions),
        _kilohertz(paper.sample_rate),
        f"{paper.segments:,}",
        f"335 ms, {corpus.hop_ms} ms",
    )


def _prepared_row(one: PreparedCorpus) -> Row:
    manifest, settings = one.manifest, one.settings
    rates = sorted({int(rate) for rate in one.utterances()["source_rate"]})
    frame = 1_000 * settings.shift / settings.sample_rate
    rest = 1_000 * (settings.window - settings.shift) / settings.sample_rate
    return (
        f"  {one.name}{' (a part)' if manifest['partial'] else ''}",
        f"{manifest['utterances']:,}",
        str(manifest["speakers"]),
        str(len(manifest["classes"])),
        ", ".join(map(_kilohertz, rates)),
        f"{manifest['segments']:,}",
        f"{settings.segment_frames * frame + rest:.0f} ms, {settings.segment_hop * frame:.0f} ms",
    )


def _kilohertz(rate: int) -> str:
    return f"{rate / 1_000:g} kHz"


def _aligned(rows: Sequence[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
