"""Activations as documents: their forms, their headers, which are wanted. Pure; no input and output."""
