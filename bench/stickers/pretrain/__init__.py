"""The recipe of the embedded world's models: one module a part, `python -m bench pretrain PART`."""
