"""What papers report and claim, beside what was measured here."""
