"""
What a window must be: the seventeen laws as pure functions, and what makes an edit a good one.

Public are `LAWS`, and three helpers for strategies that edit text: `ceil_boundary` and
`floor_boundary` (where text may be cut) and `is_json_document` (what must stay JSON).
"""

from ctxwin.laws.edits import is_json_document
from ctxwin.laws.graphemes import ceil_boundary, floor_boundary
from ctxwin.laws.laws import LAWS

__all__ = ["LAWS", "ceil_boundary", "floor_boundary", "is_json_document"]
