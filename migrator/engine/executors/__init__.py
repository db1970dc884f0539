"""Whoever carries slices: threads of this process, other processes, or the workers of a Dask cluster."""
