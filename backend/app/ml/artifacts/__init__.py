"""Model files: the manifest, `.pt` and `.onnx`, their seal, finding them; may import `landmarks`."""
