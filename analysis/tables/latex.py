"""Tables as LaTeX: a float for each corpus or label source of a table, narrow enough to be read in print.

Needs the packages booktabs and graphicx; any class will do. Beside one another the paper's three corpora would be four
times as wide as a page, with our intervals and differences.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from analysis.tables.listings import Listing
from analysis.tables.paper_tables import Table
from analysis.tables.render import Block, Line, TextTable, as_texts

_OF_PAPER = re.compile(r"Table [IVX]+")
_METRIC = re.compile(r"(?P<metric>WA|UA|F1) (?P<group>.+)")
_DETAIL = re.compile(r"(?:(?P<value>\S.*?) )?(?P<detail>(?:\[|\(\d+/\d+ folds\)).*)")  # of a cell, set below its value
_ENDING = re.compile(r"(?P<value>.*\d)(?P<mark>[ᵃ-ᵪ])")  # the mark of a footnote hangs over
_SYMBOLS = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"[": "{[}", "]": "{]}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    **{
        "—": "---",
        "–": "--",
        "…": r"\dots{}",
        "§": r"\S{}",
        "’": "'",
        "‘": "`",
        "“": "``",
        "”": "''",
        '"': "''",
        "×": r"$\times$",
    },
    **{"±": r"$\pm$", "−": "$-$", "→": r"$\to$", "α": r"$\alpha$"},
    **{"ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}"},
}
_ACCENTS = {
    **{"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": "."},
    **{"\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c"},
}


def to_latex(tables: Sequence[Table | Listing]) -> str:
    """A `table*` environment for each block of each table, with a label to refer to it by."""
    floats = []
    seen: Counter[str] = Counter()
    for table in as_texts(tables):
        for block in table.blocks:
            label = re.sub(r"[^a-z0-9]+", "-", f"{table.heading} {block.heading}".lower()).strip("-")
            seen[label] += 1
            floats.append(_float(table, block, label if seen[label] == 1 else f"{label}-{seen[label]}"))
    return "\n".join(floats)


def _float(table: TextTable, block: Block, label: str) -> str:
    first, _, rest = table.caption.partition(". ")
    sentence = first.removesuffix(".")
    about = ", ".join(part for part in (block.heading, *table.apart) if part and part != sentence)
    if _OF_PAPER.fullmatch(table.title):
        caption = f"{sentence}{about and f': {about}'} ({table.title} of the paper)."
    else:
        caption = f"{table.title}: {sentence}{about and f', {about}'}."
    lines = [
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{tab:{label}}}",
        r"\smallskip\footnotesize\setlength{\tabcolsep}{3pt}%",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}l{'r' * (len(block.head) - 1)}@{{}}}}",
        r"\toprule",
        *_head(block.head),
        *_rows(block.lines),
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    notes = [rest] if rest else []
    notes += [footnote for footnote in table.footnotes if _concerns(footnote, table, block)]
    if notes:
        lines += [
            r"\par\smallskip",
            r"\begin{minipage}{\linewidth}\scriptsize\raggedright",
            "\\par\n".join(map(escape, notes)),
            r"\end{minipage}",
        ]
    return "\n".join([*lines, r"\end{table*}", ""])


def _concerns(footnote: str, table: TextTable, block: Block) -> bool:
    """Whether a footnote to the whole table has something to say of one block of it."""
    texts = [text for line in block.lines for text in line.texts]
    if _is_raised(footnote[0]):
        return any(text.endswith(footnote[0]) for text in texts)
    for said, mark in (("(done/all folds)", "folds)"), ("(incomplete)", "(incomplete)")):
        if said in footnote:
            return any(mark in text for text in texts)
    others = {other.heading for other in table.blocks} - {block.heading}
    return footnote.partition(":")[0] not in others


def _head(headings: Sequence[str]) -> Iterator[str]:
    """The headings, with the metrics of one kind under a heading and a rule of their own."""
    matches = [_METRIC.fullmatch(heading) for heading in headings]
    groups = [match["group"] if match else "" for match in matches]
    if any(groups):
        texts, rules = [], []
        start = 0
        while start < len(groups):
            width = 1
            while groups[start] and start + width < len(groups) and groups[start + width] == groups[start]:
                width += 1
            name = groups[start].capitalize() if groups[start].islower() else groups[start]
            texts.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(name)}}}" if name else "")
            if name:
                rules.append(rf"\cmidrule(lr){{{start + 1}-{start + width}}}")
            start += width
        yield " & ".join(texts) + r" \\"
        yield " ".join(rules)
    shown = [match["metric"] if match else heading for match, heading in zip(matches, headings, strict=True)]
    yield " & ".join(map(escape, shown)) + r" \\"


def _rows(lines: Sequence[Line]) -> Iterator[str]:
    """The rows, with a rule wherever the backbone changes, and a cell's interval, then its folds, below its value."""
    previous = None
    apart = False
    for line in lines:
        if line.backbone != previous:
            yield r"\midrule"
        elif apart:
            yield r"\addlinespace[2pt]"
        previous = line.backbone
        cells = [_DETAIL.fullmatch(text) for text in line.texts[1:]]
        values = [cell["value"] or "" if cell else text for cell, text in zip(cells, line.texts[1:], strict=True)]
        details = [cell["detail"].replace(" (", "\n(").split("\n") if cell else [] for cell in cells]
        apart = any(details)
        below = (["", *map(_detail, texts)] for texts in zip_longest(*details, fillvalue=""))
        yield " \\\\[-2pt]\n".join(map(" & ".join, [[escape(line.texts[0]), *map(_value, values)], *below])) + r" \\"


def _detail(text: str) -> str:
    return rf"\scriptsize {escape(text)}" if text else ""


def _value(text: str) -> str:
    marked = _ENDING.fullmatch(text)
    return rf"{escape(marked['value'])}\rlap{{{escape(marked['mark'])}}}" if marked else escape(text)


def escape(text: str) -> str:
    """`text` as LaTeX that any engine sets; a character that its fonts may lack becomes its number."""
    return "".join(map(_escaped, " ".join(text.split())))


def _escaped(character: str) -> str:
    if character in _SYMBOLS:
        return _SYMBOLS[character]
    if character.isascii():
        return character
    plain = unicodedata.normalize("NFKD", character)
    if _is_raised(character) and plain.isascii():
        return f"$^{{{plain}}}$"
    if len(plain) == 2 and plain[0].isascii() and plain[1] in _ACCENTS:
        return rf"\{_ACCENTS[plain[1]]}{{{plain[0]}}}"
    return rf"\texttt{{U+{ord(character):04X}}}"


def _is_raised(character: str) -> bool:
    return unicodedata.decomposition(character).startswith("<super>")
