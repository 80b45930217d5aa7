"""This machine: GPUs, cores and memory, processes, files. No network, no database, no settings."""
