//! The timely workers and what drives them.
