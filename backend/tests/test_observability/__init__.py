"""Prometheus, Alertmanager and Grafana: real programs where they are installed, and files that fit them."""
