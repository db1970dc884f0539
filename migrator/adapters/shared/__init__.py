"""What the adapters of several stores have in common."""
