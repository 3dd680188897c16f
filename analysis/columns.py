"""Column names of the data frames of this package, and the values that stand for something."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricColumns:
    """The columns of a rate, or of a difference of two rates, whose own column is called `value`."""

    value: str

    @property
    def interval(self) -> tuple[str, str]:
        """Low and high of its 95% interval, of the kind that INTERVALS names."""
        return f"{self.value}_low", f"{self.value}_high"

    @property
    def by_speaker(self) -> tuple[str, str]:
        """Low and high of its 95% bootstrap interval over whole speakers."""
        return f"{self.value}_speaker_low", f"{self.value}_speaker_high"

    @property
    def spreads(self) -> tuple[str, str]:
        """Standard deviations (n - 1 degrees of freedom; NaN for one seed): over the forest seeds of a training seed,
        the mean over training seeds; and over training seeds, of the mean over forest seeds."""
        return f"{self.value}_sd_forest_seeds", f"{self.value}_sd_training_seeds"


# What a cell is: everything that identifies a stage but its fold.
CORPUS = "corpus"
BACKBONE = "backbone"
RULE = "rule"
ALPHA = "alpha"  # text: empty where the rule takes none, `0.5→0.2` where it changes from one iteration to the next
ITERATION = "iteration"
LABEL_SOURCE = "label_source"  # empty for iteration 0, which all label sources share
SPLIT = "split"
LABELS = "labels"  # one of dsl.labels.LABELS
PARTIAL = "partial"  # whether the corpus is only a part of what it is known to hold
SEED = "seed"
SEEDS = "seeds"  # training seeds that the grid asks for in this cell, whether they are done or not
SETUP = "setup"  # an analysis.scoring.setup.Setup, the same for all lines of a cell
TRAINING_RATIO = "training_ratio"  # of what may train a fold, mean over the folds done, to what these test in all
INTERVALS = "intervals"  # one of analysis.scoring.intervals.KINDS, the same for all lines
UPDATES = "updates"  # a tuple of dsl.labels.LabelUpdate, one for each iteration after 0: what RULE and ALPHA name
FOLDS_DONE = "folds_done"
FOLDS = "folds"
CELL_COLUMNS = (
    *(CORPUS, PARTIAL, BACKBONE, RULE, ALPHA, ITERATION, LABEL_SOURCE, SPLIT, LABELS, SEED, SEEDS),
    *(FOLDS_DONE, FOLDS),
)

# Who decided: random forest (§IV-C), or the highest mean probability.
DECISION = "decision"
FOREST, MEAN_POOLING = "forest", "mean"
DECISION_NAMES = {FOREST: "random forest", MEAN_POOLING: "mean pooling"}  # in words; the paper's first

# One line a decision on an utterance.
FOREST_SEED = "forest_seed"  # 0 for mean pooling
FOLD = "fold"  # that tests the utterance
VALIDATION_WA = "validation_wa"  # of the fold's validation utterances by mean pooling, in percent
UTTERANCE = "utterance"
SPEAKER = "speaker"
LABEL = "label"
PREDICTED = "predicted"
CLASSES = "classes"  # how many there are
DECIDED_COLUMNS = (DECISION, FOREST_SEED, FOLD, UTTERANCE, SPEAKER, LABEL, PREDICTED, CLASSES)
CONFIDENCE = "confidence"  # of mean pooling: the highest mean probability; NaN for forests, and where it was not kept
OF_INTERVALS = (INTERVALS, TRAINING_RATIO)  # what they are made by, beside decisions
DECISION_COLUMNS = (*CELL_COLUMNS, UPDATES, SETUP, *DECIDED_COLUMNS, CONFIDENCE, VALIDATION_WA, *OF_INTERVALS)

# One line the scores of a cell by one decision, in percent; the rate on validation utterances is the mean over folds.
UTTERANCES = "utterances"
WA, UA, F1 = "wa", "ua", "f1"  # F1 is the mean over classes
METRICS = ("WA", "UA", "F1")  # as tables name them
PAPER_METRICS = ("WA", "UA")  # that the paper has
RATES = {metric: MetricColumns(name) for metric, name in zip(METRICS, (WA, UA, F1), strict=True)}
RECALL = "recall"  # of each class, a list in the order of the set-up's
RATE_COLUMNS = (
    *(DECISION, UTTERANCES, INTERVALS, WA, UA, F1),
    *(one.spreads[0] for one in RATES.values()),
    *(one.spreads[1] for one in RATES.values()),
    *(name for one in RATES.values() for name in one.interval),
    *(name for one in RATES.values() for name in one.by_speaker),
    RECALL,
)
SCORE_COLUMNS = (*CELL_COLUMNS, SETUP, VALIDATION_WA, *RATE_COLUMNS)

# A network is a cell of all its training seeds; its folds, done and in all, are those of all seeds that are asked for.
NETWORK_IDENTITY = (CORPUS, PARTIAL, BACKBONE, RULE, ALPHA, ITERATION, LABEL_SOURCE, SPLIT, LABELS)
NETWORK_COLUMNS = (*NETWORK_IDENTITY, SEEDS, FOLDS_DONE, FOLDS, VALIDATION_WA)
NETWORK_SCORE_COLUMNS = (*NETWORK_COLUMNS, SETUP, *RATE_COLUMNS)

# One line the scores of a network on the utterances of one speaker by one decision, in percent: means over seeds.
# Intervals are Wilson's; lists are of the classes, recalls with NaN for one that the speaker does not have.
CLASS_UTTERANCES = "class_utterances"  # how many of each class, a mean over seeds where labels are permuted anew
RECALL_LOW, RECALL_HIGH = "recall_low", "recall_high"
SPEAKER_COLUMNS = (
    *(*NETWORK_IDENTITY, SETUP, DECISION, SPEAKER, UTTERANCES),
    *(WA, *RATES["WA"].interval, UA, F1),
    *(CLASS_UTTERANCES, RECALL, RECALL_LOW, RECALL_HIGH),
)

# One line the calibration of a network's decisions by mean pooling, in percent and points: means over training seeds.
ECE, ECE_SD = "ece", "ece_sd_training_seeds"  # expected calibration error, and its standard deviation
ECE_ADAPTIVE = "ece_adaptive"  # with bins that hold as many decisions each
ECE_IF_CALIBRATED = "ece_if_calibrated"  # that decisions with these confidences would have if each were its chance
CALIBRATION_COLUMNS = (
    *(*NETWORK_IDENTITY, SETUP, SEEDS, FOLDS_DONE, FOLDS, UTTERANCES),
    *(WA, CONFIDENCE, ECE, ECE_SD, ECE_ADAPTIVE, ECE_IF_CALIBRATED),
)
# One line a bin of confidence: its bounds, the decisions in it, and their mean confidence and share that is right, NaN
# where there are none; all but the number as fractions.
BIN_LOW, BIN_HIGH, DECISIONS, RIGHT = "low", "high", "decisions", "right"
BIN_COLUMNS = (BIN_LOW, BIN_HIGH, DECISIONS, CONFIDENCE, RIGHT)

# One line a comparison of two networks of one corpus, split and kind of labels: the first minus the second, on the
# utterances and training seeds that both have, of which either's rates are, too.
SECOND = "second_"  # before the column names of the second network
SHARED_SEEDS, SPEAKERS = "shared_seeds", "speakers"  # how many training seeds, and how many speakers
DIFFERENCES = {metric: MetricColumns(f"{one.value}_difference") for metric, one in RATES.items()}
FIRST_AHEAD, SECOND_AHEAD = "first_ahead", "second_ahead"  # utterances of which one has more decisions right
P = "p"  # of the sign-flip test over utterances
P_HOLM = "p_holm"  # adjusted within the comparison's family
P_SPEAKER = "p_speaker"  # of the sign-flip test over speakers, not adjusted
TESTS = (P, P_HOLM, P_SPEAKER)
COMPLETE = "complete"  # whether every fold of every training seed of both is there
NETWORK = (BACKBONE, RULE, ALPHA, ITERATION, LABEL_SOURCE)
COMPARISON_COLUMNS = (
    *(CORPUS, PARTIAL, SPLIT, LABELS, *NETWORK, *(SECOND + name for name in NETWORK)),
    *(DECISION, UTTERANCES, SPEAKERS, SHARED_SEEDS, COMPLETE, INTERVALS),
    *(WA, SECOND + WA, UA, SECOND + UA, F1, SECOND + F1),
    *(name for one in DIFFERENCES.values() for name in (one.value, *one.interval)),
    *(name for one in DIFFERENCES.values() for name in one.by_speaker),
    *(FIRST_AHEAD, SECOND_AHEAD, *TESTS),
)

# One line a network whose segments' true classes are known: the share of training segments whose most likely target is
# the true class, in percent, mean and standard deviation (NaN for one) over folds and training seeds. Iteration 0 has
# the inherited labels for targets.
TARGETS_RIGHT, TARGETS_RIGHT_SD = "targets_right", "targets_right_sd"
CORRECTION_COLUMNS = (*NETWORK_IDENTITY, UPDATES, SETUP, SEEDS, FOLDS_DONE, FOLDS, TARGETS_RIGHT, TARGETS_RIGHT_SD)
