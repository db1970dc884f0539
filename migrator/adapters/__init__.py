"""Adapters: our code for each kind of store, and the wrappers around them."""
