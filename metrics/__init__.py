"""One file a metric: features → one value a picture."""
