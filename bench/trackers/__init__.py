"""Trackers: runs logged elsewhere, beside their rows, from a process of their own."""
