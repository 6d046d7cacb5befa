"""From an encoded table to trained weights: the loop, its plan, devices and callbacks."""
