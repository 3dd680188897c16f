#!/usr/bin/env bash
# Lets the trials of one machine use its GPUs at the same time, by NVIDIA's Multi-Process Service (MPS).
# Source it before `ray start`, in the same shell: the trials must inherit where the daemon listens.
#
#   source clusters/mps.sh && ray start ...
#
# Sourcing it again changes nothing. Without an NVIDIA driver, or where the daemon does not start, it says so and goes
# on: trials then take turns on a GPU.

export CUDA_MPS_PIPE_DIRECTORY="${CUDA_MPS_PIPE_DIRECTORY:-/tmp/nvidia-mps}"
export CUDA_MPS_LOG_DIRECTORY="${CUDA_MPS_LOG_DIRECTORY:-/tmp/nvidia-mps-log}"

if command -v nvidia-cuda-mps-control >/dev/null; then
    mkdir -p "$CUDA_MPS_PIPE_DIRECTORY" "$CUDA_MPS_LOG_DIRECTORY"
    # Only a daemon that runs answers; a second one would refuse to start.
    if ! echo get_server_list | nvidia-cuda-mps-control >/dev/null 2>&1; then
        nvidia-cuda-mps-control -d || echo "mps.sh: no MPS daemon; trials take turns on the GPU" >&2
    fi
else
    echo "mps.sh: no nvidia-cuda-mps-control on this machine; GPUs, if any, are used without MPS" >&2
fi
