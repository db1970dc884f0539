"""What operators ask besides copying: where activations are, whether they agree, how many there are."""
