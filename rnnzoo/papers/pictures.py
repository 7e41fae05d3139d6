"""Pictures of papers, small enough for a repository."""

from __future__ import annotations

import functools

from rnnzoo.util.plots import figure

panels = functools.partial(figure, dpi=72)
