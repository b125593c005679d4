"""What people run: one file a command."""
