#!/usr/bin/env bash
# A sweep as a Slurm job: Ray on all its nodes, the sweep on top. In the project's folder, which all nodes must see, with
# .venv made by `make setup`, data and store on a mount that all nodes share (or on s3://):
#
#   sbatch clusters/slurm.sh run configs/paper.yaml --data /shared/data --store /shared/store
#   sbatch --nodes=4 --time=4:00:00 clusters/slurm.sh run configs/paper.yaml --data /shared/data --store /shared/store
#   ser-sweep status configs/paper.yaml --data /shared/data --store /shared/store
#
# Five minutes before its time is up the job stops the sweep, and queues itself again to go on from the store. A node that
# fails queues it again, too. `scancel` stops it for good.
#
# SER_SWEEP_VENV    the environment to use, if not .venv
# SER_SWEEP_HEAD_IP the first node's address in the network that nodes share, if Ray does not find the right one
#
#SBATCH --job-name=ser-sweep
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@300
#SBATCH --open-mode=append
#SBATCH --output=ser-sweep-%j.log
# shellcheck disable=SC2329 # traps call functions, too
set -euo pipefail
set -m # each background command gets a process group, so that all of it can be ended, and hears SIGINT

NODES_SECONDS=600  # to wait for nodes before going on without those that are missing
STOP_SECONDS=45    # for Ray to end by itself
MAX_RESTARTS=50    # of one job: a grid that cannot be finished must not be queued for ever

say() { echo "slurm.sh: $*" >&2; }

if [ $# -eq 0 ]; then
    say "which sweep? sbatch clusters/slurm.sh run GRID.yaml --data DATA --store STORE"
    exit 2
fi

cd "$SLURM_SUBMIT_DIR"
export PATH="${SER_SWEEP_VENV:-$PWD/.venv}/bin:$PATH"

# One token for one job, known to its own processes only: others on these nodes cannot use its Ray.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN
# Slurm signals all processes of a step at once, so Ray's head could only wait in vain for nodes that are gone already.
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
export RAY_SCRATCH="/tmp/ray-$SLURM_JOB_ID" # short: the paths of sockets below it must be
export CUDA_MPS_PIPE_DIRECTORY="$RAY_SCRATCH/mps" CUDA_MPS_LOG_DIRECTORY="$RAY_SCRATCH/mps-log"
port=$((20000 + 2 * (SLURM_JOB_ID % 5000))) # jobs that share a node need different ones
head_ip=${SER_SWEEP_HEAD_IP:-$(python -c 'import ray.util; print(ray.util.get_node_ip_address())')}
address="$head_ip:$port"

steps=()    # the srun commands that run Ray, the head's first
sweep=      # the ser-sweep command
stopped_by= # why the sweep was asked to stop

start_ray() { # start_ray NODES ARGUMENT...: one `ray start` on each of the nodes (names with commas between)
    local names=$1 count
    shift
    count=$(awk -F, '{print NF}' <<<"$names")
    # shellcheck disable=SC2016 # the nodes expand it
    srun --nodes="$count" --ntasks="$count" --nodelist="$names" --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
        --kill-on-bad-exit=0 --wait=0 \
        bash -c 'source clusters/mps.sh; exec ray start --block --disable-usage-stats "$@"' ray \
        --num-cpus="${SLURM_CPUS_PER_TASK:-1}" --min-worker-port=0 --max-worker-port=0 \
        --dashboard-agent-listen-port=0 "$@" &
    steps+=($!)
}

is_running() { kill -0 "$1" 2>/dev/null; }

head_listens() { (exec 3<>"/dev/tcp/$head_ip/$port") 2>/dev/null; }

nodes_up() {
    python - "$address" <<'PYTHON'
import sys
import ray

ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
print(sum(node["Alive"] for node in ray.nodes()))
PYTHON
}

wait_for_head() {
    until head_listens; do
        is_running "${steps[0]}" || { say "Ray's head did not start; see above"; exit 1; }
        sleep 0.5
    done
}

wait_for_nodes() {
    local deadline=$((SECONDS + NODES_SECONDS)) up=0
    until up=$(nodes_up) && ((up >= ${#nodes[@]})); do
        is_running "${steps[0]}" || { say "Ray's head ended; see above"; exit 1; }
        if ((SECONDS >= deadline)); then
            say "going on with ${up:-0} of ${#nodes[@]} nodes"
            break
        fi
        sleep 1
    done
}

stop_sweep() { # stop_sweep WHY: the sweep ends as by Ctrl-C, and keeps what is finished
    stopped_by=$1
    say "stopping: $stopped_by"
    if [ -n "$sweep" ]; then
        kill -INT "$sweep" 2>/dev/null || true
    else
        exit 130
    fi
}

stop_ray() {
    local step deadline=$((SECONDS + STOP_SECONDS))
    for step in "${steps[@]}"; do
        kill -TERM -- "-$step" 2>/dev/null || true
    done
    for step in "${steps[@]}"; do
        while kill -0 -- "-$step" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.2; done
        kill -KILL -- "-$step" 2>/dev/null || true
    done
}

finish() {
    local status=$?
    trap - EXIT USR1 TERM INT
    [ -z "$sweep" ] || kill -KILL "$sweep" 2>/dev/null || true
    stop_ray
    if ((status == 0)); then # Ray's logs are kept where there is something to look up
        srun --nodes="${#nodes[@]}" --ntasks="${#nodes[@]}" rm -rf "$RAY_SCRATCH" || true
    fi
    if [ "$stopped_by" = "time is nearly up" ]; then
        if ((${SLURM_RESTART_COUNT:-0} < MAX_RESTARTS)); then
            scontrol requeue "$SLURM_JOB_ID"
        else
            say "restarted $MAX_RESTARTS times already; submit it again to go on"
        fi
    fi
    exit "$status"
}

trap finish EXIT
trap 'stop_sweep "time is nearly up"' USR1
trap 'stop_sweep "cancelled or preempted"' TERM INT

start_ray "${nodes[0]}" --head --port="$port" --ray-client-server-port=$((port + 1)) --temp-dir="$RAY_SCRATCH" \
    --include-dashboard=false
wait_for_head
if ((${#nodes[@]} > 1)); then
    others=$(IFS=,; echo "${nodes[*]:1}")
    start_ray "$others" --address="$address"
fi
wait_for_nodes

ser-sweep "$@" --address "$address" &
sweep=$!
status=0
while is_running "$sweep"; do # a signal ends `wait`, not the sweep
    status=0
    wait "$sweep" || status=$?
done
sweep=
exit "$status"
