//! Every key of the store, in one place and pure. Values are in `records`.
//!
//! A key is a one-byte table tag and then fields: integers big-endian so that byte order is number order,
//! texts ended by a zero byte where something follows. Invariants: no two tables share a tag; encoding then
//! decoding gives the same fields; keys of one table sort by their fields in order. Neither module paths nor
//! versions can hold a zero byte, for their grammar has only printable ASCII.
//!
//! The same module's records are neighbours (`r`), as are a blob's chunks (in the `chunks` family).

use gomod::{ModulePath, ModuleVersion, Version};

use super::types::BlobId;

/// Table tags of the `meta` column family.
mod tag {
    /// Cached answer: kind, module, 0, query.
    pub(super) const ANSWER: u8 = b'a';
    /// Blob manifest by SHA-256.
    pub(super) const BLOB: u8 = b'b';
    /// Checksum database: text key.
    pub(super) const SUMDB: u8 = b'd';
    /// Eviction queue: queue, order, blob.
    pub(super) const QUEUE: u8 = b'e';
    /// Back-reference: blob, module, 0, version.
    pub(super) const REFERENCE: u8 = b'f';
    /// Access times: module, 0, version.
    pub(super) const ACCESS: u8 = b'h';
    /// Index feed: time.
    pub(super) const INDEX: u8 = b'i';
    /// Staged version: `h1:` of its zip, module, 0, version.
    pub(super) const STAGED: u8 = b'p';
    /// Version record: module, 0, version.
    pub(super) const RECORD: u8 = b'r';
    /// Setting: text name.
    pub(super) const SETTING: u8 = b's';
    /// Marker of a blob that is being written or deleted: blob.
    pub(super) const TRANSIENT: u8 = b't';
    /// Counter: its number.
    pub(super) const COUNTER: u8 = b'u';
    /// Quarantine record: time, module, 0, version.
    pub(super) const QUARANTINE: u8 = b'x';
}

/// Setting: number of the storage schema.
pub(super) const SETTING_SCHEMA: &str = "schema";
/// Setting: id of this store, 16 random bytes.
pub(super) const SETTING_STORE_ID: &str = "store-id";
/// Setting: no blob id at or above this was ever given out.
pub(super) const SETTING_BLOB_LIMIT: &str = "blob-limit";

/// Which upstream answer is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerKind {
    /// `/@v/list`.
    List,
    /// `/@latest`.
    Latest,
    /// `/@v/<query>.info` where the query is no version.
    Query,
}

/// One of the eviction queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub(super) u8);

/// Place of a blob in the eviction queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueKey {
    /// The queue.
    pub(super) queue: QueueId,
    /// Position in it, by default the time of entry in µs; lower leaves first.
    pub(super) order: u64,
    /// The blob.
    pub(super) blob: BlobId,
}

fn tagged(tag: u8, capacity: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(capacity + 1);
    key.push(tag);
    key
}

