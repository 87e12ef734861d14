//! Discord: digests, the outbox, delivery.
