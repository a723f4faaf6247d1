"""Datasets: their layouts, concepts and pictures, made, fetched and looked at."""
