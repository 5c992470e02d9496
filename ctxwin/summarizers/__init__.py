"""Ready summarisers: an embedded extractive digest."""

from ctxwin.plan import Summarizer
from ctxwin.summarizers.digest import Digest

__all__ = ["Digest", "Summarizer"]
