"""The way in, above all rooms: the command `ser-sweep`, and the same for programs.

from ser_sweep import open_sweep

sweep = open_sweep("configs/emodb_lite.yaml", data="DATA", store="STORE")
sweep.run()
for table in sweep.tables(): ...
"""

from ser_sweep.sweeps import Ran, Sweep, open_results, open_sweep

__all__ = ["Ran", "Sweep", "open_results", "open_sweep"]
