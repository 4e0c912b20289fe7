"""Recordings as files: clips, data sets and what imports them; may import `landmarks` and `artifacts.whole_files`."""
