"""Engines: exported models prepared for one backend, built and opened here."""
