"""Figures of other libraries on the same data; each module runs in that library's own environment, without ours."""
