//! Operating: metrics, health, HTTP, logging, supervision.
