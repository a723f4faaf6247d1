"""How far each metric can be trusted, measured where the truth is known: on renderings."""
