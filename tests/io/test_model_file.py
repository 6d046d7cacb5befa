"""Model files: loading gives the same scores, or one clear ModelFileError, and executes nothing."""

import copy
import hashlib
import json
import pickle
import struct
import time
import tracemalloc
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

import vae_anomaly
from vae_anomaly import VAEDetector, load
from vae_anomaly import fitted as fitted_module
from vae_anomaly.errors import DataError, DeviceError, ModelFileError, VaeAnomalyError
from vae_anomaly.io import model_file as persistence
from vae_anomaly.scoring.scorer import FEW

SMALL = {"hidden_layer_sizes": (3,), "n_estimators": 2, "n_components": 2, "max_iter": 3, "random_state": 0}
KINDS = {
    "elbo": {},
    "iwae": {"bound": "iwae"},
    "gaussian prior": {"prior": "gaussian"},
    "novelty": {"novelty": True},
    "autoencoder": {"variational": False},
    "student": {"likelihood": "student_t", "precision": "float64"},
    "float32": {"precision": "float32"},
    "many rows": {"novelty": True},
}
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def make_table(n):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=n),
            "gap": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "flag": rng.random(n) < 0.4,
            "kind": rng.choice(["a", "b", "c"], n),
            "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 10**6, n), unit="s"),
        }
    )
    frame.loc[[4, 9, 21], "when"] = pd.NaT
    frame["none"] = np.nan  # left out, but a column of the table all the same
    return frame


@pytest.fixture(scope="module")
def table():
    return make_table(30)


@pytest.fixture(scope="module", params=KINDS)
def fitted(request, table):
    rows = make_table(FEW + 100) if request.param == "many rows" else table  # a row sees the nearest exemplars alone
    return fit(rows, **KINDS[request.param])


def fit(table, **parameters):
    with pytest.warns(UserWarning, match="none"):
        return VAEDetector(**{**SMALL, **parameters}).fit(table)


@pytest.fixture(scope="module")
def detector(table):
    return fit(table, callbacks=[object()])


@pytest.fixture(scope="module")
def content(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.vae"
    detector.save(path)
    return path.read_bytes()


def read(content, tmp_path):
    path = tmp_path / "altered.vae"
    path.write_bytes(content)
    return load(path)


def refused(content, tmp_path, match=None):
    """Loading raises a ModelFileError with a sentence."""
    with pytest.raises(ModelFileError, match=match) as caught:
        read(content, tmp_path)
    assert len(str(caught.value)) > 20


def parts(content, tmp_path):
    path = tmp_path / "whole.vae"
    path.write_bytes(content)
    with safe_open(path, framework="numpy") as file:
        document = json.loads(file.metadata()["vae_anomaly"])
        return document, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def forged(document, tensors, tmp_path):
    """A file with this content and correct digests."""
    digests = {name: persistence._digest(np.ascontiguousarray(array)) for name, array in tensors.items()}
    text = json.dumps({**document, "digests": digests})
    path = tmp_path / "forged.vae"
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    save_file(arrays, path, {"vae_anomaly": text, "sha256": hashlib.sha256(text.encode()).hexdigest()})
    return path.read_bytes()


# Loading what was saved


def test_scores_are_the_same_bit_for_bit(fitted, table, tmp_path):
    fitted.save(tmp_path / "model.vae")
    loaded = load(tmp_path / "model.vae", device="cpu")
    np.testing.assert_array_equal(loaded.score_samples(table), fitted.score_samples(table))
    np.testing.assert_array_equal(loaded.predict(table), fitted.predict(table))
    np.testing.assert_array_equal(loaded.transform(table), fitted.transform(table))
    pd.testing.assert_frame_equal(loaded.explain(table, long=True), fitted.explain(table, long=True))
    pd.testing.assert_frame_equal(loaded.reconstruct(table), fitted.reconstruct(table))
    if fitted.variational:
        pd.testing.assert_frame_equal(loaded.sample(5, random_state=1), fitted.sample(5, random_state=1))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_copies_and_pickles_score_the_same(fitted, table, again):
    other = again(fitted)
    np.testing.assert_array_equal(other.score_samples(table), fitted.score_samples(table))
    assert other.offset_ == fitted.offset_


def test_joblib_keeps_scores(detector, table, tmp_path):
    joblib.dump(detector, tmp_path / "model.joblib")
    other = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(other.score_samples(table), detector.score_samples(table))


def test_a_model_saved_again_has_the_same_content(content, tmp_path):
    read(content, tmp_path).save(tmp_path / "again.vae")
    document, tensors = parts((tmp_path / "again.vae").read_bytes(), tmp_path)
    before, tensors_before = parts(content, tmp_path)
    assert document == before
    assert tensors.keys() == tensors_before.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, tensors_before[name])


