"""Boards: rows against each other, as tables, fronts, pages and findings. No torch."""
