"""Figures of a grid: what the paper's Figures 1 and 3 to 9 show, and what else there is to see in a store.

    decisions = decide(store, chains)
    save_figures(figures_of(store, chains, decisions), Path("figures"))

Functions `draw_...` turn data frames and arrays into matplotlib figures; `figures_of` finds the data in a store, and
`save_figures` writes PNG, SVG and an index.
"""

from analysis.figures.calibration import draw_reliability
from analysis.figures.gather import figures_of
from analysis.figures.networks import draw_confusion, draw_contours, draw_learning_curves
from analysis.figures.rates import draw_alpha_curve, draw_class_recall, draw_label_correction, draw_label_sources
from analysis.figures.save import FORMATS, Drawing, save_figure, save_figures
from analysis.figures.settings import draw_parallel, draw_setting_axes
from analysis.figures.speakers import draw_speaker_recall, draw_speakers
from analysis.figures.thinning import draw_thinning_curve

__all__ = [
    "FORMATS",
    "Drawing",
    "draw_alpha_curve",
    "draw_class_recall",
    "draw_confusion",
    "draw_contours",
    "draw_label_correction",
    "draw_label_sources",
    "draw_learning_curves",
    "draw_parallel",
    "draw_reliability",
    "draw_setting_axes",
    "draw_speaker_recall",
    "draw_speakers",
    "draw_thinning_curve",
    "figures_of",
    "save_figure",
    "save_figures",
]