def test_a_digest_identifies_the_model_and_not_the_file(content, tmp_path):
    (tmp_path / "first.vae").write_bytes(content)
    load(tmp_path / "first.vae").save(tmp_path / "again.vae")
    other = load(tmp_path / "first.vae")
    other.offset_ += 1
    other.save(tmp_path / "other.vae")
    digests = [persistence.model_digest(tmp_path / f"{name}.vae") for name in ("first", "again", "other")]
    assert digests[0] == digests[1] != digests[2]


def test_parameters_and_attributes_come_back(detector, content, tmp_path):
    loaded = read(content, tmp_path)
    assert loaded.get_params() == {**detector.get_params(), "hidden_layer_sizes": [3], "callbacks": None}
    learned = [name for name in vars(detector) if name.endswith("_") and name not in ("schema_", "feature_names_in_")]
    assert len(learned) > 10
    for name in learned:
        assert np.all(getattr(loaded, name) == getattr(detector, name)), name
    assert {name for name in vars(loaded) if name.endswith("_")} == {n for n in vars(detector) if n.endswith("_")}
    assert loaded.schema_.to_json() == detector.schema_.to_json()
    assert loaded.feature_names_in_.tolist() == detector.feature_names_in_.tolist()
    assert list(loaded.get_feature_names_out()) == list(detector.get_feature_names_out())


def test_a_loaded_model_can_be_fitted_again(detector, content, table, tmp_path):
    with pytest.warns(UserWarning, match="none"):
        again = read(content, tmp_path).fit(table)
    np.testing.assert_array_equal(again.score_samples(table), detector.score_samples(table))


def test_a_threshold_set_by_hand_is_kept_in_files_and_pickles(detector, table, tmp_path):
    changed = copy.deepcopy(detector)
    changed.offset_ = float(np.median(detector.score_samples(table)))
    changed.save(tmp_path / "model.vae")
    for other in (load(tmp_path / "model.vae"), pickle.loads(pickle.dumps(changed)), copy.copy(changed)):
        assert other.offset_ == changed.offset_
        assert (other.predict(table) == -1).sum() == 15


def test_an_array_stays_an_array(tmp_path):
    X = np.random.default_rng(0).normal(size=(20, 3))
    VAEDetector(**SMALL).fit(X).save(tmp_path / "model.vae")
    loaded = load(tmp_path / "model.vae")
    assert not hasattr(loaded, "feature_names_in_")
    assert loaded.n_features_in_ == 3
    assert isinstance(loaded.reconstruct(X), np.ndarray)


def test_parameters_of_numpys_types_are_saved(tmp_path):
    X = np.random.default_rng(0).normal(size=(20, 3))
    given = {
        "n_estimators": np.int64(1),
        "beta": np.float32(0.5),
        "novelty": np.bool_(True),
        "n_components": np.int32(2),
    }
    given |= {"hidden_layer_sizes": np.array([3, 2]), "random_state": np.random.RandomState(0)}
    VAEDetector(max_iter=2, **given).fit(X).save(tmp_path / "model.vae")
    loaded = load(tmp_path / "model.vae")
    assert (loaded.n_estimators, loaded.beta, loaded.novelty, loaded.random_state) == (1, 0.5, True, None)
    assert list(loaded.hidden_layer_sizes) == [3, 2]


