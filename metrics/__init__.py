"""One file a family of metrics: features → one value a picture."""
