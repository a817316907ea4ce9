"""What the models of users' files share: strictness, older spellings, durations."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from sbkube.documents import describe

Stage = Literal["prepare", "build", "template", "deploy"]
STAGES: tuple[Stage, ...] = get_args(Stage)

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Spellings:
    """Filled while one thing is validated; passed as pydantic's context."""

    hints: list[tuple[Path, str]] = field(default_factory=list)
    renamed: dict[Path, Path] = field(default_factory=dict)  # today's path -> the path in the file
    known: dict[str, tuple[str, ...]] = field(default_factory=dict)  # unknown key -> what it might have been
    doubled: dict[str, str] = field(default_factory=dict)  # old spelling -> today's, which is there too

    def rename(self, old: Path, new: Path) -> None:
        self.renamed[new] = self.written(old)
        self.hint(old, f"`{dotted(old)}` is an older spelling of `{dotted(new)}`")

    def hint(self, path: Path, text: str) -> None:
        self.hints.append((path, text))

    def written(self, path: Path) -> Path:
        """Where the file has what a model knows by its name of today."""
        for length in range(len(path), 0, -1):
            if old := self.renamed.get(path[:length]):
                return old + path[length:]
        return path


def dotted(path: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


class Model(BaseModel):
    """A strict mapping. `older` names spellings that stand for a field; a key without a value is absent."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)
    older: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _before(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, Mapping):
            return data
        spellings = info.context if isinstance(info.context, Spellings) else Spellings()
        today = cls.as_today(data, spellings)
        for key in today.keys() - cls.model_fields.keys():
            spellings.known[str(key)] = tuple(cls.model_fields)
        return today

    @classmethod
    def as_today(cls, data: Mapping[str, Any], spellings: Spellings) -> dict[str, Any]:
        return cls.modernised({key: value for key, value in data.items() if value is not None}, spellings)

    @classmethod
    def modernised(cls, data: dict[str, Any], spellings: Spellings) -> dict[str, Any]:
        """The fields by their names of today. Two spellings of one field are left for an error."""
        for old, new in cls.older.items():
            if old in data and new in data:
                spellings.doubled[old] = new
            elif old in data:
                data[new] = data.pop(old)
                spellings.rename((old,), (new,))
        return data


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h|d)")
_DURATION = re.compile(f"(?:{_PART.pattern})+")


def seconds(value: object) -> float:
    """`2s`, `1h30m`, or a number of seconds."""
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (0 <= number < math.inf):
        raise ValueError(f"must be text such as `90s` or `1h30m`, or seconds, not {describe(value)}")
    return number


def one_or_many(value: object) -> object:
    """A lone text or mapping where a list of them belongs."""
    return (value,) if isinstance(value, str | Mapping) else value


def _limits(value: object) -> object:
    if isinstance(value, Mapping):
        return {stage: _above_zero(limit) for stage, limit in value.items()}
    return _above_zero(value)


def _above_zero(value: object) -> float:
    limit = seconds(value)
    if limit == 0:
        raise ValueError("must be more than 0 seconds")
    return limit


_DURATION_SCHEMA = {
    "anyOf": [{"type": "string", "pattern": _DURATION.pattern}, {"type": "number", "minimum": 0}]
}
DURATION_SCHEMA = WithJsonSchema(_DURATION_SCHEMA)
Duration = Annotated[float, BeforeValidator(seconds), DURATION_SCHEMA]
TimeLimit = Annotated[
    float | dict[Stage, float],
    BeforeValidator(_limits),
    WithJsonSchema(
        {
            "anyOf": [
                *_DURATION_SCHEMA["anyOf"],
                {
                    "type": "object",
                    "properties": dict.fromkeys(STAGES, _DURATION_SCHEMA),
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
SIZE_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "string", "pattern": _SIZE.pattern}, {"type": "integer", "minimum": 1}]}
)


def size(value: object) -> int:
    """`500MB`, `2Gi`, or a number of bytes."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    match = _SIZE.fullmatch(text)
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"must be text such as `500MB` or `2Gi`, or bytes, not {describe(value)}")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2].lower()])


NotEmpty = Annotated[str, StringConstraints(min_length=1)]
Count = Annotated[int, Field(ge=0)]


class FromEnv(Model):
    """A secret: named in the file, taken from the environment when a step starts."""

    from_env: NotEmpty


Secret = str | FromEnv
