"""`folds` of `[elements]`: kinds of folds, sides of blocks, columns of regions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FOLDS: Final = re.compile(r"^(?:(random|group|knndm)|(block)(?::(auto|\d*\.?\d+(?:deg|km|m)))?|(region):(.+))$")


@dataclass(frozen=True)
class FoldDesign:
    """Kinds of folds of a recipe.

    Parameters
    ----------
    kinds : tuple of str
    block : str
        Side of a block, such as "3deg" or "50km"; "auto": from the residual variogram's range.
    region : str or None
        Column of the samples with the regions of "region" folds.
    """

    kinds: tuple[str, ...]
    block: str = "auto"
    region: str | None = None


def read_folds(texts: Sequence[str]) -> FoldDesign:
    """The kinds of folds that texts such as "block:50km" name.

    Parameters
    ----------
    texts : sequence of str

    Raises
    ------
    ValueError
        For another text, or a kind given twice.

    Examples
    --------
    >>> read_folds(["random", "block:50km"])
    FoldDesign(kinds=('random', 'block'), block='50km', region=None)
    """
    kinds, block, region = [], "auto", None
    for text in texts:
        match = FOLDS.match(text)
        if match is None:
            raise ValueError(
                f"has '{text}', expected 'random', 'group', 'knndm', 'block' (sized by the residuals' variogram), a "
                "block in degrees or metres such as 'block:3deg' or 'block:50km', or a column of regions such as "
                "'region:province'"
            )
        kinds.append(match[1] or match[2] or match[4])
        block, region = match[3] or block, match[5] or region
    if not kinds or len(set(kinds)) < len(kinds):
        raise ValueError("needs one or more kinds of folds, each once, with one size of blocks")
    return FoldDesign(tuple(kinds), block, region)
