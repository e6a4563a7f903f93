//! Records come back as they were written, old versions of their encoding too, and damage never decodes.

use proptest::prelude::*;

use super::*;

fn bodies() -> impl Strategy<Value = Option<Bytes>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..400).prop_map(Bytes::from))
}

fn hashes() -> impl Strategy<Value = Option<H1>> {
    proptest::option::of(any::<[u8; 32]>().prop_map(H1::from_bytes))
}

prop_compose! {
    fn records()(
        info in bodies(),
        go_mod in bodies(),
        go_mod_h1 in hashes(),
        zip_h1 in hashes(),
        zip in proptest::option::of(any::<(u64, u64, [u8; 32])>()),
        class in prop_oneof![Just(Class::Cache), Just(Class::Retained), Just(Class::Published)],
        verified in prop_oneof![Just(Verified::Unchecked), Just(Verified::ChecksumDatabase)],
        origin in ".{0,20}",
        first_seen_us in any::<i64>(),
        held_us in any::<Option<i64>>(),
    ) -> VersionRecord {
        let zip = zip.zip(zip_h1).map(|((blob, size, sha256), h1)| {
            ZipManifest { blob: BlobId(blob), size, sha256, h1 }
        });
        VersionRecord {
            info, go_mod, go_mod_h1, zip, zip_h1, class, verified, origin, first_seen_us, held_us,
        }
    }
}

proptest! {
    #[test]
    fn a_record_comes_back(record in records()) {
        let value = Bytes::from(encode_record(&record));
        prop_assert_eq!(decode_record(&value).expect("decode"), record);
    }

    #[test]
    fn a_cut_or_padded_record_is_an_error(record in records(), cut in any::<prop::sample::Index>()) {
        let mut value = encode_record(&record);
        let cut = cut.index(value.len());
        prop_assert!(decode_record(&Bytes::copy_from_slice(&value[..cut])).is_err());
        value.push(0);
        prop_assert!(decode_record(&Bytes::from(value)).is_err());
    }

    #[test]
    fn an_answer_comes_back(
        body in proptest::collection::vec(any::<u8>(), 0..400),
        fetched_us in any::<i64>(),
        status in any::<u16>(),
    ) {
        let answer = CachedAnswer { body: Bytes::from(body), fetched_us, status };
        let value = Bytes::from(encode_answer(&answer));
        prop_assert_eq!(decode_answer(&value).expect("decode"), answer);
    }

    #[test]
    fn the_smaller_values_come_back(
        blob in any::<(u64, u64, Option<(u8, u64)>)>(),
        access in any::<(i64, i64)>(),
        reason in ".{0,60}",
        zip in any::<Option<([u8; 32], u64)>>(),
        number in any::<i64>(),
    ) {
        let place = blob.2.map(|(queue, order)| Place { queue: QueueId(queue), order });
        let manifest = BlobManifest { blob: BlobId(blob.0), size: blob.1, place };
        prop_assert_eq!(decode_blob(&encode_blob(&manifest)).expect("decode"), manifest);
        let access = Access { any_us: access.0, zip_us: access.1 };
        prop_assert_eq!(decode_access(&encode_access(access)).expect("decode"), access);
        for scope in [Scope::Zip, Scope::Record] {
            let value = QuarantineValue { scope, reason: reason.clone(), zip };
            prop_assert_eq!(decode_quarantine(&encode_quarantine(&value)).expect("decode"), value);
        }
        for transient in [Transient::Writing, Transient::Doomed { chunks: 9 }] {
            prop_assert_eq!(decode_transient(&encode_transient(transient)).expect("decode"), transient);
        }
        prop_assert_eq!(decode_number(&encode_number(number)), Some(number));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        let _ = (decode_record(&bytes), decode_answer(&bytes), decode_blob(&bytes), decode_access(&bytes));
        let _ = (decode_transient(&bytes), decode_quarantine(&bytes), decode_number(&bytes));
        // The same behind a known format byte, where decoding goes on.
        let mut known = vec![FORMAT_1];
        known.extend_from_slice(&bytes);
        let known = Bytes::from(known);
        let _ = (decode_record(&known), decode_answer(&known), decode_quarantine(&known));
    }
}

/// A length that the value does not have is refused before anything is allocated for it.
#[test]
fn a_length_beyond_the_value_is_an_error() {
    let value = Bytes::from_static(b"\x01\x01\xff\xff\xff\xff\x0fx");
    assert!(matches!(decode_record(&value), Err(DecodeError::Malformed(_))));
}

#[test]
fn an_unknown_format_is_named() {
    assert!(matches!(decode_record(&Bytes::from_static(b"\x09abc")), Err(DecodeError::Format(9))));
    assert!(matches!(decode_blob(b""), Err(DecodeError::Empty)));
}

/// What format 1 looks like on disk, for as long as any store may hold it.
#[test]
fn golden_record_1() {
    let h1 = H1::from_bytes([2; 32]);
    let record = VersionRecord {
        info: Some(Bytes::from_static(b"{}")),
        go_mod: Some(Bytes::from_static(b"module a")),
        go_mod_h1: Some(H1::from_bytes([1; 32])),
        zip: Some(ZipManifest { blob: BlobId(300), size: 70_000, sha256: [3; 32], h1 }),
        zip_h1: Some(h1),
        class: Class::Retained,
        verified: Verified::ChecksumDatabase,
        origin: "o".to_owned(),
        first_seen_us: 64,
        held_us: Some(-1),
    };
    let mut golden = b"\x01\x01\x02{}\x01\x08module a\x01".to_vec();
    golden.extend_from_slice(&[1; 32]);
    golden.extend_from_slice(b"\x01\xac\x02\xf0\xa2\x04");
    golden.extend_from_slice(&[3; 32]);
    golden.push(1);
    golden.extend_from_slice(&[2; 32]);
    golden.extend_from_slice(b"\x01\x01\x01o\x80\x01\x01\x01");
    assert_eq!(encode_record(&record), golden);
    assert_eq!(decode_record(&Bytes::from(golden)).expect("decode"), record);
}

#[test]
fn golden_small_values() {
    let place = Some(Place { queue: QueueId(2), order: 5 });
    let manifest = BlobManifest { blob: BlobId(1), size: 128, place };
    assert_eq!(encode_blob(&manifest), b"\x01\x01\x80\x01\x01\x02\x05");
    assert_eq!(encode_access(Access { any_us: 1, zip_us: 0 }), b"\x01\x02\x00");
    assert_eq!(encode_transient(Transient::Writing), b"\x01\x00");
    assert_eq!(encode_transient(Transient::Doomed { chunks: 300 }), b"\x01\x01\xac\x02");
    let quarantine = QuarantineValue { scope: Scope::Zip, reason: "r".into(), zip: None };
    assert_eq!(encode_quarantine(&quarantine), b"\x01\x00\x01r\x00");
    let answer = CachedAnswer { body: Bytes::from_static(b"x"), fetched_us: 1, status: 404 };
    assert_eq!(encode_answer(&answer), b"\x01\x02\x94\x03\x01x");
    assert_eq!(encode_number(-2), [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
}
