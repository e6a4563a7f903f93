//! How often the cluster went on from one member after its majority was lost, as nodes and members say with every call: a control
//! node that knows of fewer recoveries was left behind, and must not be followed.
//!
//! It is a header because it belongs to all calls alike. One that cannot be read counts as none.

use tonic::metadata::{MetadataMap, MetadataValue};

/// The header's name.
const HEADER: &str = "goproxy-recovery";

/// Says it with a call.
pub fn tell(metadata: &mut MetadataMap, recovery: u64) {
    metadata.insert(HEADER, MetadataValue::from(recovery));
}

/// What was said with a call.
pub fn told(metadata: &MetadataMap) -> Option<u64> {
    metadata.get(HEADER)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_heard() {
        let mut metadata = MetadataMap::new();
        assert_eq!(told(&metadata), None);
        tell(&mut metadata, 3);
        assert_eq!(told(&metadata), Some(3));
        metadata.insert(HEADER, MetadataValue::from_static("many"));
        assert_eq!(told(&metadata), None);
    }
}
