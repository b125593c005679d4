"""The commands of `vitrollout`, one file each, and scripts for benchmarks, data sets and pictures in sub-folders."""
