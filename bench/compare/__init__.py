"""Two runs or two methods against each other."""
