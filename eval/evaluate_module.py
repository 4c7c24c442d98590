"""Any metric of eval/metrics behind the API of `evaluate`; the configuration's name says which one.

`evaluate.load` copies this file, finds its imports with a regular expression (hence one on each line) and takes the
one class in it. Reached through `eval.metrics.load`.
"""

from typing import Any

import datasets
import evaluate
import numpy as np

from eval import metrics


class TuneloopMetric(evaluate.Metric):
    """A metric whose score is a function of summed rows."""

    def _info(self) -> evaluate.MetricInfo:
        metric = metrics.named(self.config_name)
        columns = {name: _feature(kind) for name, kind in metric.COLUMNS.items()}
        return evaluate.MetricInfo(
            description=str(metric.__doc__), citation="", inputs_description="", features=datasets.Features(columns)
        )

    @property
    def name(self) -> str:
        """The metric's name: `evaluate.combine` tells equal keys apart by it."""
        return str(self.config_name)

    def _compute(self, **columns: Any) -> dict[str, Any]:
        metric = metrics.named(self.config_name)
        sums = np.asarray(metric.statistics(**columns), dtype=float).sum(axis=0)
        return {self.config_name: float(metric.score(sums)), "signature": metrics.signature(self.config_name)}


def _feature(kind: Any) -> Any:
    if isinstance(kind, list):
        return datasets.Sequence(_feature(kind[0]))
    return datasets.Value(kind)
