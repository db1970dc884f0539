"""Text that leaves the program: secrets are taken out, what comes from outside is shown."""
