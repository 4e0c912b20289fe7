"""Parts of live inference: backends and the segmenter."""
