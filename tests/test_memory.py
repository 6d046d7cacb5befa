"""Where memory runs out, work on rows goes on with fewer of them, down to one sentence."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from vae_anomaly import VAEDetector
from vae_anomaly.errors import DeviceError, FitWarning
from vae_anomaly.explain import neighbours
from vae_anomaly.model.vae import VAE
from vae_anomaly.parallel import InHalves, is_out_of_memory, memory_errors
from vae_anomaly.scoring import scorer as scoring

CPU = torch.device("cpu")
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]


class Small:
    """Doubles numbers; has memory for a few rows, and remembers how many it was given."""

    def __init__(self, most, error=None):
        self.most, self.error, self.tried = most, error or MemoryError(), []

    def __call__(self, rows):
        self.tried.append(len(rows))
        if len(rows) > self.most:
            raise self.error
        return 2 * rows


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error)[:20])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 13, 64])
def test_results_of_halves_come_in_order(error, n_rows):
    small = Small(2, error)
    results = InHalves(small, CPU)([np.arange(n_rows)])
    assert_array_equal(np.concatenate(results), 2 * np.arange(n_rows))
    assert all(len(result) <= 2 for result in results)


def test_what_was_too_much_is_not_tried_again():
    small = Small(5)
    halving = InHalves(small, CPU)
    halving([np.arange(16)])
    assert (small.tried, halving.most) == ([16, 8, 4, 4, 4, 4], 4)
    halving([np.arange(16)])
    assert small.tried[6:] == [4] * 4


def test_no_memory_for_one_row_is_one_sentence():
    with pytest.raises(DeviceError, match=r"^The processor ran out of memory with one row\. End other programs"):
        InHalves(Small(0), CPU)([np.arange(9)])
    with pytest.raises(DeviceError, match=r"^Device 'cuda:0' ran out of memory with one row\. Use device='cpu'"):
        InHalves(Small(0), torch.device("cuda:0"))([np.arange(1)])


@pytest.mark.parametrize("error", [RuntimeError("expected scalar type Double"), ValueError("out of memory")])
def test_other_errors_are_not_caught(error):
    small = Small(2, error)
    with pytest.raises(type(error), match=str(error)):
        InHalves(small, CPU)([np.arange(9)])
    with pytest.raises(type(error), match=str(error)), memory_errors(CPU, "one row"):
        raise error
    assert small.tried == [9]


def test_what_torch_says_on_this_machine_is_recognised():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**55, dtype=torch.float64)
    assert is_out_of_memory(raised.value)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame({"number": rng.normal(size=200), "level": rng.choice(["a", "b"], 200)})


@pytest.fixture(scope="module", params=[False, True], ids=["outlier", "novelty"])
def detector(table, request):
    return VAEDetector(novelty=request.param, max_iter=10, hidden_layer_sizes=(8,), random_state=0).fit(table)


@pytest.fixture
def memory_for(monkeypatch):
    """Makes the encoder run out of memory with more rows than these."""

    def limit(rows):
        encoder = VAE.posterior

        def posterior(self, features):
            if features.shape[1] > rows:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return encoder(self, features)

        monkeypatch.setattr(VAE, "posterior", posterior)

    return limit


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_answers_are_the_same_with_little_memory(detector, table, memory_for, rows):
    with_gaps = table.assign(number=table["number"].where(np.arange(200) % 5 > 0))
    answers = (
        detector.score_samples,
        detector.transform,
        lambda X: detector.reconstruct(X)["number"].to_numpy(),
        lambda X: detector.explain(X)["nats"].to_numpy(float),
        lambda X: detector.impute(X)["number"].to_numpy(),
    )
    wanted = [answer(with_gaps) for answer in answers]
    memory_for(rows)
    for answer, values in zip(answers, wanted, strict=True):
        with pytest.warns(FitWarning, match=r"Not enough memory for \d+ rows at a time: at most \d+ were taken"):
            found = answer(with_gaps)
        assert_allclose(found, values, rtol=1e-7, atol=1e-9)


def test_scoring_warns_once_and_ends_in_a_sentence(detector, table, memory_for):
    memory_for(3)
    with pytest.warns(FitWarning) as said:
        detector.score_samples(table)
    assert len(said) == 1
    memory_for(0)
    for rows in (table, table[:1]):
        with pytest.raises(DeviceError, match="out of memory with one row"):
            detector.score_samples(rows)


def test_a_sample_without_memory_is_a_sentence(detector, monkeypatch):
    monkeypatch.setattr(VAE, "decode", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("none left")))
    with pytest.raises(DeviceError, match="out of memory with 5 sampled rows"):
        detector.sample(5)


def test_similar_rows_are_found_with_little_memory(detector, table, monkeypatch):
    wanted, whole = detector.explain(table), neighbours.SimilarRows._nearest

    def nearest(self, x, informative):
        if len(x) > 9:
            raise MemoryError
        return whole(self, x, informative)

    monkeypatch.setattr(neighbours.SimilarRows, "_nearest", nearest)
    pd.testing.assert_frame_equal(detector.explain(table), wanted)


def test_chunks_in_several_threads_are_halved_alike(detector, table, memory_for, monkeypatch):
    scorer, x = detector.model_.scorer, detector.model_.encode(table)
    wanted = scorer.score(x)
    memory_for(3)
    monkeypatch.setattr(scoring, "CHUNK_ROWS", 20)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    with pytest.warns(FitWarning, match="Not enough memory for 20 rows at a time: at most 3 were taken"):
        assert_allclose(replace(scorer).score(x), wanted, rtol=1e-9)