def test_a_missing_device_is_a_device_error(content, tmp_path):
    path = tmp_path / "model.vae"
    path.write_bytes(content)
    with pytest.raises(DeviceError, match="nonsense"):
        load(path, device="nonsense")


# Complete or not at all


def test_a_failed_write_leaves_the_old_file_and_nothing_else(detector, content, tmp_path, monkeypatch):
    path = tmp_path / "model.vae"
    path.write_bytes(content)

    def broken(_):
        raise OSError("broken")

    monkeypatch.setattr("vae_anomaly.io.atomic.os.fsync", broken)
    with pytest.raises(OSError, match="broken"):
        detector.save(path)
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.vae"]


def test_a_file_that_could_not_be_read_again_is_not_written(detector, content, tmp_path, monkeypatch):
    path = tmp_path / "model.vae"
    path.write_bytes(b"old")
    monkeypatch.setattr(persistence, "MAX_HEADER_BYTES", 1000)
    with pytest.raises(DataError, match="could not be read again"):
        detector.save(path)
    assert path.read_bytes() == b"old"


def test_a_missing_folder_is_one_clear_error(detector, tmp_path):
    with pytest.raises(DataError, match="no folder"):
        detector.save(tmp_path / "nowhere" / "model.vae")


def test_the_same_model_is_the_same_bytes(detector, content, tmp_path):
    for _ in range(8):  # safetensors orders metadata at random
        detector.save(tmp_path / "again.vae")
        assert (tmp_path / "again.vae").read_bytes() == content


def test_saving_writes_nothing_but_the_file(detector, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    detector.save("model.vae")
    load("model.vae")
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.vae"]
    assert capsys.readouterr() == ("", "")


# Damage


@FUZZ
@given(data=st.data())
def test_a_changed_byte_is_found(content, table, tmp_path, data):
    place = data.draw(st.integers(0, len(content) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != content[place]))
    altered = content[:place] + bytes([value]) + content[place + 1 :]
    end = 8 + struct.unpack("<Q", content[:8])[0]
    if content[place:end].isspace() and bytes([value]).isspace():  # other padding behind the header is the same header
        read(altered, tmp_path)
    else:
        refused(altered, tmp_path)


def test_every_bit_of_the_header_length_and_of_the_digest_counts(content, tmp_path):
    start = content.index(b"sha256") - 5
    for place in [*range(8), *range(start, start + 80)]:
        for bit in range(8):
            refused(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :], tmp_path)


@FUZZ
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_found(content, tmp_path, share):
    refused(content[: int(share * len(content))], tmp_path)


@FUZZ
@given(more=st.binary(min_size=1, max_size=40))
def test_extra_bytes_are_found(content, tmp_path, more):
    refused(content + more, tmp_path)


@FUZZ
@given(junk=st.binary(max_size=400))
def test_random_bytes_are_no_model(tmp_path, junk):
    refused(junk, tmp_path)
    refused(struct.pack("<Q", len(junk)) + junk, tmp_path)


