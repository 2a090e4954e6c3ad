"""Finding and replacing personal data that has a form: one file per kind.

`fold` writes a column in plain ASCII forms, `triggers` finds where a value may stand, the files named
after a kind decide whether one does, `detect` runs them over a column, `spans` merges and replaces.
"""
