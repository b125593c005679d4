"""The names of lists of photos; apart from their reading, so that settings import no Parquet."""

LIST_EXTENSIONS = (".txt", ".parquet")
