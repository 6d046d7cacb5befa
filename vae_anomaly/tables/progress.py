"""How far a data set has been read, for people who watch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vae_anomaly.tables.dataset import Dataset


@contextmanager
def reading_bar(dataset: Dataset, *, shown: bool) -> Iterator[None]:
    """Draw on standard error, if that is a terminal, how many bytes were read; rows, where bytes are not known."""
    if not shown:
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    class Bar(Progress):
        """Asks the data set whenever it is drawn: a pass that finds out types gives no pieces."""

        def get_renderables(self) -> Any:
            for task in self.tasks:
                self.update(task.id, completed=dataset.bytes_read, rows=f"{dataset.rows_read:,} rows")
            return super().get_renderables()

    by_bytes = dataset.n_bytes is not None
    told = [DownloadColumn(), TimeRemainingColumn()] if by_bytes else [TextColumn("{task.fields[rows]}")]
    columns = [TextColumn("reading"), BarColumn(), *told]
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with Bar(*columns, console=console, transient=True, refresh_per_second=4) as bar:
        bar.add_task("reading", total=dataset.n_bytes, rows="")
        yield
