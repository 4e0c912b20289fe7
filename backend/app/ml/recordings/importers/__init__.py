"""Readers of other projects' data: each turns its layout into `Clip`s; docs/data.md shows the layouts."""
