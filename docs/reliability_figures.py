"""Blocks of docs/reliability.md: faults, simulated worlds, signals, claims on S3, and bits that stay the same."""

import sys
from collections.abc import Callable

from from_results import NAMES, ROOT, results_of, table

from analysis.tables.render import aligned

FAULTS = {
    "driver_killed": "launch killed (SIGKILL)",
    "worker_killed": "process of a trial killed (SIGKILL)",
    "node_killed": "node lost with all its processes",
    "disk_full": "disk of the store full",
    "checkpoint_truncated": "checkpoint cut off",
    "note_truncated": "lease, event log or corpus.json cut off",
    "stage_truncated": "file of a finished stage cut off",
    "server_errors": "object store answers 500 and 503",
    "dropped_connections": "object store drops connections",
    "hanging_server": "object store does not answer",
}


SIGNALLED = {
    "driver": "the process",
    "group": "its process group",
    "number 1": "process 1 of a container",
    "inline": "inline",
    "ray": "on Ray",
}


AS_PROMISED, TOO_EARLY = "as it should", "before it began"


def faults_of_chaos() -> str:
    """How often each fault hit, by kind of store."""
    runs = results_of("chaos")["runs"]
    kinds = sorted({run["store"] for run in runs})
    rows = []
    for fault, name in FAULTS.items():
        hits = [sum(run["faults"].get(fault, 0) for run in runs if run["store"] == kind) for kind in kinds]
        if any(hits):
            rows.append([name, *(str(each or "—") for each in hits)])
    return table(["Fault", *kinds], rows)


def outcome_of_chaos() -> str:
    """What came of it, in sentences."""
    runs = results_of("chaos")["runs"]

    def total(name: str) -> int:
        return sum(run[name] for run in runs)

    flawless = sum(run["finished"] and run["same_predictions"] and run["same_tables"] for run in runs)
    faults = sum(sum(run["faults"].values()) for run in runs)
    return (
        f"{len(runs)} runs had {total('stages')} stages in total, {faults} faults and {total('launches')} launches. "
        f"{total('lost')} committed stages were lost, and {total('repeated')} were trained twice. The "
        f"{total('destroyed')} stages whose files a fault destroyed were trained again. {total('resumed')} stages "
        f"continued from a checkpoint. {flawless} of {len(runs)} runs ended with a launch of exit status 0, and with "
        f"the same predictions and tables, bit for bit, as a run without faults."
    )


def simulated_worlds() -> str:
    """How many worlds were looked at, and in how long."""
    found = results_of("simulation")
    return (
        f"The last long run simulated {found['seeds']:,} worlds in {found['seconds'] / 60:.1f} minutes, "
        f"{found['processes']} at a time; {found['violations']} broke a promise."
    )


def planted_bugs() -> str:
    """The first world that finds each planted bug."""
    sys.path.insert(0, str(ROOT))
    from tests.simulation.planted import BUGS

    first = results_of("simulation")["first_seed_that_finds"]
    rows = [[f"`{name}`", str(bug.__doc__), str(first[name])] for name, bug in BUGS.items()]
    return table(["Bug", "", "first seed that finds it"], rows, "llr")


def claims_on_s3() -> str:
    """What a claim costs on S3, and how often two launches trained the same."""
    found = results_of("claims")
    rows = []
    for side, name in (("before", "leases written without a condition"), ("ours", "claims by compare-and-swap")):
        one = found[side]
        requests = sum(one["requests_a_key"].values())
        rows.append([name, str(one["trained_twice"]), f"{requests:.1f}", f"{one['claim_ms']:.1f}"])
    shown = table(["", "keys trained twice", "requests per key", "ms per claim"], rows)
    pairs = f"{found['pairs']} pairs of simultaneous launches, both of which need the same {found['keys']} keys:"
    return f"{pairs}\n\n{shown}"


def same_bits() -> str:
    """Under what other conditions a stage came to the same bits."""
    conditions = results_of("same_bits")["conditions"]
    names = list(conditions[0]["same"])
    rows = [[one["other"], *("same" if one["same"][name] else "**other**" for name in names)] for one in conditions]
    return table(["The second training had", *(NAMES[name] for name in names)], rows)


def signals() -> str:
    """How runs ended that got a signal at random moments."""
    measured = results_of("signals")
    found = {(one["way"], one["to"], one["signal"]): one["outcomes"] for one in measured["found"]}
    sent = list(dict.fromkeys(signal for _, _, signal in found))
    rows = [["To", "run", *sent]]
    for way, to in dict.fromkeys((way, to) for way, to, _ in found):
        rows.append([SIGNALLED[to], SIGNALLED[way], *(_ended(found[way, to, signal]) for signal in sent)])
    lengths = " and ".join(f"{seconds:.0f} s ({way})" for way, seconds in measured["seconds"].items())
    wrong = sum(
        count for outcomes in found.values() for what, count in outcomes.items() if what not in (AS_PROMISED, TOO_EARLY)
    )
    tries = sum(sum(outcomes.values()) for outcomes in found.values())
    return (
        f"{aligned(rows).rstrip()}\n\n{tries} signals in all, within the first {lengths} of a run; {wrong} of them did "
        "not end it as promised. *Early*: the signal came before Python was up, and ended it then and there."
    )


def _ended(outcomes: dict[str, int]) -> str:
    """`20 of 20`, or with what ended otherwise."""
    told = [f"{outcomes.get(AS_PROMISED, 0)} of {sum(outcomes.values())}"]
    told += [f"{count} early" for what, count in outcomes.items() if what == TOO_EARLY]
    told += [f"{count}: {what}" for what, count in outcomes.items() if what not in (AS_PROMISED, TOO_EARLY)]
    return ", ".join(told)


RELIABILITY_BLOCKS: dict[str, Callable[[], str]] = {
    "chaos_faults": faults_of_chaos,
    "chaos_outcome": outcome_of_chaos,
    "simulated_worlds": simulated_worlds,
    "planted_bugs": planted_bugs,
    "claims_on_s3": claims_on_s3,
    "same_bits": same_bits,
    "signals": signals,
}
