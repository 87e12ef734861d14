//! `tidings eval`: our figures beside the published ones.
