"""Tables as LaTeX: a float for each corpus or label source of a table, narrow enough to be read in print.

Needs the packages booktabs and graphicx; any class will do. Beside one another the paper's three corpora would be four
times as wide as a page, with our intervals and differences.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby, zip_longest

from analysis.scoring.formats import Printed, raised
from analysis.tables.blocks import Block, Line, TextTable, as_texts
from analysis.tables.captions import DIFFERENCES, Footnote
from analysis.tables.cells import DifferenceCell
from analysis.tables.listings import Heading, Listing
from analysis.tables.paper_tables import Table

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
    subject, explanation = table.about.subject, table.about.explanation
    about = ", ".join(part for part in (block.heading, *table.apart.marked) if part and part != subject)
    if table.of_paper:
        caption = f"{subject}{about and f': {about}'} ({table.title} of the paper)."
    else:
        caption = f"{table.title}: {subject}{about and f', {about}'}."
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
    notes = [explanation] if explanation else []
    notes += [footnote.marked for footnote in table.footnotes if _concerns(footnote, table, block)]
    if notes:
        lines += [
            r"\par\smallskip",
            r"\begin{minipage}{\linewidth}\scriptsize\raggedright",
            "\\par\n".join(map(escape, notes)),
            r"\end{minipage}",
        ]
    return "\n".join([*lines, r"\end{table*}", ""])


def _concerns(footnote: Footnote, table: TextTable, block: Block) -> bool:
    """Whether a footnote to the whole table has something to say of one block of it."""
    cells = [cell for line in block.lines for cell in line.cells]
    if footnote.mark:
        return any(cell.printed.mark == footnote.mark for cell in cells)
    if footnote.cells:
        differences = footnote.cells == DIFFERENCES
        return any(isinstance(cell, DifferenceCell) is differences and not cell.complete for cell in cells)
    return footnote.corpus not in {other.key for other in table.blocks} - {"", block.key}


def _head(headings: Sequence[Heading]) -> Iterator[str]:
    """The headings, with the metrics of one kind under a heading and a rule of their own."""
    groups = [heading.group if heading.metric else "" for heading in headings]
    if any(groups):
        texts, rules = [], []
        start = 1
        for name, members in groupby(groups):
            width = len(list(members))
            if name:
                title = name.capitalize() if name.islower() else name
                texts.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(title)}}}")
                rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
            else:
                texts += [""] * width
            start += width
        yield " & ".join(texts) + r" \\"
        yield " ".join(rules)
    yield " & ".join(escape(heading.metric or heading.group) for heading in headings) + r" \\"


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
        cells = [cell.printed for cell in line.cells]
        details = [cell.details for cell in cells]
        apart = any(details)
        below = (["", *map(_detail, texts)] for texts in zip_longest(*details, fillvalue=""))
        yield " \\\\[-2pt]\n".join(map(" & ".join, [[escape(line.label), *map(_value, cells)], *below])) + r" \\"


def _detail(text: str) -> str:
    return rf"\scriptsize {escape(text)}" if text else ""


def _value(cell: Printed) -> str:
    """A cell's value; the mark of a footnote hangs over."""
    return escape(cell.value) + (rf"\rlap{{{escape(raised(cell.mark))}}}" if cell.mark else "")


def escape(text: str) -> str:
    """`text` as LaTeX that any engine sets; a character that its fonts may lack becomes its number."""
    return "".join(map(_escaped, " ".join(text.split())))


def _escaped(character: str) -> str:
    if character in _SYMBOLS:
        return _SYMBOLS[character]
    if character.isascii():
        return character
    plain = unicodedata.normalize("NFKD", character)
    if unicodedata.decomposition(character).startswith("<super>") and plain.isascii():
        return f"$^{{{plain}}}$"
    if len(plain) == 2 and plain[0].isascii() and plain[1] in _ACCENTS:
        return rf"\{_ACCENTS[plain[1]]}{{{plain[0]}}}"
    return rf"\texttt{{U+{ord(character):04X}}}"
