"""The candidates that successive halving stopped, as a table beside those of results."""

from collections.abc import Iterable

from analysis.paper.layouts import RowLabel
from analysis.scoring.stored import network_of
from analysis.tables.captions import Caption
from analysis.tables.cells import NumberCell, QuantityCell, TableCell
from analysis.tables.entries import Entry, network_entry
from analysis.tables.listings import Group, Heading, Listing, ListingRow
from sweep.planning.halving import Stopped
from sweep.planning.in_view import InView

TITLE = "Stopped by halving"
HEADINGS = ("Folds", "Validation WA")


def stopped_listing(stopped: Iterable[Stopped], view: InView) -> Listing | None:
    """Which candidates were stopped, after how many folds, and by which validation WA; None where none was."""
    rows = tuple(_row(one, view) for one in stopped)
    if not rows:
        return None
    caption = Caption(
        "Chains that successive halving stopped after some folds",
        "Other tables have the folds on which they were trained, which are fewer than those of the others. Validation "
        "WA: mean over these folds and training seeds, in percent, by which they were compared.",
    )
    return Listing(TITLE, caption, "Chain", (Group("", tuple(map(Heading, HEADINGS))),), rows)


def _row(one: Stopped, view: InView) -> ListingRow:
    last = one.last
    name = one.label_in(view)
    network = network_of(last, {last.corpus: view.corpus(last)})
    cells: list[TableCell] = [QuantityCell(str(one.folds), f" of {last.folds}"), NumberCell(one.wa, 2)]
    entry: Entry = {
        **network_entry(TITLE, name, network),
        "folds_done": one.folds,
        "folds": last.folds,
        "validation_wa": None if one.wa is None else round(one.wa, 4),
        "note": one.words,
    }
    return ListingRow(RowLabel(name, leaky=network.is_leaky), {"": cells}, (entry,), last.backbone)
