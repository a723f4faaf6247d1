"""Methods for Concept Bench."""
