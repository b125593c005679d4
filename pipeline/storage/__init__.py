"""Where results and photos lie: in a folder of this machine, or in a bucket of an object store."""
