//! What an answer is, in words small enough for metric labels: the kind of request and where it was found.

/// The shape of a request (protocol.md 8), as a metric label. No module path ever becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Kind {
    /// `@v/list`
    List,
    /// `@latest`
    Latest,
    /// `.info`
    Info,
    /// `.mod`
    Mod,
    /// `.zip`
    Zip,
    /// `/sumdb/…`
    Sumdb,
    /// `/index`
    Index,
    /// `/healthz`, `/readyz`
    Health,
    /// Nothing this server knows.
    #[default]
    Other,
}

impl Kind {
    /// Every kind, in the order of their discriminants.
    pub const ALL: [Kind; 9] = [
        Kind::List,
        Kind::Latest,
        Kind::Info,
        Kind::Mod,
        Kind::Zip,
        Kind::Sumdb,
        Kind::Index,
        Kind::Health,
        Kind::Other,
    ];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::List => "list",
            Kind::Latest => "latest",
            Kind::Info => "info",
            Kind::Mod => "mod",
            Kind::Zip => "zip",
            Kind::Sumdb => "sumdb",
            Kind::Index => "index",
            Kind::Health => "health",
            Kind::Other => "other",
        }
    }
}

/// Where an answer came from: the `X-Cache` header and a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Cache {
    /// Held here and fresh.
    Hit,
    /// Held by another node of the cluster.
    Peer,
    /// Fetched for this request.
    Miss,
    /// Held here, past its lifetime, and the origin did not give a newer one.
    Stale,
    /// Not an answer that is cached.
    #[default]
    None,
}

impl Cache {
    /// Every value, in the order of their discriminants.
    pub const ALL: [Cache; 5] = [Cache::Hit, Cache::Peer, Cache::Miss, Cache::Stale, Cache::None];

    /// The header's value and the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cache::Hit => "hit",
            Cache::Peer => "peer",
            Cache::Miss => "miss",
            Cache::Stale => "stale",
            Cache::None => "none",
        }
    }
}

/// Kind and cache of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tag {
    /// What was asked for.
    pub kind: Kind,
    /// Where it was found.
    pub cache: Cache,
}

impl Tag {
    /// A tag of an answer that is not cached.
    pub const fn uncached(kind: Kind) -> Self {
        Self { kind, cache: Cache::None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discriminants_index_the_tables() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
        for (index, cache) in Cache::ALL.into_iter().enumerate() {
            assert_eq!(cache as usize, index);
        }
    }
}
