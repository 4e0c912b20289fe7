"""SignFlow's backend: the live server and its ML library."""
