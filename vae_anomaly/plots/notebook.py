"""Figures that a notebook shows as the last expression of a cell, without ``pyplot``, at twice the screen's pixels."""

from io import BytesIO

from matplotlib.figure import Figure

from vae_anomaly.plots.figures import one_font_warning

PIXELS_PER_INCH = 100  # at which a notebook shows a figure; its picture has twice as many


class NotebookFigure(Figure):
    """A matplotlib figure that IPython shows as a picture."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """PNG of the figure, and the size at which it is shown."""
        picture = BytesIO()
        with one_font_warning():
            self.savefig(picture, format="png", dpi=2 * PIXELS_PER_INCH)
        width, height = (round(PIXELS_PER_INCH * inches) for inches in self.get_size_inches())
        return picture.getvalue(), {"width": width, "height": height}
