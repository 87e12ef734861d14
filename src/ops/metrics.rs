//! The registry of every metric; `/metrics` writes it out.

use std::sync::LazyLock;

use prometheus::Registry;

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

/// Where each module registers its metrics.
pub fn registry() -> &'static Registry {
    &REGISTRY
}
