"""Rows from anybody: packed with their evidence, read within limits, checked and found again. No torch."""
