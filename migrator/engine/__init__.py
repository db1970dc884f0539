"""The copy engine: plans, slices in progress, checkpoints; names no store."""