@FUZZ
@given(
    junk=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_a_header_that_is_no_model_is_refused(tmp_path, junk):
    for header in (junk, {"__metadata__": junk}, {"__metadata__": {"vae_anomaly": json.dumps(junk)}}):
        text = json.dumps(header).encode()
        refused(struct.pack("<Q", len(text)) + text, tmp_path)


def test_declared_sizes_take_no_memory(content, tmp_path):
    huge = {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 2**43]}
    text = json.dumps({"__metadata__": {"vae_anomaly": '{"format": 3}'}, "noise": huge}).encode()
    declared = [struct.pack("<Q", size) + content[8:] for size in (2**63, 2**40, 2**26, 2**64 - 1)]
    tracemalloc.start()
    try:
        for bad in [*declared, struct.pack("<Q", len(text)) + text + bytes(100)]:
            refused(bad, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


def test_a_header_of_millions_of_values_is_not_parsed(tmp_path):
    """As Python objects they would take twenty times the size of the file."""
    text = '{"format": 3, "junk": [%s[]]}' % ("[]," * 2**20)
    header = json.dumps({"__metadata__": {"vae_anomaly": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}})
    tracemalloc.start()
    try:
        refused(struct.pack("<Q", len(header)) + header.encode(), tmp_path, match="truncated or not a model file")
        assert tracemalloc.get_traced_memory()[1] < 30 * 2**20
    finally:
        tracemalloc.stop()


def test_a_header_above_the_limit_is_not_parsed(content, tmp_path, monkeypatch):
    monkeypatch.setattr(persistence, "MAX_HEADER_BYTES", 100)
    refused(content, tmp_path, match="truncated or not a model file")


def test_the_digest_covers_type_and_shape(content, tmp_path):
    row = b'"dtype":"F32","shape":[2,1,'
    for altered in (row.replace(b"F32", b"I32"), row.replace(b"[2,1,", b"[1,2,")):
        assert row in content
        refused(content.replace(row, altered, 1), tmp_path, match="do not match their digests")


def test_swapped_tensors_are_found(content, tmp_path):
    document, tensors = parts(content, tmp_path)
    name, other = "vae.encoder.hidden.0.weight", "vae.encoder.last.bias"
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    same = [n for n in header if n != "__metadata__" and tensors[n].shape == tensors["vae.log_bandwidth"].shape]
    assert len(same) > 0
    assert name in header
    assert other in header
    weights = [n for n in tensors if n.endswith("linear.bias")]
    for first, second in [(name, other), (weights[0], weights[1])]:
        swapped = {**header, first: header[second], second: header[first]}
        text = json.dumps(swapped).encode().ljust(size)
        refused(struct.pack("<Q", len(text)) + text + content[8 + size :], tmp_path)


# Files that are not ours


def test_a_missing_file_a_folder_and_an_impossible_name_are_one_clear_error(tmp_path):
    for path in (tmp_path / "missing.vae", tmp_path, "null\0byte", "/dev/null"):
        with pytest.raises(ModelFileError):
            load(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    for metadata in (None, {"format": "pt"}, {"vae_anomaly": "no json"}, {"vae_anomaly": "[" * 10**5}):
        save_file({"weight": np.zeros(3)}, tmp_path / "foreign.safetensors", metadata)
        with pytest.raises(ModelFileError):
            load(tmp_path / "foreign.safetensors")


def test_tensors_of_types_that_numpy_lacks_are_refused(tmp_path):
    from safetensors.torch import save_file as save_torch

    for dtype in (torch.bfloat16, torch.float8_e4m3fn):
        text = json.dumps({"format": 3, "digests": {}})
        metadata = {"vae_anomaly": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        save_torch({"noise": torch.zeros(4).to(dtype)}, tmp_path / "other.vae", metadata)
        with pytest.raises(ModelFileError):
            load(tmp_path / "other.vae")


class Bomb:
    def __reduce__(self):
        return (exec, ("import builtins; builtins.exploded = True",))


def test_nothing_is_executed(detector, tmp_path):
    import builtins

    for write in (pickle.dump, joblib.dump):
        with (tmp_path / "model.vae").open("wb") as file:
            write(Bomb(), file)
        with pytest.raises(ModelFileError):
            load(tmp_path / "model.vae")
    torch.save({"a": Bomb()}, tmp_path / "model.vae")
    with pytest.raises(ModelFileError):
        load(tmp_path / "model.vae")
    assert not hasattr(builtins, "exploded")


@pytest.mark.parametrize("number", [1, 2, 0, -1, None, "1", 1.0, True, [1]])
def test_an_unknown_format_is_an_error_that_names_it(content, tmp_path, number):
    document, tensors = parts(content, tmp_path)
    refused(forged({**document, "format": number}, tensors, tmp_path), tmp_path, match="format")


def test_an_unknown_format_is_reported_before_damage(content, tmp_path):
    """A later version can compute digests differently: its file has an unknown format, but is not damaged."""
    document, tensors = parts(content, tmp_path)
    text = json.dumps({**document, "format": 4})
    save_file(tensors, tmp_path / "later.vae", {"vae_anomaly": text, "sha256": "another kind of digest"})
    with pytest.raises(ModelFileError, match="has format 4; this version of vae-anomaly reads format 3"):
        load(tmp_path / "later.vae")


# Behind the digests


def test_the_forged_files_of_these_tests_are_readable(content, table, detector, tmp_path):
    loaded = read(forged(*parts(content, tmp_path), tmp_path), tmp_path)
    np.testing.assert_array_equal(loaded.score_samples(table), detector.score_samples(table))


JUNK = [None, True, -1, 0.5, "junk", "", [], [[]], {}, {"a": 1}, 10**30, 10**400, float("nan"), float("inf")]
FIELDS = [
    *[(name,) for name in ("schema", "inputs", "design", "record", "parameters")],
    *[(name,) for name in ("frame", "thorough", "weight_type", "score_type", "leave_one_out")],
    *[("design", name) for name in ("n_components", "hidden_layer_sizes", "n_estimators", "prior", "variational")],
    *[
        ("design", name)
        for name in ("pca_init", "convolutional", "image_shape", "number_likelihood", "missing_indicators")
    ],
    *[("record", name) for name in ("offset", "history", "n_iter", "batch_size", "versions")],
    *[("parameters", name) for name in ("n_components", "hidden_layer_sizes", "bound", "novelty", "device", "beta")],
    *[("schema", name) for name in ("columns", "left_out", "n_rows", "centres", "scales", "exponents", "floors")],
]


def changed(document, place, value):
    document = copy.deepcopy(document)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return document


def legal(document, place, value):
    """Whether the junk happens to be what the file already says, or what it may say."""
    inner = document
    for key in place:
        inner = inner[key]
    if type(inner) is type(value) and inner == value:
        return True
    may = {
        ("parameters",): [{}],
        ("design", "pca_init"): [True],  # where the weights started
        ("record", "offset"): [-1, 0.5, 10**30],
        ("record", "versions"): [{}],
        ("parameters", "beta"): [0.5, True],
        ("parameters", "device"): ["junk", ""],
        ("parameters", "n_components"): [True],  # what scikit-learn's own validation lets pass
        ("parameters", "novelty"): [True],
    }
    return any(type(value) is type(other) and value == other for other in may.get(place, []))


@pytest.mark.parametrize("place", FIELDS, ids=".".join)
def test_a_field_of_the_wrong_type_is_refused(content, table, tmp_path, place):
    document, tensors = parts(content, tmp_path)
    for value in JUNK:
        if legal(document, place, value):
            continue
        altered = forged(changed(document, place, value), tensors, tmp_path)
        try:
            read(altered, tmp_path)
        except ModelFileError:
            continue
        pytest.fail(f"{place} = {value!r} was taken")


@pytest.mark.parametrize("place", [p for p in FIELDS if p[0] != "parameters" or len(p) == 1], ids=".".join)
def test_a_field_that_is_missing_is_refused(content, tmp_path, place):
    """Only a parameter may be missing: one that a later version adds has its default."""
    document, tensors = parts(content, tmp_path)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    del inner[place[-1]]
    refused(forged(document, tensors, tmp_path), tmp_path)


@pytest.mark.parametrize(
    "place, value",
    [
        (("design", "n_components"), 10**9),
        (("design", "n_components"), 2**62),
        (("design", "n_components"), 3),
        (("design", "n_components"), 2.0),
        (("design", "n_estimators"), 2**40),
        (("design", "n_estimators"), 1),
        (("design", "hidden_layer_sizes"), [2**31, 2**31]),
        (("design", "hidden_layer_sizes"), [3] * 100_000),
        (("design", "hidden_layer_sizes"), ["3"]),
        (("design", "prior"), "gaussian"),
        (("design", "variational"), False),
        (("design", "unknown"), 1),
        (("design", "missing_indicators"), [0, 1, 2]),
        (("design", "missing_indicators"), [1, 1]),
        (("design", "missing_indicators"), [-4]),
        (("design", "missing_indicators"), [99]),
        (("design", "missing_indicators"), [True]),
        (("design", "number_likelihood"), "gaussian"),
        (("weight_type",), "float64"),
        (("score_type",), "float32"),
        (("frame",), False),  # dates and texts are no array
        (("design", "image_shape"), [1, 2, 5]),
        (("leave_one_out",), 1),
        (("leave_one_out",), "false"),
        (("frame",), 0),
        (("inputs",), ["size", "gap", "flag", "kind", "when"]),
        (("inputs",), ["gap", "size", "flag", "kind", "when", "none"]),
        (("inputs",), ["size", "gap", "flag", "kind", "when", "none", "none"]),
        (("inputs",), ["size", "gap", "flag", "kind", "when", "other"]),
        (("record", "history"), {"elbo": [1.0], "kl": []}),
        (("record", "history"), {"elbo": [None]}),
        (("record", "offset"), "-1"),
        (("record", "n_iter"), 0),
        (("record", "unknown"), 0),
        (("parameters", "unknown"), 0),
        (("parameters", "n_draws"), 0),
        (("parameters", "hidden_layer_sizes"), [0]),
        (("parameters", "contamination"), 0.9),
        (("parameters", "n_estimators"), 2**63),
        (("parameters", "n_components"), 10**7),
        (("parameters", "hidden_layer_sizes"), [10**5, 10**5]),
        (("parameters", "n_draws"), 10**6),
        (("parameters", "max_iter"), 10**9),
        (("parameters", "batch_size"), 10**30),
        (("parameters", "learning_rate"), 10**400),
        (("parameters", "image_shape"), [1, 2, 3]),
        (("schema", "n_rows"), 0),
        (("schema", "scales"), [0.0, 1.0, 1.0]),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else str(value)[:30],
)
def test_an_impossible_description_is_refused(content, tmp_path, place, value):
    document, tensors = parts(content, tmp_path)
    tracemalloc.start()
    try:
        refused(forged(changed(document, place, value), tensors, tmp_path), tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    finally:
        tracemalloc.stop()


def test_indicators_out_of_order_are_refused(content, tmp_path):
    """As many as the weights need, so that no other check fails."""
    document, tensors = parts(content, tmp_path)
    indicators = document["design"]["missing_indicators"]
    assert len(indicators) > 1
    altered = changed(document, ("design", "missing_indicators"), indicators[::-1])
    refused(forged(altered, tensors, tmp_path), tmp_path)


def test_tensors_of_the_wrong_shape_or_type_are_refused(content, tmp_path):
    document, tensors = parts(content, tmp_path)
    for name, array in tensors.items():
        others = [
            array[..., :-1],
            array[None],
            array.ravel()[:0],
            array.astype(np.float16) if array.dtype.kind == "f" else array.astype(np.int32),
            np.zeros(array.shape, np.uint8),
        ]
        for other in others:
            if other.shape == array.shape and other.dtype == array.dtype:
                continue
            refused(forged(document, {**tensors, name: other}, tmp_path), tmp_path)
        refused(forged(document, {n: a for n, a in tensors.items() if n != name}, tmp_path), tmp_path)
        refused(forged(document, {**tensors, f"{name}.more": array}, tmp_path), tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(content, tmp_path, value):
    document, tensors = parts(content, tmp_path)
    for name in [name for name, array in tensors.items() if array.dtype.kind == "f"]:
        if name == "reference.cells" and not np.isneginf(value):
            continue  # a missing or an unreadable cell
        array = tensors[name].copy()
        array.flat[-1] = value
        refused(forged(document, {**tensors, name: array}, tmp_path), tmp_path, match="not finite")


def test_impossible_exemplars_are_refused(content, tmp_path):
    document, tensors = parts(content, tmp_path)
    counts, codes, widths = (tensors[f"exemplars.{name}"] for name in ("counts", "codes", "widths"))
    for change in (
        {"exemplars.counts": counts * 0},
        {"exemplars.counts": -counts},
        {"exemplars.counts": counts[:0], "exemplars.codes": codes[:, :0], "exemplars.widths": widths[:, :0]},
        {"exemplars.widths": widths[:, 1:]},
        {"noise": tensors["noise"][:0]},
        {"missing.weights": -tensors["missing.weights"] - 1},
        {"missing.charges": -tensors["missing.charges"] - 1},
        {"missing.curves": tensors["missing.curves"] * [[1], [0]]},
        {"cells.usual": -tensors["cells.usual"] - 1},
        {"cells.ends": -tensors["cells.ends"] - 1},
    ):
        refused(forged(document, {**tensors, **change}, tmp_path), tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values[::-1],  # they are looked up by bisection
        lambda values: values + [99, 0, 0, 0],
        lambda values: values + [0.5, 0, 0, 0],
        lambda values: values - [0, 0, 0, 1],
    ],
    ids=["order", "column", "half a column", "spared"],
)
def test_impossible_repeated_values_are_refused(content, tmp_path, change):
    document, tensors = parts(content, tmp_path)
    altered = np.ascontiguousarray(change(tensors["cells.repeated"]))
    assert len(altered) > 1
    refused(forged(document, {**tensors, "cells.repeated": altered}, tmp_path), tmp_path, match="repeated values")


def test_a_model_without_reference_rows_is_refused(content, tmp_path):
    document, tensors = parts(content, tmp_path)
    none = {name: tensors[name][:0] for name in ("reference.cells", "reference.scores")}
    refused(forged(document, {**tensors, **none}, tmp_path), tmp_path, match="no reference rows")


@pytest.mark.parametrize("name", ["exemplars.codes", "noise", "vae.decoder.linear.weight"])
def test_scores_that_are_not_finite_are_an_error(content, table, tmp_path, name):
    """Finite numbers as large as a float holds, so that only scoring shows what they are."""
    document, tensors = parts(content, tmp_path)
    array = tensors[name]
    huge = np.full_like(array, 0.5 * np.finfo(array.dtype).max)
    if name == "vae.decoder.linear.weight":
        document, tensors = _as_float64(document, tensors)
        huge = np.full(array.shape, 1e300)
    loaded = read(forged(document, {**tensors, name: huge}, tmp_path), tmp_path)
    for scores in (loaded.score_samples, loaded.predict, loaded.detect):
        with pytest.raises(ModelFileError, match="not finite"):
            scores(table)


def _as_float64(document, tensors):
    """The same model with weights that can be larger."""
    wide = {name: array.astype(np.float64) for name, array in tensors.items() if "vae." in name}
    return {**document, "weight_type": "float64"}, {**tensors, **wide}


@pytest.mark.parametrize("value", [1e4, -1e300, 0.5], ids=["far", "huge", "between codes"])
def test_reference_cells_that_no_table_has_are_refused(content, detector, tmp_path, value):
    document, tensors = parts(content, tmp_path)
    cells = tensors["reference.cells"].copy()
    cells[0, detector.schema_.code_cells[0] if value == 0.5 else 0] = value
    refused(forged(document, {**tensors, "reference.cells": cells}, tmp_path), tmp_path, match="cannot have")


def test_a_row_that_takes_too_much_memory_is_refused(content, tmp_path, monkeypatch):
    """As many draws as a file holds, times all outputs of all members."""
    monkeypatch.setattr(fitted_module, "MOST_ROW_BYTES", 10_000)
    document, tensors = parts(content, tmp_path)
    many = np.tile(tensors["noise"], (1000, 1))
    read(content, tmp_path)
    refused(forged(document, {**tensors, "noise": many}, tmp_path), tmp_path, match="a single row takes more than")


def test_convolutions_with_indicators_are_refused(tmp_path):
    X = np.random.default_rng(0).random((12, 256))
    shape = {"image_shape": (1, 16, 16), "purpose": "representation"}
    VAEDetector(**{**SMALL, **shape, "hidden_layer_sizes": (2,)}).fit(X).save(tmp_path / "images.vae")
    document, tensors = parts((tmp_path / "images.vae").read_bytes(), tmp_path)
    altered = changed(document, ("design", "missing_indicators"), [0])
    refused(forged(altered, tensors, tmp_path), tmp_path, match="missing_indicators")
    altered = changed(document, ("thorough",), document["design"])
    refused(forged(altered, tensors, tmp_path), tmp_path, match="thorough")


def test_a_forged_schema_is_compared_with_the_weights(content, tmp_path):
    document, tensors = parts(content, tmp_path)
    kind = next(n for n, c in enumerate(document["schema"]["columns"]) if c["name"] == "kind")
    more = changed(document, ("schema", "columns", kind, "levels"), ["a", "b", "c", "d"])
    refused(forged(more, tensors, tmp_path), tmp_path, match="does not hold the model that it describes")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_fitted_on_a_gpu_scores_the_same_on_the_cpu(table, tmp_path, kind):
    fitted = fit(table, device="cuda", **KINDS[kind])
    assert fitted.device_.type == "cuda"
    fitted.save(tmp_path / "model.vae")
    for other in (load(tmp_path / "model.vae", device="cpu"), pickle.loads(pickle.dumps(fitted))):
        assert other.device_.type == "cpu"
        np.testing.assert_allclose(other.score_samples(table), fitted.score_samples(table), rtol=1e-4, atol=1e-4)
    back = load(tmp_path / "model.vae", device="cuda")
    np.testing.assert_array_equal(back.score_samples(table), fitted.score_samples(table))


def test_the_public_name_is_this_loader():
    assert vae_anomaly.load is load


def places(document, before=()):
    """All places of a JSON document, a few of each list."""
    if isinstance(document, dict | list):
        keys = document if isinstance(document, dict) else range(min(len(document), 6))
        for key in keys:
            yield (*before, key)
            yield from places(document[key], (*before, key))


HUGE = [1e300, -1e300, 1e30, 1e-300, 0.0, -1.0]
VERBS = ["score_samples", "predict", "detect", "explain", "reasons", "transform", "reconstruct", "impute", "suggest"]


@pytest.mark.slow
@pytest.mark.stress
@pytest.mark.parametrize("seed", range(2))
def test_a_forged_file_ends_in_an_error_of_ours_or_in_finite_scores(content, table, tmp_path, seed):
    """Any number of the description or of an array replaced by another one; whatever is loaded is then used."""
    rng = np.random.default_rng(seed)
    document, tensors = parts(content, tmp_path)
    found, values = list(places(document)), [*JUNK[:-3], *HUGE, 2**31, 2**62, 7, 2]
    n_loaded, fewest, until = 0, 20, time.monotonic() + 5
    while n_loaded < fewest or time.monotonic() < until:
        if rng.random() < 0.6:
            case = found[rng.integers(len(found))], values[rng.integers(len(values))]
            altered = forged(changed(document, *case), tensors, tmp_path)
        else:
            case = [*tensors][rng.integers(len(tensors))], HUGE[rng.integers(len(HUGE))]
            array = tensors[case[0]].copy()
            with np.errstate(all="ignore"):
                array.flat[: None if rng.random() < 0.5 else 1] = np.array(case[1]).astype(array.dtype)
            altered = forged(document, {**tensors, case[0]: array}, tmp_path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loaded = read(altered, tmp_path)
                n_loaded += 1
                assert np.isfinite(loaded.score_samples(table)).all(), case
                getattr(loaded, VERBS[rng.integers(len(VERBS))])(table)
        except VaeAnomalyError:
            continue
        except Exception as error:
            raise AssertionError(case) from error
