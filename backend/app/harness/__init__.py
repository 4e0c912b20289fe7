"""Starts servers, puts load on them and breaks their network, to measure and to test; uses `app.client`."""
