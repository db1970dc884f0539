"""Where stores are, how to log in to them, and what `migrator.toml` says."""
