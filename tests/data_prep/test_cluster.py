"""What Ray leaves behind in a process that has used it."""

import subprocess
import sys
from pathlib import Path

import pytest

SESSIONS = """
from pathlib import Path
from data_prep.cluster import ray_session

for _ in range(3):
    with ray_session():
        import ray
        ray.get(ray.remote(lambda: 1).remote())
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    print(names.count(Path("/proc/self/comm").read_text().strip()))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc to count threads in")
def test_a_runtime_leaves_no_thread_for_the_next_one_to_add_to() -> None:
    done = subprocess.run([sys.executable, "-c", SESSIONS], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    first, _, third = map(int, done.stdout.split())  # threads of no name of their own
    assert third <= first, done.stdout
