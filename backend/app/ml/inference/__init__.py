"""Parts of answering a window, from backends to the segmenter; may import `artifacts`, `landmarks` and `model`."""
