"""Removing what is proven to be held elsewhere."""
