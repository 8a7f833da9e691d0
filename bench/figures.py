"""What was measured: samples by step, their medians, and the table of them as ratios to the floor."""

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table


@dataclass
class Figures:
    """Samples by step, in seconds unless the step's name says otherwise."""

    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, step: str, value: float) -> None:
        """Keep one sample."""
        self.samples.setdefault(step, []).append(value)

    def median(self, step: str) -> float:
        """Return the median of a step's samples."""
        return statistics.median(self.samples[step])

    def percentile(self, step: str, percent: int) -> float:
        """Return a percentile: the smallest sample that so many percent of them do not exceed."""
        ordered = sorted(self.samples[step])
        return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]

    def table(self, title: str, floor: str) -> Table:
        """Return the steps with median, range and ratio to the floor."""
        table = Table("step", title=title, title_justify="left")
        for name in ("median", "min – max", "× floor", "runs"):
            table.add_column(name, justify="right")
        for step, values in self.samples.items():
            is_seconds = not step.endswith("MB")
            shown = [
                _seconds(v) if is_seconds else f"{v:,.0f} MB" for v in (self.median(step), min(values), max(values))
            ]
            ratio = f"{self.median(step) / self.median(floor):.2f}" if is_seconds and floor in self.samples else ""
            table.add_row(step, shown[0], f"{shown[1]} – {shown[2]}", ratio, str(len(values)))
        return table

    def write(self, path: Path, extra: Mapping[str, object]) -> None:
        """Write all samples and medians as JSON."""
        steps = {step: {"median": self.median(step), "samples": values} for step, values in self.samples.items()}
        path.write_text(json.dumps({**extra, "steps": steps}, indent=2) + "\n")


def _seconds(value: float) -> str:
    return f"{1000 * value:,.0f} ms" if value < 1 else f"{value:,.2f} s"
