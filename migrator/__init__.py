"""Copy, back up, restore, find and prove Apache OpenWhisk activations."""
