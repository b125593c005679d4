"""Shared by all commands: help, options, logs, interruption, exit codes, optional dependencies."""
