"""What `from migrator import …` gives: what the commands do, for programs."""
