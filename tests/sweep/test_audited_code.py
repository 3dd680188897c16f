"""An exact audit goes by networks of the code that it audits, and of no other."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dsl import chain
from dsl.segments import input_statistics
from ser_sweep import open_sweep
from sweep.storage import provenance
from sweep.storage.provenance import code_digest


def test_other_code_does_not_go_by_what_this_code_trained(
    small_data: Path, write_grid: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = write_grid(rules=["none"], folds=2, training={"epochs": 1, "every": 64, "validation_by": "utterance"})

    def audited() -> tuple[int, bool]:
        outcome, (one,) = open_sweep(grid, small_data, tmp_path / "store").audit_exactly(inline=True, quiet=True)
        return outcome.trained, any(one.partings.values())

    assert audited() == (3, False)
    assert audited() == (0, False)
    overall = input_statistics
    monkeypatch.setattr(chain, "input_statistics", lambda corpus, _, how: overall(corpus, np.arange(len(corpus)), how))
    monkeypatch.setattr(provenance, "code_digest", lambda: "other")
    assert audited() == (3, True)


def test_a_change_of_any_source_file_or_version_is_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in provenance.TRAINED_BY:
        (tmp_path / package / "inner").mkdir(parents=True)
        (tmp_path / package / "inner" / "module.py").write_text("")
    (tmp_path / "analysis").mkdir()
    found = [code_digest(tmp_path)]
    (tmp_path / "analysis" / "tables.py").write_text("1")
    assert code_digest(tmp_path) == found[0]  # it only reads results
    (tmp_path / "sweep" / "inner" / "module.py").write_text("1")
    found.append(code_digest(tmp_path))
    (tmp_path / "dsl" / "inner" / "module.py").rename(tmp_path / "dsl" / "module.py")
    found.append(code_digest(tmp_path))
    monkeypatch.setattr(provenance, "versions", lambda: {"torch": "0"})
    assert len({*found, code_digest(tmp_path)}) == 4
