"""The contract of a method, tried on small random-weight pipelines, and an author's first files."""
