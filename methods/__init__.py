"""One file a method; each reads like its paper's algorithm."""
