"""People's decisions about photos in OUT/reviews/: their records, the truth they add up to, the classes, the audit."""
