"""Who works on which shard: processes of this machine, or actors of a Ray cluster."""
