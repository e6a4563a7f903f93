//! Who is who in a cluster: its authority, certificates, tokens, and TLS between its processes.

#![forbid(unsafe_code)]
