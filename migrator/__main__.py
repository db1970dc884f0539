"""`python -m migrator` is the command `migrator`."""

from migrator.commands.main import main

if __name__ == "__main__":
    main()
