"""Two runs or two methods against each other, and a run against itself made again."""
