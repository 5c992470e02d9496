"""
The laws of a window, as pure functions; and where text may be cut.

Public: `LAWS`, and for strategies that edit text `ceil_boundary`, `floor_boundary` and
`is_json_document`.
"""

from ctxwin.laws.edits import is_json_document
from ctxwin.laws.graphemes import ceil_boundary, floor_boundary
from ctxwin.laws.laws import LAWS

__all__ = ["LAWS", "ceil_boundary", "floor_boundary", "is_json_document"]
