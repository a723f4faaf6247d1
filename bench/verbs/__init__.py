"""The verbs of the command line, by who uses them."""
