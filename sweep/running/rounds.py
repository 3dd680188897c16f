"""What happens after a round of trials: another one, the end of what is left, or what halving trains next.

A round runs trials until each bundle has been trained, has failed or waits for what failed. What runs the trials may
break off before that, and it may give a trial up that has tries left. Such bundles get another round.
"""

from collections.abc import Callable

from sweep.running.trials import Trials


def run_rounds(trials: Trials, run_round: Callable[[], str | None]) -> None:
    """Run rounds of trials until every bundle was done or has failed, those of later rungs among them. `run_round`
    returns what broke the round off, None where it came to its end.

    Of rounds in a row that train no stage, as many as a trial has tries end in another round. Then bundles fail: those
    whose trial was given up or, where the round was broken off, all that are left.
    """
    fruitless = 0
    while True:
        before = trials.trained
        broken = run_round()
        if broken is not None:
            trials.broken(broken)
        queue = trials.queue
        trials.interrupted = broken is None and (bool(queue.running) or (queue.ready and not trials.limited))
        if trials.given_up and not (trials.interrupted or trials.limited):
            left = [*trials.given_up, *queue.waiting]
            fruitless = 0 if trials.trained > before else fruitless + 1
            if fruitless <= trials.resources.max_failures:
                trials.start_over(left)
                continue
            for number in trials.given_up if broken is None else left:
                trials.fail(number, broken or "its process ended again and again")
        if broken is not None or not trials.next_rung():
            return
        fruitless = 0
