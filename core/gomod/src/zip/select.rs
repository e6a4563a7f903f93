//! Which files of a repository belong into its module zip.
