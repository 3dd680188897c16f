"""Folders wherever they lie: on a disk, on a mount that machines share, or in an object store (s3://bucket/folder).

Files appear whole or not at all: on a disk under a temporary name that is then changed, in an object store by an
upload that is atomic by itself. What is written is on the disk, not only on its way to it, when `write` returns.

`swap` writes a file only if it is still what the writer has seen: on a disk by a link or under a lock, on S3 by a
conditional request. What cannot do that writes all the same.
"""

import contextlib
import os
import posixpath
import stat
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote

import pyarrow as pa
from pyarrow import fs

from data_prep.addresses import is_address, local_path, without_options, without_secrets
from data_prep.conditional import CONNECT_SECONDS, REQUEST_SECONDS, S3_ATTEMPTS, ConditionalWrites
from data_prep.disk import DISK
from data_prep.errors import FolderError

LOCK = ".lock"
S3_OPTIONS = ("endpoint_override", "scheme", "region")
READERS = 32  # threads that wait for an object store's answers

Item = TypeVar("Item")
Result = TypeVar("Result")


class Entry(NamedTuple):
    """A file in a folder: its `path` relative to it, its size in bytes, and the storage's clock when it was written."""

    path: PurePosixPath
    size: int
    modified: float


class Folder:
    """The folder at `location`: a path, or any address that `pyarrow.fs` knows. It need not be there yet.

    A path may hold any character, and in text a leading ~ is a home. An s3 address may end with
    `?endpoint_override=HOST:PORT&scheme=http&region=...`; otherwise they come from AWS_ENDPOINT_URL and AWS_REGION, and
    keys from where AWS tools look for them. Raises FolderError.
    """

    def __init__(self, location: "str | Path | Folder") -> None:
        self.uri: str = _absolute(location)
        try:
            self._files, root, self._conditional = _open(self.uri)
        except (pa.ArrowException, OSError) as error:
            raise FolderError(f"{without_secrets(self.uri)} cannot be reached: {error}") from error
        self._lies_at(str(PurePosixPath(root)))
        self._disk = DISK

    def _lies_at(self, root: str) -> None:
        self._root = root
        self._below = f"{root.rstrip('/')}/"  # what paths of files in it begin with

    def __reduce__(self) -> tuple[Any, ...]:
        return Folder, (self.uri,)

    def __str__(self) -> str:
        return self.uri

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folder) and self.uri == other.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def __truediv__(self, name: str) -> "Folder":
        address, options = without_options(self.uri)
        return Folder(f"{address.rstrip('/')}/{name}{options}")

    @property
    def name(self) -> str:
        """The last part of its path."""
        return posixpath.basename(self._root)

    @property
    def parent(self) -> "Folder":
        """The folder that it is in, with the same options of its address."""
        address, options = without_options(self.uri)
        return Folder(f"{address.rstrip('/').rpartition('/')[0]}{options}")

    @property
    def is_local(self) -> bool:
        """Whether it is on a disk or a mount."""
        return isinstance(self._files, fs.LocalFileSystem)

    def local_path(self, name: str) -> Path:
        """Where a file is on this machine; only of a folder that `is_local`."""
        return Path(self._path(name))

    def entries(self, folder: str = "", recursive: bool = False) -> list[Entry]:
        """What files `folder` holds, without those that are still being written; nothing where it is not there.

        Raises FolderError where it is a file.
        """
        return [entry for entry in self._all_entries(folder, recursive) if entry.path.name[:1] != "."]

    def unfinished(self) -> list[Entry]:
        """The temporary files in it and in the folders below, of writes that go on or were cut off.

        An object store has none.
        """
        if not self.is_local:
            return []
        entries = self._all_entries("", recursive=True)
        return [entry for entry in entries if entry.path.name[:1] == "." and entry.path.suffix == ".tmp"]

    def _all_entries(self, folder: str, recursive: bool) -> list[Entry]:
        selector = fs.FileSelector(self._path(folder), recursive=recursive, allow_not_found=True)
        try:
            return [
                Entry(PurePosixPath(info.path[len(self._below) :]), info.size, info.mtime_ns / 1e9)
                for info in self._files.get_file_info(selector)
                if info.type == fs.FileType.File
            ]
        except NotADirectoryError as error:
            raise FolderError(f"{self.uri} is a file; give a folder") from error
        except UnicodeDecodeError as error:
            raise FolderError(f"{self.uri} holds a name that is not UTF-8: {error.object!r}; rename it") from error

    def folders(self) -> list[str]:
        """The names of the folders in it; none where it is not there. Raises FolderError where it is a file."""
        if self.is_local:
            try:
                return sorted(path.name for path in Path(self._root).iterdir() if path.is_dir())
            except FileNotFoundError:
                return []
            except NotADirectoryError as error:
                raise FolderError(f"{self.uri} is a file; give a folder") from error
        found = self._files.get_file_info(fs.FileSelector(self._path(""), allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)

    def modified(self, name: str) -> float | None:
        """When a file was written, by the storage's clock; None where it is not there."""
        info = self._files.get_file_info(self._path(name))
        return info.mtime_ns / 1e9 if info.type == fs.FileType.File else None

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""
        try:
            with self._files.open_input_stream(self._path(name)) as stream:
                content: bytes = stream.read()
                return content
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_all(self, names: Iterable[str]) -> list[bytes | None]:
        """Many files' contents, in order."""
        return list(self.each(self.read, names))

    def each(
        self, function: Callable[[Item], Result], items: Iterable[Item], at_once: int = READERS
    ) -> Iterator[Result]:
        """`function` of every item, in order: `at_once` of them where each waits for an object store's answers.

        No more results than that are held before they are taken.
        """
        if self.is_local:
            yield from map(function, items)
            return
        running: deque[Future[Result]] = deque()
        with ThreadPoolExecutor(at_once) as pool:
            for item in items:
                if len(running) == at_once:
                    yield running.popleft().result()
                running.append(pool.submit(function, item))
            while running:
                yield running.popleft().result()

    def write(self, name: str, content: bytes, durable: bool = True) -> None:
        """Write a whole file, in place of one of that name. Raises OSError, and leaves nothing half-written.

        One that is not `durable` may be lost, or empty, when the machine loses its power. Raises FolderError where a
        link leads out of the folder.
        """
        if not self.is_local:
            with self._files.open_output_stream(self._path(name)) as stream:
                stream.write(content)
            return
        target = self.place(name)
        with self._temporary(target, content, durable) as temporary:
            self._disk.rename(temporary, target)
        if durable:
            self._disk.sync_folder(target.parent)

    def swap(self, name: str, content: bytes, seen: bytes | None, durable: bool = True) -> bool:
        """`write` a file if what it holds is still what the caller has `seen`: None where there was none. Returns
        whether it holds `content` then, also where another wrote the same.

        Of several that swap what they have seen at the same time, one succeeds: where a file system has links and
        locks, and an object store of S3's kind conditional writes. Anywhere else it is a look and a `write`.
        """
        if not self.is_local:
            swapped = None if self._conditional is None else self._conditional.swap(name, content, seen)
            return self._swap_unguarded(name, content, seen, durable) if swapped is None else swapped
        if seen is not None:
            with self._disk.locked(self.place(name).with_name(LOCK)):
                return self._swap_unguarded(name, content, seen, durable)
        target = self.place(name)
        with self._temporary(target, content, durable) as temporary:
            new = self._disk.link(temporary, target)
            self._disk.remove(temporary)
        if new and durable:
            self._disk.sync_folder(target.parent)
        return new or self.read(name) == content

    def _swap_unguarded(self, name: str, content: bytes, seen: bytes | None, durable: bool) -> bool:
        found = self.read(name)
        if found == seen:
            self.write(name, content, durable)
        return found in (seen, content)

    @contextmanager
    def _temporary(self, target: Path, content: bytes, durable: bool) -> Iterator[Path]:
        """A new file beside `target`, which is to get its name; it goes where the block ends with an error."""
        temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            self._disk.create(temporary, content, durable)
            self._share(temporary)
            yield temporary
        except BaseException:
            with contextlib.suppress(OSError):
                self._disk.remove(temporary)
            raise

    def place(self, name: str) -> Path:
        """Where a file is to be on this machine, in a folder that is there; only of a folder that `is_local`.

        Raises FolderError where a link leads out of the folder.
        """
        target = self.local_path(name)
        if self._leads_out(target.parent):
            raise FolderError(f"{target.parent} leads out of {self.uri} by a symbolic link; remove the link")
        for one in reversed((target.parent, *target.parent.parents)):
            found = self._disk.identity(one)
            missing = found is None
            if missing:
                self._disk.make_folder(one)
                self._share(one)
                found = self._disk.identity(one)
            # Who made one that is there may have been killed before its name was on the disk.
            if missing or (found not in self._disk.named and one.is_relative_to(self._root)):
                self._disk.sync_folder(one.parent)
            self._disk.named.add(found)
        return target

    def _share(self, path: Path) -> None:
        """Where the folder's group may write to it, let it write to `path`, too, which is new: whatever the umask of
        the user says, others of the group go on with it."""
        root = Path(self._root)
        if path == root or not root.is_dir():
            return
        mode = root.stat().st_mode
        if mode & stat.S_IWGRP:
            with contextlib.suppress(OSError):  # of another user's: one was faster
                path.chmod(path.stat().st_mode | mode & (0o2070 if path.is_dir() else 0o060))

    def delete(self, name: str, durable: bool = False) -> None:
        """Take a file away, where it is there; what a link in the folder leads to is not. A `durable` deletion is on
        the disk before anything that follows it."""
        if self.is_local and self._leads_out(self.local_path(name).parent):
            return
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._files.delete_file(self._path(name))
            if durable and self.is_local:
                self._disk.sync_folder(self.local_path(name).parent)

    def delete_folder(self, name: str) -> None:
        """Take a folder away with all that is in it, where it is there; of a link, the link alone."""
        if self.is_local and self.local_path(name).is_symlink():
            self.local_path(name).unlink()
            return
        if self.is_local and self._leads_out(self.local_path(name)):
            return
        with contextlib.suppress(FileNotFoundError):
            self._files.delete_dir(self._path(name))

    def _leads_out(self, path: Path) -> bool:
        """Whether a link on the way to `path` leads to where the folder is not."""
        return not path.resolve().is_relative_to(Path(self._root).resolve())

    def _path(self, name: str) -> str:
        return self._below + name if name else self._root


def _absolute(location: "str | Path | Folder") -> str:
    """A location as it is the same in any working folder: trials run in others than the command does."""
    given = str(location)
    if given.startswith("file://"):
        named = unquote(given.removeprefix("file://").removeprefix("localhost"))
        if not named.startswith("/") or {"?", "#"} & set(given):
            raise FolderError(f"{given} is not understood; give the path alone, without file://")
        return named
    if is_address(given):
        return given
    path = (location if isinstance(location, Path) else local_path(given)).absolute()
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise FolderError(f"the name {os.fsencode(given)!r} is not UTF-8; give a folder with a UTF-8 name") from error
    return str(path)


def _open(uri: str) -> tuple[Any, str, ConditionalWrites | None]:
    """The file system of an address, the path in it, and what writes there under conditions besides."""
    if not is_address(uri):
        return fs.LocalFileSystem(), uri, None
    if uri.startswith("s3://"):
        return _open_s3(uri)
    if "#" in uri:
        raise FolderError(f"{without_secrets(uri)} contains a '#', which ends such an address; write %23 instead")
    return *fs.FileSystem.from_uri(uri), None


def _open_s3(uri: str) -> tuple[Any, str, ConditionalWrites]:
    """S3 with time limits and tries of our own: the library's wait for minutes on a server that does not answer.

    Nothing but ? ends the name of a folder there: # and % are letters like others.
    """
    address, query = without_options(uri)
    bucket, _, path = address.removeprefix("s3://").partition("/")
    if "@" in bucket:
        raise FolderError(
            f"s3://...@{bucket.rpartition('@')[2]}/{path} contains keys, which would show in logs; set them in the "
            "environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), a profile or the machine's role"
        )
    if not bucket:
        raise FolderError(f"{without_secrets(uri)} names no bucket; write s3://BUCKET/FOLDER")
    options = dict(parse_qsl(query[1:], keep_blank_values=True)) if query != "?" else {"": ""}
    unknown = options.keys() - set(S3_OPTIONS)
    if unknown:
        raise FolderError(
            f"{without_secrets(uri)}: unknown option {', '.join(sorted(unknown)) or 'without a name'}; "
            f"allowed: {', '.join(S3_OPTIONS)}"
        )
    endpoint = options.get("endpoint_override") or _environment("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    scheme, _, host = (endpoint or "").rpartition("://")
    named = options.get("region") or _environment("AWS_REGION", "AWS_DEFAULT_REGION")
    region: str = named or ("us-east-1" if endpoint else fs.resolve_s3_region(bucket))
    scheme = options.get("scheme") or scheme or "https"
    files = fs.S3FileSystem(
        endpoint_override=host or None,
        scheme=scheme,  # type: ignore[arg-type]  # it refuses any other than http and https
        region=region,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=REQUEST_SECONDS,
        allow_delayed_open=True,  # type: ignore[call-arg]  # unknown to the stubs; one request for a small file
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=S3_ATTEMPTS),
    )
    server = f"{scheme}://{host}" if host else None
    return files, f"{bucket}/{path}", ConditionalWrites(bucket, path, server, region)


def _environment(*names: str) -> str | None:
    """The first of these variables that is set."""
    return next((os.environ[name] for name in names if os.environ.get(name)), None)
