"""The names of the kinds of interval that results can have: `analysis.scoring.intervals` makes them."""

INTERVALS = ("utterance", "speaker", "speaker_t", "corrected_t")
