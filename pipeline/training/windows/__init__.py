"""Training on windows of large photos: around their defects, and on parts without one."""
