"""`python -m migrator` is the command `migrator`."""

from migrator.commands.main import console

if __name__ == "__main__":
    console()
