"""
Estimates for models whose tokenizer is not public: Claude, Gemini, Mistral.

`families` is a table of coefficients, fitted to billed requests, one row per family of models.
`estimates` counts with them: what a request will probably cost, or a bound on it.
"""
