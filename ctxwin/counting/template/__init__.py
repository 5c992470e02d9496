"""Requests rendered by a model's own chat template and counted by its tokenizer."""
