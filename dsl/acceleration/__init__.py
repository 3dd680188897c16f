"""What makes trainings fast: layers and kernels for CPUs and GPUs, and the recording of steps as CUDA graphs."""
