"""Row files: read from anybody, checked, and where each stands. No torch."""
