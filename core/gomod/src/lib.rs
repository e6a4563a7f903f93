//! Go's module rules as functions of values. Nothing here does IO, reads a clock or knows of clusters.
