"""Alerts: rules that watch the figures, what fires and resolves them, and telling people and programs of it."""
