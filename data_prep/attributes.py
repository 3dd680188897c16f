"""What a corpus may tell of its utterances beside speaker, text and emotion."""

MORE_TEXTS = ("session", "gender", "fold")  # columns of utterances.parquet, each of them where some value is known
# What results call them, which have folds of their own.
IN_RESULTS = {"session": "session", "gender": "gender", "fold": "listed_fold"}
