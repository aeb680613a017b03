"""What a command says when it cannot do its work."""

EXPECTED = (ValueError, TypeError, ImportError, OSError, RuntimeError)
"""What is told in one sentence; any other error is a fault of ours and is traced."""

_MENDS: dict[type[OSError], str] = {
    FileNotFoundError: "there is no {path}. Check the path.",
    IsADirectoryError: "{path} is a folder. Name a file.",
    NotADirectoryError: "a part of {path} is a file where a folder is needed. Name another path.",
    FileExistsError: "{path} exists already. Name another path.",
    PermissionError: "{path} may not be read or written by this user. Change its permissions.",
}


def sentence(error: BaseException) -> str:
    """An error as a sentence that names what failed and the mend.

    Example:
      >>> sentence(FileNotFoundError(2, "No such file or directory", "model"))
      "there is no 'model'. Check the path."
    """
    if isinstance(error, OSError) and error.filename is not None:
        mend = _MENDS.get(type(error), f"{{path}}: {error.strerror}.")
        return mend.format(path=repr(str(error.filename)))
    return str(error)
