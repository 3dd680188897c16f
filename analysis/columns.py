"""Column names of the data frames of this package, and the values that stand for something."""

# What a cell is: everything that identifies a stage but its fold.
CORPUS = "corpus"
BACKBONE = "backbone"
RULE = "rule"
ALPHA = "alpha"  # text: empty where the rule takes none, `0.5→0.2` where it changes from one iteration to the next
ITERATION = "iteration"
LABEL_SOURCE = "label_source"  # empty for iteration 0, which all label sources share
SPLIT = "split"
LABELS = "labels"  # given or permuted
PARTIAL = "partial"  # whether the corpus is only a part of what it is known to hold
VALIDATION_WA = "validation_wa"  # of validation utterances by mean pooling, in percent, mean over folds
SEED = "seed"
SEEDS = "seeds"  # training seeds that the grid asks for in this cell, whether they are done or not
FOLDS_DONE = "folds_done"
FOLDS = "folds"
CELL_COLUMNS = (
    *(CORPUS, PARTIAL, BACKBONE, RULE, ALPHA, ITERATION, LABEL_SOURCE, SPLIT, LABELS, SEED, SEEDS),
    *(FOLDS_DONE, FOLDS, VALIDATION_WA),
)

# Who decided: random forest (§IV-C), or the highest mean probability.
DECISION = "decision"
FOREST, MEAN_POOLING = "forest", "mean"

# One line a decision on an utterance.
FOREST_SEED = "forest_seed"  # 0 for mean pooling
UTTERANCE = "utterance"
SPEAKER = "speaker"
LABEL = "label"
PREDICTED = "predicted"
CLASSES = "classes"  # how many there are
DECISION_COLUMNS = (*CELL_COLUMNS, DECISION, FOREST_SEED, UTTERANCE, SPEAKER, LABEL, PREDICTED, CLASSES)

# One line the scores of a cell by one decision, in percent.
UTTERANCES = "utterances"
WA, UA = "wa", "ua"
WA_SD, UA_SD = "wa_sd", "ua_sd"  # standard deviation over forest seeds
WA_LOW, WA_HIGH = "wa_low", "wa_high"  # 95% bootstrap interval over utterances
UA_LOW, UA_HIGH = "ua_low", "ua_high"
RECALL = "recall"  # of each class, a list
SCORE_COLUMNS = (*CELL_COLUMNS, DECISION, UTTERANCES, WA, UA, WA_SD, UA_SD, RECALL)

# One line the label correction of a treatment: see `results.label_correction`.
TARGETS_RIGHT = "targets_right"  # of training segments, in percent, mean over folds
