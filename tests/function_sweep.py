"""Public functions on small data with one option changed, to see whether the option has an effect or is rejected."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from sweep import FAULT, Change, Outcome, Sweep

from tpsoil.errors import TpsoilError

RESULT = "result"


def other(value: Any, /, *, names: str = "", **given: Any) -> Change:
    """Another value of an option, which changes the result or is rejected; `given` applies before and after."""
    return Change(value, RESULT, given=given, names=names)


def same(value: Any, reason: str, /, **given: Any) -> Change:
    """Another value of an option that must not change the result."""
    return Change(value, "none", given=given, reason=reason)


@dataclass(frozen=True)
class Case:
    """One function, the arguments that are not varied, and another value of every option.

    Parameters
    ----------
    call : callable
        The function, or one that also reads what the function has written.
    arguments : mapping
    options : mapping of str to Change
    """

    call: Callable[..., Any]
    arguments: Mapping[str, Any]
    options: Mapping[str, Change]
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def check(self, name: str, key: str) -> None:
        """Assert that one option has its effect or is rejected."""
        change = self.options[key]
        before = self.outcome(change.given)
        after = outcome_of(self.call, {**self.arguments, **change.given, **expanded(self.call, key, change.value)})
        if key == "where":  # the name of the source in messages
            before, after = ({RESULT: outcome.get(FAULT, outcome.get(RESULT, ""))} for outcome in (before, after))
        Sweep({}).compare(f"{name}.{key}", before, after, change)

    def outcome(self, given: Mapping[str, Any]) -> Outcome:
        """The result before the change; computed once where the change needs no other arguments."""
        if given:
            return outcome_of(self.call, {**self.arguments, **given})
        if not self.outcomes:
            self.outcomes[""] = outcome_of(self.call, self.arguments)
        return self.outcomes[""]


def expanded(call: Callable[..., Any], key: str, value: Any) -> dict[str, Any]:
    """The arguments of one option: those of a `**` parameter are a mapping."""
    parameter = inspect.signature(call).parameters.get(key)
    return dict(value) if parameter is not None and parameter.kind == parameter.VAR_KEYWORD else {key: value}


def outcome_of(call: Callable[..., Any], arguments: Mapping[str, Any]) -> Outcome:
    """The result as text, or the error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return {RESULT: shown(call(**arguments))}
        except TpsoilError as error:
            return {FAULT: str(error)}


def message_of(call: Callable[..., Any]) -> Callable[..., str]:
    """A call whose result is the message of its error."""

    def rejected(**arguments: Any) -> str:
        try:
            call(**arguments)
        except TpsoilError as error:
            return str(error)
        raise AssertionError(f"{call.__name__} accepted {sorted(arguments)}")

    return rejected


def shown(result: Any) -> str:
    """Values, dtypes, attributes, coordinates, tables and files as text."""
    if isinstance(result, xr.Dataset):
        return shown([result.attrs, [result[name] for name in result.variables]])
    if isinstance(result, xr.DataArray):
        coords = [(name, result.coords[name].values) for name in result.coords]
        return shown([result.name, result.dims, result.attrs, result.values, coords])
    if isinstance(result, pd.DataFrame):
        return shown([result.attrs, [str(dtype) for dtype in result.dtypes], result.to_csv()])
    if isinstance(result, pd.Series):
        return shown(result.to_frame())
    if isinstance(result, np.ndarray):
        values = result.tolist() if result.dtype == object else result.tobytes()
        return repr((result.dtype, result.shape, values))
    if isinstance(result, Path):
        return repr((result.name, result.read_bytes()))
    if isinstance(result, Mapping):
        return shown(list(result.items()))
    if isinstance(result, (list, tuple)):
        return f"[{', '.join(map(shown, result))}]"
    if is_dataclass(result):
        return shown([(item.name, getattr(result, item.name)) for item in fields(result)])
    if hasattr(result, "estimators_"):
        return shown([[tree.tree_.threshold, tree.tree_.value] for tree in result.estimators_])
    return repr(result)


def options_of(function: Callable[..., Any]) -> set[str]:
    """Parameters that have a default or must be named; `**` parameters too."""
    return {
        key
        for key, one in inspect.signature(function).parameters.items()
        if one.default is not one.empty or one.kind in {one.KEYWORD_ONLY, one.VAR_KEYWORD}
    }


def require_complete(module: ModuleType, cases: Mapping[str, Case], estimators: Collection[str] = ()) -> None:
    """Assert that every option of every public function and of the estimators has a case."""
    public = {name: getattr(module, name) for name in module.__all__}
    functions = {name: one for name, one in public.items() if inspect.isfunction(one) or name in estimators}
    expected = {name: sorted(options_of(function)) for name, function in functions.items() if options_of(function)}
    assert {name: sorted(case.options) for name, case in cases.items()} == expected


def parameters_of(cases: Mapping[str, Case]) -> list[tuple[str, str]]:
    """Function and option of every case, for `pytest.mark.parametrize`."""
    return [(name, key) for name, case in cases.items() for key in case.options]


def require_reproducible(case: Case) -> None:
    """Assert that a second call gives the same: else a random part would look like the effect of an option."""
    assert FAULT not in case.outcome({}), case.outcome({})
    assert case.outcome({}) == outcome_of(case.call, case.arguments)
