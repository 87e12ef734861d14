//! Settings: defaults, overlays, environment; the only reader of the environment.
