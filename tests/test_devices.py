import multiprocessing
import warnings

import pytest
import torch
from forks import forked

from vae_anomaly.config import resolve_device, resolve_precision
from vae_anomaly.errors import DeviceError

CPU = torch.device("cpu")


def test_auto_takes_what_there_is():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_device_that_was_asked_for_is_taken_as_it_is():
    assert resolve_device("cpu") == CPU


@pytest.mark.parametrize("device", ["nonsense", "", "cuda:99", "meta", "cpu:-2"])
def test_a_device_that_is_not_available_is_an_error_that_names_it(device):
    with pytest.raises(DeviceError, match=f"device={device!r}.*device='auto'"):
        resolve_device(device)


def test_auto_trains_in_float32_and_scores_in_float64():
    assert resolve_precision("auto", CPU) == (torch.float32, torch.float64)
    assert resolve_precision("float32", CPU) == (torch.float32, torch.float32)
    assert resolve_precision("float64", CPU) == (torch.float64, torch.float64)


def test_a_device_without_float64_scores_in_float32_and_says_so_when_asked_for_more():
    mps = torch.device("mps")
    assert resolve_precision("auto", mps) == (torch.float32, torch.float32)
    with pytest.raises(DeviceError, match="float64"):
        resolve_precision("float64", mps)


def test_a_forked_child_has_one_thread_and_its_parent_keeps_its_own():
    """Says something where torch has several; setting the number here would slow all later tests (MKL heeds it)."""
    before = torch.get_num_threads()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(torch.get_num_threads()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside threads
        child.start()
    assert receiver.poll(60)
    assert receiver.recv() == 1
    child.join(60)
    assert torch.get_num_threads() == before


@pytest.mark.slow
@pytest.mark.stress
def test_a_child_forked_right_after_torch_used_two_threads_does_not_hang():
    """It has none of the threads that torch would wait for; in a process of its own, where torch may have two."""
    status, output, errors = forked(LARGE_SUM, 3)
    assert (status, output) == (0, "3 of 3 ended\n"), errors


LARGE_SUM = """
import torch
from vae_anomaly import VAEDetector

torch.set_num_threads(2)
large = torch.ones(1000, 1000)

def before():
    global expected
    expected = float(large.exp().sum())

def is_right():
    VAEDetector(max_iter=2, random_state=0).fit(large[:100, :3] * torch.arange(100)[:, None])
    return float(large.exp().sum()) == expected
"""
