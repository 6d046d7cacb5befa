"""Models are registered and loaded again; one that does not exist is an error of one sentence."""

import pytest

from vae_anomaly import VAEDetector, load
from vae_anomaly.errors import ModelFileError, TrackingError
from vae_anomaly.integrations.mlflow import MLflowCallback, open_model, register


@pytest.fixture
def file(detector, tmp_path):
    path = tmp_path / "sensors.vae"
    detector.save(path)
    return str(path)


def test_a_file_is_registered_and_found_by_version_and_alias(store, file, detector, table):
    assert register(file, "sensors", alias="champion") == 1
    for address in ("models:/sensors/1", "models:/sensors@champion"):
        assert (open_model(address).score_samples(table) == detector.score_samples(table)).all()


def test_registering_prints_nothing(store, file, capsys):
    register(file, "sensors")
    assert capsys.readouterr().err == ""


def test_an_alias_moves_to_the_newer_version(store, file):
    register(file, "sensors", alias="champion")
    assert register(file, "sensors", alias="champion") == 2
    assert int(store.get_model_version_by_alias("sensors", "champion").version) == 2


def test_the_model_of_a_run_is_found_and_registered(store, table, detector):
    callback = MLflowCallback()
    VAEDetector(max_iter=20, random_state=0, callbacks=[callback]).fit(table)
    address = f"runs:/{callback.run_id}/model"
    assert (open_model(address).score_samples(table) == detector.score_samples(table)).all()
    assert register(address, "sensors", alias="champion") == 1
    assert (open_model("models:/sensors@champion").score_samples(table) == detector.score_samples(table)).all()


def test_a_version_from_a_file_has_the_run_that_fitted_it(store, table):
    callback = MLflowCallback(experiment="elsewhere")
    VAEDetector(max_iter=20, random_state=0, callbacks=[callback]).fit(table).save("tracked.vae")
    VAEDetector(max_iter=10, random_state=0).fit(table).save("other.vae")
    for file, run in (("tracked.vae", callback.run_id), ("other.vae", None)):
        version = register(file, "sensors")
        assert (store.get_model_version("sensors", str(version)).run_id or None) == run
        assert open_model(f"models:/sensors/{version}").n_iter_ == load(file).n_iter_


@pytest.mark.parametrize("address", ["models:/sensors@nobody", "models:/nothing/1", "runs:/0123/model"])
def test_a_model_that_does_not_exist_is_an_error_that_names_it(store, file, address):
    register(file, "sensors")
    with pytest.raises(TrackingError, match=f"^{address} cannot be loaded from MLflow's store, sqlite:"):
        open_model(address)


def test_a_missing_file_is_an_error_and_nothing_is_registered(store):
    with pytest.raises(ModelFileError, match="Cannot read the model"):
        register("missing.vae", "sensors")
    assert store.search_registered_models() == []


def test_a_name_that_the_registry_rejects_is_an_error(store, file):
    with pytest.raises(TrackingError, match="cannot be registered"):
        register(file, "")
