"""Downloading the corpora whose licence allows it: an archive known by its checksum -> a folder, whole or not there.

ser-sweep fetch emodb --out DIR
"""

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from data_prep.corpora.catalogue import CORPORA, Archive, Corpus
from data_prep.errors import CorpusError, FetchError, bulleted
from data_prep.progress import Progress

CHUNK = 2**18  # bytes between two looks at the progress


def fetch(name: str, out: Path, url: str | None = None, progress: Progress | None = None) -> tuple[Path, bool]:
    """Download corpus `name` and unpack it as the folder `out / name`; give that, and whether it was made now.

    `url` is a mirror of the archive; its content must have the same checksum. The folder gets its name when all is in
    it, so what is there is whole; where it is, nothing is downloaded. A call that was interrupted can be repeated:
    an archive that is whole is kept until it is unpacked. Raises FetchError for a corpus that must be asked for, a
    download that fails, another checksum and an archive that would write elsewhere, and then keeps nothing.
    """
    corpus = CORPORA[name]
    if corpus.archive is None:
        raise FetchError(
            f"{name} is not downloaded by this command ({corpus.title}, licence: {corpus.licence}). To get it: "
            f"{corpus.get}. Then: ser-sweep prepare {name} --source DIR --out DATA"
        )
    archive = Archive(url or corpus.archive.url, corpus.archive.md5)
    target, work = out / name, out / f".{name}.fetch"
    if target.exists():
        _check_whole(name, corpus, target)
        shutil.rmtree(work, ignore_errors=True)
        return target, False
    unpacked = work / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        _unpack(_download(archive, work / f"{name}.zip", progress), unpacked)
    except FetchError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    unpacked.rename(target)
    shutil.rmtree(work, ignore_errors=True)
    return target, True


def _check_whole(name: str, corpus: Corpus, target: Path) -> None:
    try:
        corpus.read(target, False)
    except CorpusError as error:
        raise FetchError(f"{target} exists and is not the whole corpus; move it away and repeat:\n{error}") from error


def _download(archive: Archive, path: Path, progress: Progress | None) -> Path:
    """`path` with the archive's content; kept where it has the right checksum already. Raises FetchError."""
    import pooch
    import requests

    for leftover in path.parent.glob("*"):
        if leftover != path:
            leftover.unlink()  # of a download whose process was killed
    bar = _Bar(path.name, progress) if progress else False
    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(
            archive.url,
            known_hash=f"md5:{archive.md5}",
            fname=path.name,
            path=path.parent,
            downloader=pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK),
        )
    except requests.exceptions.RequestException as error:
        raise FetchError(
            f"{archive.url} could not be downloaded ({error}); nothing was kept. Repeat the command, or name a mirror "
            "with --url"
        ) from error
    except ValueError as error:
        raise FetchError(
            f"{archive.url} does not have the MD5 checksum {archive.md5}, so it is damaged or not this corpus; nothing "
            "was kept. Repeat the command, or name a mirror with --url"
        ) from error
    return path


class _Bar:
    """A progress bar as pooch drives it, on top of a `Progress`."""

    def __init__(self, what: str, progress: Progress) -> None:
        self.total = 0
        self._what, self._progress, self._done = what, progress, 0

    def update(self, size: int) -> None:
        self._done = min(self._done + size, self.total)
        self._progress(self._what, self._done, self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass


def _unpack(path: Path, folder: Path) -> None:
    """Unpack the zip file `path` into `folder`. Raises FetchError where it is none or an entry leads elsewhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            unsafe = [repr(entry.filename) for entry in archive.infolist() if not _is_safe(entry)]
            if unsafe:
                raise FetchError(
                    f"{path.name}: {len(unsafe)} entries would be written outside of its folder, nothing was unpacked; "
                    "report this to whoever offers the archive:\n" + bulleted(unsafe)
                )
            archive.extractall(folder)
    except zipfile.BadZipFile as error:
        raise FetchError(f"{path.name} is not a zip file that can be unpacked ({error}); nothing was kept") from error


def _is_safe(entry: zipfile.ZipInfo) -> bool:
    """Whether a zip entry is a file or folder below the one it is unpacked in, on any system."""
    path = PurePosixPath(entry.orig_filename.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return False
    return not stat.S_ISLNK(entry.external_attr >> 16)
