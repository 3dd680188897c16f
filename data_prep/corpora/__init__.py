"""Readers: the files of a corpus on disk -> `Utterance`s, checked against what the corpus is known to hold.

A module a corpus; `catalogue` lists them all.
"""

from data_prep.corpora.catalogue import CORPORA, check_name, known_name, read_corpus, settings_for
from data_prep.corpora.emodb import read_emodb
from data_prep.corpora.manifest import read_manifest
from data_prep.corpora.utterances import Utterance

__all__ = [
    "CORPORA",
    "Utterance",
    "check_name",
    "known_name",
    "read_corpus",
    "read_emodb",
    "read_manifest",
    "settings_for",
]
