"""Fuzzing in its short form: whatever is spoilt, a command ends with one message. The long form is `make fuzz`."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.cases import KINDS
from tests.fuzz.ground import Ground

EXAMPLES = {
    "grids": 150,
    "manifests": 80,
    "recordings": 80,
    "prepared corpora": 80,
    "stage folders": 100,
    "stores": 100,
    "arguments": 60,
}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_spoilt_is_one_message_at_most(ground: Ground, kind: str) -> None:
    @settings(
        max_examples=EXAMPLES[kind],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def play(data: st.DataObject) -> None:
        KINDS[kind](ground, data)

    play()
