//! The disk of the data folder, as a component.

use std::path::Path;

use super::{Component, Settings, Status};
use crate::ops::metrics::disk_space;

/// Degraded below the share that must stay free, down if it cannot be read.
pub fn disk(data_dir: &Path, settings: &Settings) -> Component {
    const NAME: &str = "disk";
    let space = match disk_space(data_dir) {
        Ok(space) => space,
        Err(error) => {
            return Component::ok(NAME)
                .because(Status::Down, format!("the data folder cannot be read: {error}"));
        }
    };
    let component = Component::ok(NAME).details(serde_json::json!({
        "free_bytes": space.free_bytes,
        "size_bytes": space.size_bytes,
    }));
    let (free, needed) = (space.free_percent(), settings.disk_free_min_percent);
    if free >= needed {
        return component;
    }
    let reason =
        format!("{free:.1} % of the disk is free, {needed} % is needed: free space or lower retention");
    component.because(Status::Degraded, reason)
}
