"""The verbs of the `xbarverify` command, one per file; each is a function `command`."""
