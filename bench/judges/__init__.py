"""The judges: what turns pictures and texts into features and answers, and the cache of these."""
