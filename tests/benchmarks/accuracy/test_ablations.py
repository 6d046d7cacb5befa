from pkgutil import resolve_name

import pytest

from benchmarks.accuracy.ablations import VARIANTS

VARIANTS_OF_BOTH = [variant for variants in VARIANTS.values() for variant in variants]


@pytest.mark.parametrize("name", sorted({name for variant in VARIANTS_OF_BOTH for name in variant.constants}))
def test_a_constant_that_a_variant_changes_exists(name):
    assert resolve_name(f"vae_anomaly.{name}") is not None
