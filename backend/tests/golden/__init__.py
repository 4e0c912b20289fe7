"""Golden vectors: what Python and TypeScript must agree on, and the scripts that write them."""
