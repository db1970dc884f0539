"""Text that comes in and leaves: quantities are parsed and printed, secrets taken out, control characters shown."""