fn push_version(key: &mut Vec<u8>, mv: &ModuleVersion) {
    key.extend_from_slice(mv.module.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(mv.version.as_str().as_bytes());
}

fn version_len(mv: &ModuleVersion) -> usize {
    mv.module.as_str().len() + mv.version.as_str().len() + 1
}

fn tagged_version(tag: u8, mv: &ModuleVersion) -> Vec<u8> {
    let mut key = tagged(tag, version_len(mv));
    push_version(&mut key, mv);
    key
}

/// `module 0 version`, as keys end and as the index feed's values are.
pub(super) fn version_text(mv: &ModuleVersion) -> Vec<u8> {
    let mut text = Vec::with_capacity(version_len(mv));
    push_version(&mut text, mv);
    text
}

/// Parses `module 0 version`; `None` when the bytes are not that.
pub(super) fn parse_version_text(text: &[u8]) -> Option<ModuleVersion> {
    let text = std::str::from_utf8(text).ok()?;
    let (module, version) = text.split_once('\0')?;
    Some(ModuleVersion { module: ModulePath::parse(module).ok()?, version: Version::parse(version).ok()? })
}

/// Key of a version's record.
pub(super) fn record(mv: &ModuleVersion) -> Vec<u8> {
    tagged_version(tag::RECORD, mv)
}

/// First part of the keys of a module's records.
pub(super) fn records_of(module: &ModulePath) -> Vec<u8> {
    let mut key = tagged(tag::RECORD, module.as_str().len() + 1);
    key.extend_from_slice(module.as_str().as_bytes());
    key.push(0);
    key
}

/// First part of the keys of all records.
pub(super) fn records() -> Vec<u8> {
    vec![tag::RECORD]
}

/// The version whose record has this key.
pub(super) fn parse_record(key: &[u8]) -> Option<ModuleVersion> {
    parse_version_text(key.strip_prefix(&[tag::RECORD])?)
}

/// Key of a version that is staged with this content.
pub(super) fn staged(zip_h1: &[u8; 32], mv: &ModuleVersion) -> Vec<u8> {
    let mut key = tagged(tag::STAGED, 32 + version_len(mv));
    key.extend_from_slice(zip_h1);
    push_version(&mut key, mv);
    key
}

/// First part of the keys of all staged versions.
pub(super) fn all_staged() -> Vec<u8> {
    vec![tag::STAGED]
}

/// The version that is staged under this key.
pub(super) fn parse_staged(key: &[u8]) -> Option<ModuleVersion> {
    let (_, text) = key.strip_prefix(&[tag::STAGED])?.split_first_chunk::<32>()?;
    parse_version_text(text)
}

/// Key of a version's access times.
pub(super) fn access(mv: &ModuleVersion) -> Vec<u8> {
    tagged_version(tag::ACCESS, mv)
}

/// Key of a cached answer; `query` is empty but for [`AnswerKind::Query`].
pub(super) fn answer(kind: AnswerKind, module: &ModulePath, query: &str) -> Vec<u8> {
    let mut key = tagged(tag::ANSWER, module.as_str().len() + query.len() + 2);
    key.push(match kind {
        AnswerKind::List => b'l',
        AnswerKind::Latest => b't',
        AnswerKind::Query => b'q',
    });
    key.extend_from_slice(module.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(query.as_bytes());
    key
}

/// Key of the manifest of the blob with this SHA-256.
pub(super) fn blob(sha256: &[u8; 32]) -> Vec<u8> {
    let mut key = tagged(tag::BLOB, sha256.len());
    key.extend_from_slice(sha256);
    key
}

/// First part of the keys of all blob manifests.
pub(super) fn blobs() -> Vec<u8> {
    vec![tag::BLOB]
}

/// Key that says that `mv` has its zip in `blob`.
pub(super) fn reference(blob: BlobId, mv: &ModuleVersion) -> Vec<u8> {
    let mut key = tagged(tag::REFERENCE, 8 + version_len(mv));
    key.extend_from_slice(&blob.0.to_be_bytes());
    push_version(&mut key, mv);
    key
}

/// First part of the keys of the references to `blob`.
pub(super) fn references_to(blob: BlobId) -> Vec<u8> {
    let mut key = tagged(tag::REFERENCE, 8);
    key.extend_from_slice(&blob.0.to_be_bytes());
    key
}

/// The blob and the version that this reference joins.
pub(super) fn parse_reference(key: &[u8]) -> Option<(BlobId, ModuleVersion)> {
    let (blob, text) = key.strip_prefix(&[tag::REFERENCE])?.split_first_chunk::<8>()?;
    Some((BlobId(u64::from_be_bytes(*blob)), parse_version_text(text)?))
}

/// Key of the marker that `blob` is being written or deleted.
pub(super) fn transient(blob: BlobId) -> Vec<u8> {
    let mut key = tagged(tag::TRANSIENT, 8);
    key.extend_from_slice(&blob.0.to_be_bytes());
    key
}

/// First part of the keys of all such markers.
pub(super) fn transients() -> Vec<u8> {
    vec![tag::TRANSIENT]
}

/// The blob whose marker has this key.
pub(super) fn parse_transient(key: &[u8]) -> Option<BlobId> {
    Some(BlobId(u64::from_be_bytes(key.strip_prefix(&[tag::TRANSIENT])?.try_into().ok()?)))
}

/// Key of a stored fact of a checksum database.
pub(super) fn sumdb(name: &str) -> Vec<u8> {
    let mut key = tagged(tag::SUMDB, name.len());
    key.extend_from_slice(name.as_bytes());
    key
}

/// Times before 1970 sort before those after it.
fn ordered(time_us: i64) -> [u8; 8] {
    (time_us.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

fn parse_ordered(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
}

/// Key of the entry of the index feed at `held_us`.
pub(super) fn index(held_us: i64) -> Vec<u8> {
    let mut key = tagged(tag::INDEX, 8);
    key.extend_from_slice(&ordered(held_us));
    key
}

/// First part of the keys of the index feed.
pub(super) fn indexes() -> Vec<u8> {
    vec![tag::INDEX]
}

/// The time of an entry of the index feed.
pub(super) fn parse_index(key: &[u8]) -> Option<i64> {
    Some(parse_ordered(key.strip_prefix(&[tag::INDEX])?.try_into().ok()?))
}

/// Key of a place in the eviction queues.
pub(super) fn queue(place: QueueKey) -> Vec<u8> {
    let mut key = tagged(tag::QUEUE, 17);
    key.push(place.queue.0);
    key.extend_from_slice(&place.order.to_be_bytes());
    key.extend_from_slice(&place.blob.0.to_be_bytes());
    key
}

/// First part of the keys of one eviction queue.
pub(super) fn queue_of(queue: QueueId) -> Vec<u8> {
    vec![tag::QUEUE, queue.0]
}

/// The place that this key is.
pub(super) fn parse_queue(key: &[u8]) -> Option<QueueKey> {
    let (&[queue], rest) = key.strip_prefix(&[tag::QUEUE])?.split_first_chunk::<1>()?;
    let (order, blob) = rest.split_first_chunk::<8>()?;
    Some(QueueKey {
        queue: QueueId(queue),
        order: u64::from_be_bytes(*order),
        blob: BlobId(u64::from_be_bytes(blob.try_into().ok()?)),
    })
}

/// Key of a quarantine record.
pub(super) fn quarantine(at_us: i64, mv: &ModuleVersion) -> Vec<u8> {
    let mut key = tagged(tag::QUARANTINE, 8 + version_len(mv));
    key.extend_from_slice(&ordered(at_us));
    push_version(&mut key, mv);
    key
}

/// The least key of a quarantine record at or after `since_us`.
pub(super) fn quarantine_from(since_us: i64) -> Vec<u8> {
    let mut key = tagged(tag::QUARANTINE, 8);
    key.extend_from_slice(&ordered(since_us));
    key
}

/// First part of the keys of all quarantine records.
pub(super) fn quarantines() -> Vec<u8> {
    vec![tag::QUARANTINE]
}

/// Time and version of a quarantine record.
pub(super) fn parse_quarantine(key: &[u8]) -> Option<(i64, ModuleVersion)> {
    let (at, text) = key.strip_prefix(&[tag::QUARANTINE])?.split_first_chunk::<8>()?;
    Some((parse_ordered(*at), parse_version_text(text)?))
}

/// Key of a setting of the store itself.
pub(super) fn setting(name: &str) -> Vec<u8> {
    let mut key = tagged(tag::SETTING, name.len());
    key.extend_from_slice(name.as_bytes());
    key
}

/// Key of a counter.
pub(super) fn counter(number: u8) -> [u8; 2] {
    [tag::COUNTER, number]
}

/// Key of a chunk, in the `chunks` column family.
pub(super) fn chunk(blob: BlobId, number: u32) -> [u8; 12] {
    let mut key = [0; 12];
    let (head, tail) = key.split_at_mut(8);
    head.copy_from_slice(&blob.0.to_be_bytes());
    tail.copy_from_slice(&number.to_be_bytes());
    key
}

/// The blob and number of a chunk with this key.
pub(super) fn parse_chunk(key: &[u8]) -> Option<(BlobId, u32)> {
    let (blob, number) = key.split_first_chunk::<8>()?;
    Some((BlobId(u64::from_be_bytes(*blob)), u32::from_be_bytes(number.try_into().ok()?)))
}

/// The first key after all keys that begin with `prefix`; `None` when there is no such key.
pub(super) fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix.get(..=kept)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

#[cfg(test)]
mod tests;
