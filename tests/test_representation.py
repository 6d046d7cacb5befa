"""What the code is good for: latents that are in use, missing cells, walks, and new rows."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.pipeline import FeatureUnion

from vae_anomaly import VAEDetector, load
from vae_anomaly.errors import DataError

FACTORS = 2


def people(n, seed):
    """A mixed table that hangs together: two factors behind four numbers, a category and a flag."""
    rng = np.random.default_rng(seed)
    size, age = rng.normal(size=(2, n))
    return pd.DataFrame(
        {
            "height": 170 + 10 * size + rng.normal(size=n),
            "weight": 70 + 12 * size + 2 * rng.normal(size=n),
            "age": 40 + 10 * age + rng.normal(size=n),
            "income": 50 + 20 * age + 5 * rng.normal(size=n),
            "build": pd.Categorical(np.where(size > 0.8, "large", np.where(size < -0.8, "small", "usual"))),
            "retired": age > 1.2,
            "empty": np.nan,
        }
    )


@pytest.fixture(scope="module")
def train():
    return people(1500, 0)


@pytest.fixture(scope="module")
def model(train):
    with pytest.warns(UserWarning, match="empty"):
        return VAEDetector(purpose="representation", random_state=0).fit(train)


@pytest.fixture(scope="module")
def holes():
    """A whole table and the same with a fifth of its cells gone."""
    whole = people(400, 1)
    gone = whole.astype({"retired": "boolean"})
    rng = np.random.default_rng(2)
    for name in whole.columns:
        gone.loc[rng.random(len(whole)) < 0.2, name] = None
    return whole, gone


def test_latents_in_use_are_as_many_as_there_are_factors(model, train):
    figures = model.latents_
    assert list(figures.index) == list(model.get_feature_names_out())
    strong = figures[figures["kl"] > 0.5]
    assert FACTORS <= len(strong) <= FACTORS + 2
    assert strong["active"].all()
    assert (~figures["active"]).any()


def test_the_figures_of_the_latents_are_those_of_the_codes(model, train):
    codes = model.transform(train)
    assert_allclose(model.latents_["mean"], codes.mean(0), atol=1e-9)
    assert_allclose(model.latents_["std"], codes.std(0), rtol=1e-6)


def test_in_a_union_of_features_latents_stand_next_to_others(train):
    numbers = train[["height", "weight", "age", "income"]]
    codes = VAEDetector(purpose="representation", n_components=3, max_iter=20, random_state=0)
    union = FeatureUnion([("components", PCA(2)), ("codes", codes)]).fit(numbers)
    assert_array_equal(union.transform(numbers)[:, 2:], codes.fit(numbers).transform(numbers))
    assert list(union.get_feature_names_out())[2:] == [f"codes__vaedetector{place}" for place in range(3)]


def test_latents_come_back_from_a_file(model, tmp_path):
    model.save(tmp_path / "model.vae")
    again = load(tmp_path / "model.vae")
    pd.testing.assert_frame_equal(again.latents_, model.latents_)
    gone = people(20, 3).assign(height=np.nan)
    pd.testing.assert_frame_equal(again.impute(gone), model.impute(gone))


def test_imputing_leaves_what_was_observed_and_fills_the_rest(model, holes):
    _, gone = holes
    filled = model.impute(gone)
    pd.testing.assert_series_equal(filled.dtypes, gone.dtypes)
    for name in filled.columns.drop("empty"):
        assert filled[name].notna().all()
        seen = gone[name].notna()
        assert_array_equal(filled.loc[seen, name], gone.loc[seen, name])
    assert filled["empty"].isna().all()  # a column that the model does not use


def test_what_is_filled_follows_the_other_columns(model, holes):
    whole, gone = holes
    filled = model.impute(gone)
    for name in ("height", "weight", "age", "income"):
        missing = gone[name].isna()
        error = (filled[name] - whole[name])[missing]
        by_mean = (gone[name].mean() - whole[name])[missing]
        assert np.square(error).mean() < 0.4 * np.square(by_mean).mean()
    missing = gone["build"].isna()
    assert (filled["build"] == whole["build"])[missing].mean() > 0.75


def test_a_category_that_the_rows_do_not_have_is_filled_all_the_same(model):
    large = people(200, 4).query("build == 'large'").head(30)
    large["build"] = pd.Categorical(["usual"] + 29 * [None])
    filled = model.impute(large)
    assert filled["build"].iloc[0] == "usual"
    assert (filled["build"].iloc[1:] == "large").mean() > 0.8


def test_arrays_are_imputed_as_arrays_and_other_frames_as_pandas(train):
    X = train[["height", "weight", "age"]].to_numpy()
    model = VAEDetector(purpose="representation", max_iter=50, random_state=0).fit(X)
    gone = X[:9].copy()
    gone[::2, 1] = np.nan
    filled = model.impute(gone)
    assert isinstance(filled, np.ndarray)
    assert np.isfinite(filled).all()
    assert_array_equal(filled[:, [0, 2]], gone[:, [0, 2]])
    masked = np.ma.masked_invalid(gone)
    assert_array_equal(model.impute(masked), filled)
    frame = VAEDetector(purpose="representation", max_iter=5).fit(pl.DataFrame(X, schema=list("abc")))
    assert list(frame.impute(pl.DataFrame(gone, schema=list("abc")).fill_nan(None)).columns) == list("abc")


def test_traverse_changes_one_latent_and_decodes_it(model):
    walk = model.traverse(1, span=2, n_samples=5)
    figures = model.latents_.iloc[1]
    reach = np.hypot(figures["std"], figures["posterior_std"])
    assert_allclose(walk.index, figures["mean"] + reach * np.linspace(-2, 2, 5))
    assert walk.index.name == "vaedetector1"
    codes = np.tile(model.latents_["mean"], (5, 1))
    codes[:, 1] = walk.index
    pd.testing.assert_frame_equal(walk.reset_index(drop=True), model.inverse_transform(codes))


def test_a_walk_from_a_row_holds_that_rows_other_latents(model, train):
    row = train.iloc[[3]]
    codes = np.repeat(model.transform(row), 3, axis=0)
    walk = model.traverse(0, n_samples=3, X=row)
    codes[:, 0] = walk.index
    pd.testing.assert_frame_equal(walk.reset_index(drop=True), model.inverse_transform(codes))


def test_a_walk_along_an_active_latent_moves_the_table_and_along_an_idle_one_does_not(model, train):
    moved = [np.ptp(model.traverse(place)["height"]) + np.ptp(model.traverse(place)["age"]) for place in range(6)]
    active = model.latents_["active"].to_numpy()[:6]
    assert max(moved) > 30
    assert all(move < 0.2 * max(moved) for move, used in zip(moved, active, strict=True) if not used)


@pytest.mark.parametrize("dimension", [-1, 99, 0.5])
def test_a_latent_that_is_not_there_is_refused(model, dimension):
    with pytest.raises(DataError, match="There is no latent"):
        model.traverse(dimension)


def test_a_walk_has_a_length_and_starts_at_one_row(model, train):
    with pytest.raises(ValueError, match="n_samples"):
        model.traverse(0, n_samples=0)
    with pytest.raises(ValueError, match="span"):
        model.traverse(0, span=-1)
    with pytest.raises(DataError, match="one row"):
        model.traverse(0, X=train.head(2))


@pytest.mark.parametrize("prior", ["gaussian", "exemplar"])
def test_new_rows_have_the_tables_moments_frequencies_and_correlations(train, model, prior):
    if prior != model.prior_:
        model = VAEDetector(purpose="representation", prior=prior, random_state=0).fit(train.drop(columns="empty"))
    new = model.sample(6000, random_state=1)
    numbers = ["height", "weight", "age", "income"]
    scale = train[numbers].std()
    assert ((new[numbers].mean() - train[numbers].mean()).abs() < 0.2 * scale).all()
    assert ((new[numbers].std() / scale - 1).abs() < 0.2).all()
    assert (new[numbers].corr() - train[numbers].corr()).abs().to_numpy().max() < 0.15
    shares = [frame["build"].value_counts(normalize=True).sort_index() for frame in (new, train)]
    assert (shares[0] - shares[1]).abs().max() < 0.1
    assert abs(new["retired"].mean() - train["retired"].mean()) < 0.06
    tall = [frame.groupby("build", observed=True)["height"].mean() for frame in (new, train)]
    assert (tall[0] - tall[1]).abs().max() < 4  # of 24 between small and large
    assert new.dtypes.equals(train.drop(columns="empty").dtypes)
