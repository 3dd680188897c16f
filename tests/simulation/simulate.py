"""Run a seed's world to its end, and make what goes wrong in it as short as it can be."""

import uuid
from dataclasses import replace
from functools import partial
from random import Random

from tests.simulation.judge import Judge
from tests.simulation.scenario import CALM_AFTER, Fault, Scenario
from tests.simulation.stages import GRIDS, keys_of
from tests.simulation.storage import Storage
from tests.simulation.users import User, collect, look_after, upkeep
from tests.simulation.world import BEGINNING, Host, Process, World

PATIENCE = 3600.0  # seconds that everything may take once no fault comes any more
LASTING = ("full", "errors", "silence", "lost answers", "late", "twice", "stale")
BETWEEN_LAUNCHES = 10.0


class Simulation:
    """One world: the users of a scenario, its faults, and the judge."""

    def __init__(self, scenario: Scenario, told: bool) -> None:
        self._scenario = scenario
        self._launches, self._faults = scenario.left()
        self.world = World(Random(f"world {scenario.seed}"), told)
        self.storage = Storage(self.world, scenario.local, scenario.swaps)
        self._hosts = [Host(f"host{number}") for number in range(2)]
        stages = {key: stage for _, one in self._launches for key, stage in keys_of(GRIDS[one.grid]).items()}
        self.judge = Judge(self.world, self.storage, stages)
        self.users = [
            User(
                self.world,
                self.storage,
                self.judge,
                self._hosts[one.host],
                f"user{number}",
                GRIDS[one.grid],
                one.slots,
                one.fuse,
            )
            for number, one in self._launches
        ]
        self._fate = Process(self.world, "fate", Host("fate"))

    def run(self) -> None:
        for (_, one), user in zip(self._launches, self.users, strict=True):
            self._fate.start(partial(self._use, one.at, user))
        for fault in self._faults:
            self._fate.start(partial(self._hit, fault))
        self.world.run(BEGINNING + CALM_AFTER + PATIENCE)
        for user in self.users:
            if not user.done:
                self.world.violated("liveness", f"{user.name} does not come to its end")

    def _use(self, at: float, user: User) -> None:
        self._fate.sleep(at)
        while True:
            if not user.busy and not user.done:
                user.launch()
            if user.done and (self._nothing_to_come or self.world.now > BEGINNING + CALM_AFTER):
                return
            self._fate.sleep(BETWEEN_LAUNCHES)

    @property
    def _nothing_to_come(self) -> bool:
        last = max((one.at for one in self._faults), default=0.0)
        return self.world.now > BEGINNING + last and not (self._needed - self.judge.committed.keys())

    @property
    def _needed(self) -> set[str]:
        return {key for user in self.users for key in keys_of(user.grid)}

    def _hit(self, fault: Fault) -> None:
        self._fate.sleep(fault.at)
        self.world.note("fate", str(fault))
        user = self.users[fault.which % len(self.users)] if self.users else None
        if fault.kind in LASTING:
            self.storage.faults[fault.kind] = self.world.now + fault.seconds
        elif fault.kind == "skew":
            self._hosts[fault.which % 2].skew = (fault.amount - 0.5) * 4 * fault.seconds
        elif fault.kind == "power":
            self._power(fault)
        elif fault.kind in ("gc", "verify"):
            grids = [GRIDS[fault.which % len(GRIDS)]]
            work = partial(collect, grids=grids) if fault.kind == "gc" else look_after
            host = self._hosts[fault.which % 2]
            upkeep(self.world, self.storage, self.judge, host, f"{fault.kind} at {fault.at:.0f}", work)
        elif fault.kind in ("tear", "wipe"):
            self._destroy(fault)
        elif user is not None and user.driver is not None:
            self._disturb(fault, user)

    def _disturb(self, fault: Fault, user: User) -> None:
        processes = [user.driver, *(worker.process for worker in user.workers.values())]
        alive = [one for one in processes if one is not None and one.alive]
        if fault.kind == "pause":  # the machine is suspended, or one process is
            for one in alive if fault.amount < 0.5 else alive[fault.which % 7 : fault.which % 7 + 1]:
                one.paused_until = self.world.now + fault.seconds
        elif fault.kind == "kill trial":
            for one in alive[1:][:1]:
                one.kill()
        elif fault.kind == "kill":
            for one in alive if fault.amount < 0.5 else alive[:1]:
                one.kill()

    def _power(self, fault: Fault) -> None:
        for host in self._hosts:
            for process in host.processes:
                if process.alive:
                    process.kill()
        self.storage.power_fails()

    def _destroy(self, fault: Fault) -> None:
        """Damage a file of a stage, or take the whole store away."""
        files = self.storage.files
        if fault.kind == "wipe":
            if fault.amount < 0.3:
                for key in self._needed:  # also those that are being written
                    self.judge.destroyed(key)
                for name in sorted(files):
                    self.judge.unreadable(name)
                    self.storage.set(name, None, "fate")
                self.storage.folders = {"": 0}
                for user in self.users:
                    user.done = False
            return
        names = sorted(name for name in files if "/." not in name)
        if names:
            name = names[fault.which % len(names)]
            content = files[name].content
            torn = content[: int(fault.amount * len(content))]
            if name.startswith("stages/"):
                self.judge.destroyed(name.split("/")[1], torn)
            if name.startswith("leases/"):
                self.judge.unreadable(name)
            self.storage.put(name, torn, "fate")
            for user in self.users:
                user.done = False


def run(scenario: Scenario, told: bool = False) -> Simulation:
    """A scenario's world at its end, with its history if that is to be `told`."""
    names = Random(f"names {scenario.seed}")
    uuid.uuid4 = lambda: uuid.UUID(int=names.getrandbits(128), version=4)  # in this process, which does nothing else
    simulation = Simulation(scenario, told)
    simulation.run()
    return simulation


def shortened(scenario: Scenario) -> Scenario:
    """The same violation with as few launches and faults as can be found by leaving one out at a time."""
    violation = run(scenario).world.violation
    for part in range(scenario.parts):
        fewer = replace(scenario, without=(*scenario.without, part))
        found = run(fewer).world.violation
        if found is not None and violation is not None and found.name == violation.name:
            scenario = fewer
    return scenario
