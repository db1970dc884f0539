"""What operators do with archives besides backing up and restoring: list, check, salvage, examine, prune, compare.

The location of an archive enters, values leave; the commands of `migrator archive` print them. What a part is made of
is known to `adapters.archive`.
"""
