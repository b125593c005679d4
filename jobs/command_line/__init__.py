"""Shared by all commands: options, logs, interruption, extras."""
