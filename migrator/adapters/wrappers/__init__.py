"""Readers and writers around another one, whatever its store."""
