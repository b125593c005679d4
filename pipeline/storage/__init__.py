"""Where results and photos lie: a folder of this machine."""
