"""From audio files to Parquet shards of segment spectrograms, and back into memory.

`corpora.read_corpus` (files -> utterances), `prepare.prepare` (utterances -> a prepared corpus),
`data_folder.find_prepared` and `shards.load_corpus` (a prepared corpus -> `SegmentCorpus`). Nothing is imported here:
each program pays for what it uses.
"""
