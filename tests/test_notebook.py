"""The example notebook, run as Jupyter runs it, in a kernel of its own: what it shows is what comes out.

``python tests/test_notebook.py`` writes the output of this machine into the notebook.
"""

import os
import shutil
import socket
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "examples" / "diamonds.ipynb"
PORT = "5001"  # of the notebook's server


def executed(folder: Path, port: str) -> nbformat.NotebookNode:
    """The notebook with the output of this machine, run beside its table in ``folder``, its server at ``port``."""
    shutil.copytree(NOTEBOOK.parent, folder / "examples")
    environment = {
        **{name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"},
        "CUDA_VISIBLE_DEVICES": "",  # a GPU draws other random numbers
        "IPYTHONDIR": str(folder),  # where IPython keeps what was typed
        "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm's advice to install ipywidgets
        "TMPDIR": str(folder),
    }
    text = NOTEBOOK.read_text()
    assert f'"{PORT}\\"' in text
    notebook = nbformat.reads(text.replace(PORT, port), 4)
    resources = {"metadata": {"path": str(folder / "examples")}}
    NotebookClient(notebook, timeout=120, record_timing=False, resources=resources).execute(env=environment)
    return notebook


def shown(notebook: nbformat.NotebookNode) -> str:
    """All that the cells print and give, as text; pictures by their size alone."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output["data"]["text/plain"] for output in outputs)


@pytest.mark.slow
def test_what_the_notebook_shows_is_what_comes_out_and_its_server_is_gone(tmp_path, monkeypatch, assert_shows):
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")  # or Jupyter warns that it will look for its files elsewhere
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    notebook = executed(tmp_path, str(port))
    assert_shows(shown(notebook), shown(nbformat.read(NOTEBOOK, 4)))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_the_stored_output_names_no_place_on_the_machine_where_it_was_run():
    text = shown(nbformat.read(NOTEBOOK, 4))
    assert "version 1 scores 1610 of 1610 diamonds" in text  # it is the output of a whole run
    for place in ("/tmp", "/home", "/root", "site-packages", "Traceback"):
        assert place not in text


def write_outputs() -> None:
    """Put what this machine shows into the notebook; nothing else of it changes."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = executed(Path(folder), PORT)
    notebook.metadata = nbformat.read(NOTEBOOK, 4).metadata
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    write_outputs()
