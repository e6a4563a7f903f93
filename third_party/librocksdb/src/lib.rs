//! Nothing of its own: this package exists so that cargo compiles RocksDB into a static library.
