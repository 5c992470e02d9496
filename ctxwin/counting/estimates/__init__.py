"""Estimates for models without a public tokenizer, by family, with a bound."""
