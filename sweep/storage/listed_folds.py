"""The lists of folds that a store keeps beside a corpus, so that it needs no file to understand its stages."""

from collections.abc import Iterable
from dataclasses import replace

from data_prep.fold_lists import FoldList
from data_prep.folders import Folder
from sweep.planning.stages import StageSpec


def list_path(corpus: str, digest: str) -> str:
    """Where a store keeps the list of a corpus with this digest."""
    return f"corpora/{corpus}/folds-{digest}.json"


def kept_lists(folder: Folder, corpus: str) -> dict[str, FoldList | None]:
    """The lists of a corpus by their paths in the store's folder; None for those that are damaged."""
    prefix = list_path(corpus, "").removesuffix(".json")
    paths = [str(entry.path) for entry in folder.entries(f"corpora/{corpus}")]
    found: dict[str, FoldList | None] = {}
    for path in sorted(path for path in paths if path.startswith(prefix)):
        try:
            found[path] = FoldList.of_json(folder.read(path), path.removeprefix(prefix).removesuffix(".json"))
        except ValueError:
            found[path] = None
    return found


def names_of_lists(folder: Folder, corpora: Iterable[str]) -> dict[str, str]:
    """The names of the lists that a store keeps of these corpora, by digest."""
    kept = (found for corpus in corpora for found in kept_lists(folder, corpus).values())
    return {found.digest: found.name for found in kept if found is not None}


def with_name_of_list(folder: Folder, stage: StageSpec) -> StageSpec:
    """`stage` as a stage.json tells it, with the name of its list of folds where it is of one."""
    if stage.listed is None:
        return stage
    found = kept_lists(folder, stage.corpus).get(list_path(stage.corpus, stage.listed.digest))
    return replace(stage, listed=replace(stage.listed, name="" if found is None else found.name))


def keep_list(folder: Folder, corpus: str, found: FoldList) -> None:
    """Note a list that is not there, or damaged."""
    path = list_path(corpus, found.digest)
    content = found.as_json()
    if folder.read(path) != content:
        folder.write(path, content)
