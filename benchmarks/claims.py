"""What claims cost on S3, and whether two launches ever have the same: pairs of processes that take the same keys.

python -m benchmarks.claims --pairs 20 --against ../before --out benchmarks/results/claims.json
python docs/figures.py

Each pair has a folder of its own. `--against` is a checkout of other code, whose pairs take turns with those of this.
The server is moto's, on this machine, so milliseconds are those of its Python; requests are what S3 would count.
"""

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prep.files import write_json
from data_prep.folders import Folder
from sweep.storage.lease import Lease

TRAINING_SECONDS, WAIT_SECONDS = 0.05, 0.02
KEYS = {
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def launch(folder: Folder, name: str, keys: list[str]) -> dict[str, Any]:
    """Take each key that is not done, "train" it and note that it is done; what was trained, and what claims took."""
    trained, claims = {}, []
    with Lease(folder, name, ahead=keys) as lease:
        waiting = list(keys)
        while waiting:
            key = waiting.pop(0)
            if folder.read(f"done/{key}") is not None:
                continue
            begun = time.perf_counter()
            taken = lease.claim({key})
            claims.append(time.perf_counter() - begun)
            if taken:
                waiting.append(key)
                time.sleep(WAIT_SECONDS)
                continue
            if folder.read(f"done/{key}") is None:
                began = time.time()
                time.sleep(TRAINING_SECONDS)
                folder.write(f"done/{key}", name.encode())
                trained[key] = began, time.time()
            lease.release({key})
    return {"trained": trained, "claims": claims}


def pair(server: str, place: str, keys: int, code: Path) -> list[dict[str, Any]]:
    """Two launches at the same time, each in a process that runs `code`."""
    named = [f"key{key}" for key in range(keys)]
    begun = []
    for name in ("one", "two"):
        asked = json.dumps([place, name, named])
        command = [sys.executable, __file__, "--launch", asked]
        environment = {**os.environ, **KEYS, "AWS_ENDPOINT_URL": server, "PYTHONPATH": str(code)}
        begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, env=environment))
    return [json.loads(one.communicate()[0]) for one in begun]


def measure(pairs: int, keys: int, sides: dict[str, Path]) -> dict[str, Any]:
    import boto3
    from moto.moto_server import threaded_moto_server as moto
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication

    from tests.s3_server import in_order

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    requests: Counter[str] = Counter()
    vars(moto)["DomainDispatcherApplication"] = in_order(DomainDispatcherApplication, requests)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ.update(KEYS)
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="claims")
    found = {side: Side() for side in sides}
    for number in range(pairs):
        for side, code in sides.items():
            requests.clear()
            one, two = pair(f"http://{host}:{port}", f"s3://claims/{side}{number}", keys, code)
            found[side].twice += len(one["trained"].keys() & two["trained"].keys())
            found[side].claims += one["claims"] + two["claims"]
            found[side].requests += requests
    server.stop()
    return {"pairs": pairs, "keys": keys, **{side: each.about(pairs * keys) for side, each in found.items()}}


@dataclass
class Side:
    """What came of one side's pairs."""

    twice: int = 0
    claims: list[float] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)

    def about(self, keys: int) -> dict[str, Any]:
        return {
            "trained_twice": self.twice,
            "claims": len(self.claims),
            "claim_ms": round(1000 * statistics.median(self.claims), 2),
            "requests_a_key": {method: round(count / keys, 2) for method, count in sorted(self.requests.items())},
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description="Claims on S3.")
    parser.add_argument("--pairs", type=int, default=20, help="of launches (default: 20)")
    parser.add_argument("--keys", type=int, default=30, help="that both want to train (default: 30)")
    whose = "a checkout of other code, with a sweep/storage/ in it, to be tried in turn"
    parser.add_argument("--against", type=Path, help=whose)
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    parser.add_argument("--launch", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.launch is not None:
        place, name, keys = json.loads(options.launch)
        print(json.dumps(launch(Folder(place), name, keys)))
        return
    sides = {"ours": Path(__file__).parents[1], **({"before": options.against.resolve()} if options.against else {})}
    found = measure(options.pairs, options.keys, sides)
    print(json.dumps(found))
    if options.out is not None:
        write_json(options.out, found)


if __name__ == "__main__":
    main()
