"""What the pages of runs and of comparisons are made of: embedded pictures, tables of scores, templates."""
