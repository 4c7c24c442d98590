"""Rows of Parquet and Arrow files and of data sets that Hugging Face's `datasets` saved to disk.

Read by pyarrow, 1,024 rows at a time; `datasets` itself is not needed. Class labels, which those files keep as numbers,
come out as the names that the file's own description gives them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recipes.errors import UserError

BATCH = 1024
Numbered = Iterator[tuple[int, dict[str, Any] | ValueError]]


def is_saved(path: Path) -> bool:
    """Tell a folder that `save_to_disk` of a data set, or of a dictionary of them, has written."""
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()


def parquet(path: Path) -> Numbered:
    """Yield number and row of a Parquet file.

    Raises: UserError for a damaged file.
    """
    import pyarrow
    from pyarrow import parquet as reading

    try:
        with reading.ParquetFile(path) as file:
            names = _names(_features(file.schema_arrow.metadata))
            yield from _numbered(file.iter_batches(batch_size=BATCH), names)
    except pyarrow.ArrowException as error:
        raise UserError(str(path), f"damaged Parquet file ({_short(error)})", "a file that opens") from error


def arrow(path: Path) -> Numbered:
    """Yield number and row of an Arrow file, of either kind.

    Raises: UserError for a damaged file.
    """
    import pyarrow

    try:
        with pyarrow.memory_map(str(path)) as source:
            yield from _numbered(_batches(source), _names(_features(_schema(path).metadata)))
    except pyarrow.ArrowException as error:
        raise UserError(str(path), f"damaged Arrow file ({_short(error)})", "a file that opens") from error


def saved(path: Path, split: str) -> Numbered:
    """Yield number and row of a saved data set; of several splits `split`, by default train.

    Raises: UserError for a split that is not there.
    """
    if (path / "dataset_dict.json").is_file():
        splits = _json(path / "dataset_dict.json").get("splits", [])
        wanted = split or ("train" if "train" in splits else "")
        if wanted not in splits:
            what = f"there is no split {wanted}" if wanted else "several splits, none of them train"
            raise UserError(str(path), what, f"write split: one of {', '.join(splits)}")
        path = path / wanted
    number = 0
    for entry in _json(path / "state.json").get("_data_files", []):
        for _, row in arrow(path / entry["filename"]):
            number += 1
            yield number, row


def splits(path: Path) -> list[str]:
    """Return the names of a saved data set's splits, if it has any."""
    found = _json(path / "dataset_dict.json").get("splits", []) if (path / "dataset_dict.json").is_file() else []
    return [str(name) for name in found]


def _batches(source: Any) -> Iterator[Any]:
    import pyarrow

    mark = bytes(source.read(6))
    source.seek(0)
    if mark == b"ARROW1":
        file = pyarrow.ipc.open_file(source)
        yield from (file.get_batch(index) for index in range(file.num_record_batches))
    else:
        yield from pyarrow.ipc.open_stream(source)


def _schema(path: Path) -> Any:
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        mark = bytes(source.read(6))
        source.seek(0)
        return (pyarrow.ipc.open_file if mark == b"ARROW1" else pyarrow.ipc.open_stream)(source).schema


def _numbered(batches: Iterator[Any], names: Mapping[str, list[str]]) -> Numbered:
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH):
            for row in batch.slice(start, BATCH).to_pylist():
                number += 1
                yield number, {key: _value(item, names.get(key)) for key, item in row.items()}


def _value(value: Any, names: list[str] | None) -> Any:
    """Return a value in JSON's types, and class labels by name."""
    if names and isinstance(value, int) and not isinstance(value, bool):
        return names[value] if 0 <= value < len(names) else value
    if isinstance(value, dict):
        return {str(key): _value(item, None) for key, item in value.items()}
    if isinstance(value, list):
        return [_value(item, names) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None  # pandas writes missing texts as NaN; JSON has no form for it, nor for infinity
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else str(value)


def _features(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """Return what Hugging Face's `datasets` wrote about the columns."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def _names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names of the classes of each column that has some, also of those that hold lists of classes."""
    found = {}
    for column, feature in features.items():
        while isinstance(feature, list) and feature:
            feature = feature[0]
        while isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
            feature = feature["feature"]
        if (
            isinstance(feature, dict)
            and feature.get("_type") == "ClassLabel"
            and isinstance(feature.get("names"), list)
        ):
            found[column] = [str(name) for name in feature["names"]]
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(str(path), f"damaged ({error})", "save the data set again") from error
    return value if isinstance(value, dict) else {}


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:120]
