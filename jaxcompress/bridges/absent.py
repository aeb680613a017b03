"""The error for a framework that is not installed."""


def absent(bridge: str, extra: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """The error that names the extra to install.

    Args:
      bridge: that was imported.
      extra: of the package that brings the framework, and the framework's own name.
      error: what the import raised; one about another module is given back.
    """
    if error.name != extra:
        return error
    return ModuleNotFoundError(
        f"bridges.{bridge} needs {extra.capitalize()}: pip install 'jaxcompress[{extra}]'.",
        name=error.name,
    )
