"""Where a store lies while chaos rules: on a small disk of its own, or behind a proxy in an object store."""

import contextlib
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.proxy import Mood, Proxy

DISK_BYTES = 48 << 20
BUCKET = "chaos"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}


@dataclass
class Place:
    """A store's place. `look` tells what stage.json of every stage is; `leftovers` which files there are by folder.

    `outages` are faults that last: name -> how to begin it, which returns how to end it.
    """

    store: str
    look: Callable[[], dict[str, str]]
    names: Callable[[], list[str]]
    look_seconds: float
    outages: dict[str, Callable[[], Callable[[], None]]]
    skipped: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None  # where files can be damaged


@contextmanager
def on_disk(folder: Path, _: random.Random) -> Iterator[Place]:
    """A store on a small file system of its own, if one may be mounted here."""
    disk = folder / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "chaos", str(disk)]
    mounted = subprocess.run(mounting, capture_output=True, check=False).returncode == 0
    store = disk / "store"
    ballast = disk / "ballast"

    def fill() -> Callable[[], None]:
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        return lambda: ballast.unlink(missing_ok=True)

    def names() -> list[str]:
        return [str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()]

    try:
        outages = {"disk_full": fill} if mounted else {}
        skipped = {} if mounted else {"disk_full": "no file system may be mounted here"}
        yield Place(str(store), lambda: _stages_on_disk(store), names, 0.02, outages, skipped, store)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _stages_on_disk(store: Path) -> dict[str, str]:
    found = {}
    with contextlib.suppress(FileNotFoundError):
        for stage in os.scandir(store / "stages"):
            with contextlib.suppress(FileNotFoundError):
                about = (Path(stage.path) / "stage.json").stat()
                found[stage.name] = f"{about.st_ino} {about.st_mtime_ns} {about.st_size}"
    return found


@contextmanager
def in_an_object_store(_: Path, choices: random.Random) -> Iterator[Place]:
    """A store in moto's server, which launches and trials reach through a proxy."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        upstream = server.get_host_and_port()
        bucket = f"{BUCKET}-{choices.getrandbits(32):08x}"
        client: Any = boto3.client(
            "s3",
            endpoint_url=f"http://{upstream[0]}:{upstream[1]}",
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        client.create_bucket(Bucket=bucket)
        with Proxy(upstream, choices.getrandbits(32)) as proxy:

            def objects() -> dict[str, str]:
                pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="store/")
                return {one["Key"][6:]: one["ETag"] for page in pages for one in page.get("Contents", ())}

            # A client that never got its answer writes the same once more: that is no other training, and the ETag,
            # made of the content, stays the same. stage.json holds times, which no two trainings share.
            def look() -> dict[str, str]:
                found = {tuple(name.split("/")): tag for name, tag in objects().items()}
                return {parts[1]: tag for parts, tag in found.items() if parts[0] == "stages" and "stage.json" in parts}

            def outage(mood: Mood) -> Callable[[], Callable[[], None]]:
                def begin() -> Callable[[], None]:
                    proxy.mood = mood
                    return end

                def end() -> None:
                    proxy.mood = "passes"

                return begin

            address = f"s3://{bucket}/store?endpoint_override={proxy.address}&scheme=http&region=us-east-1"
            outages = {"server_errors": outage("errors"), "dropped_connections": outage("drops")}
            outages["hanging_server"] = outage("hangs")
            yield Place(address, look, lambda: sorted(objects()), 0.25, outages)
    finally:
        server.stop()


PLACES: dict[str, Callable[[Path, random.Random], AbstractContextManager[Place]]] = {
    "disk": on_disk,
    "s3": in_an_object_store,
}
