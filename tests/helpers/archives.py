"""Archives of a nightly configuration, and the metrics of a night."""


def archive(folder, **more):
    """Return the settings of an archive below the configuration file."""
    return {"input": f"archives/{folder}", "out": f"results/{folder}"} | more


def metrics_of(file):
    """Read a metrics file: values by name with labels."""
    lines = [line.rpartition(" ") for line in file.read_text().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}
