"""The embedded world: a renderer with exact captions, and the recipe of the models trained on it."""
