"""Local files before they are opened: there, a file and not a folder, readable."""

from __future__ import annotations

import os
from pathlib import Path

from tpsoil.errors import AccessError, InputError, MissingInputError


def require_file(source: str | os.PathLike[str], *, where: str, content: str) -> Path:
    """The path of a local file that can be read; `~` is the user's folder.

    Parameters
    ----------
    source : path
    where : str
        Named in messages.
    content : str
        Expected content, such as "a CSV table".

    Returns
    -------
    Path

    Raises
    ------
    MissingInputError
        Where nothing is at the path.
    InputError
        For a folder, a device, or symbolic links that lead in a circle.
    AccessError
        For a file that this user cannot read.

    Examples
    --------
    >>> require_file("/", where="samples", content="a CSV table")
    Traceback (most recent call last):
    tpsoil.errors.InputError: samples: / is a folder, expected a CSV table; add the name of the file
    """
    path = Path(os.path.expanduser(os.fspath(source)))
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise MissingInputError(
            f"{where}: no such file {path}; check the path, it is taken from {Path.cwd()}"
        ) from None
    except PermissionError as error:
        raise AccessError(f"{where}: {path} cannot be read ({error.strerror}); change its permissions") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{where}: {path} cannot be opened ({reason}); check the path and its symbolic links"
        ) from None
    if path.is_dir():
        raise InputError(f"{where}: {path} is a folder, expected {content}; add the name of the file")
    if not path.is_file():
        raise InputError(f"{where}: {path} is a device or a pipe, expected a file with {content}")
    if not os.access(path, os.R_OK):
        raise AccessError(f"{where}: {path} cannot be read (Permission denied); change its permissions")
    return path
