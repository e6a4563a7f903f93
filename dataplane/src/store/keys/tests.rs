//! Every key comes back as it went in, and bytes sort as fields do.

use proptest::prelude::*;

use super::*;

fn version(text: &(String, String)) -> ModuleVersion {
    ModuleVersion {
        module: ModulePath::parse(&text.0).expect("module path"),
        version: Version::parse(&text.1).expect("version"),
    }
}

fn versions() -> impl Strategy<Value = ModuleVersion> {
    // The first letters keep clear of the names of devices that module paths may not have.
    let module = r"x[a-z0-9]{0,6}\.(com|org)(/y[a-z0-9\-]{0,5}){0,3}";
    let number = r"v[01]\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})(-[a-z]{1,4}\.[1-9])?";
    (module, number).prop_map(|text| version(&text))
}

/// The property of every table: decoding undoes encoding, and bytes sort as fields do.
fn check<F: PartialEq + Ord + std::fmt::Debug>(
    (a, b): (F, F),
    encode: impl Fn(&F) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Option<F>,
) -> Result<(), TestCaseError> {
    let (ka, kb) = (encode(&a), encode(&b));
    prop_assert_eq!(ka.cmp(&kb), a.cmp(&b));
    prop_assert_eq!(decode(&ka), Some(a));
    prop_assert_eq!(decode(&kb), Some(b));
    Ok(())
}

/// A version as its texts, whose order is the keys' order (not that of versions).
type Texts = (String, String);

fn texts(mv: &ModuleVersion) -> Texts {
    (mv.module.as_str().to_owned(), mv.version.as_str().to_owned())
}

proptest! {
    #[test]
    fn records(a in versions(), b in versions()) {
        check((texts(&a), texts(&b)), |t| record(&version(t)), |k| parse_record(k).map(|mv| texts(&mv)))?;
        prop_assert!(record(&a).starts_with(&records_of(&a.module)));
        prop_assert_eq!(record(&b).starts_with(&records_of(&a.module)), a.module == b.module);
    }

    #[test]
    fn references(a in (any::<u64>(), versions()), b in (any::<u64>(), versions())) {
        check(
            ((a.0, texts(&a.1)), (b.0, texts(&b.1))),
            |(blob, t)| reference(BlobId(*blob), &version(t)),
            |k| parse_reference(k).map(|(blob, mv)| (blob.0, texts(&mv))),
        )?;
        prop_assert!(reference(BlobId(a.0), &a.1).starts_with(&references_to(BlobId(a.0))));
    }

    #[test]
    fn quarantined(a in (any::<i64>(), versions()), b in (any::<i64>(), versions())) {
        check(
            ((a.0, texts(&a.1)), (b.0, texts(&b.1))),
            |(at, t)| quarantine(*at, &version(t)),
            |k| parse_quarantine(k).map(|(at, mv)| (at, texts(&mv))),
        )?;
    }

    #[test]
    fn numbers(a in any::<(i64, u64, u32)>(), b in any::<(i64, u64, u32)>()) {
        check((a.0, b.0), |t| index(*t), parse_index)?;
        check((a.1, b.1), |n| transient(BlobId(*n)), |k| parse_transient(k).map(BlobId::get))?;
        check(
            ((a.1, a.2), (b.1, b.2)),
            |(blob, number)| chunk(BlobId(*blob), *number).to_vec(),
            |k| parse_chunk(k).map(|(blob, number)| (blob.0, number)),
        )?;
    }

    #[test]
    fn queues(a in any::<(u8, u64, u64)>(), b in any::<(u8, u64, u64)>()) {
        let place = |t: (u8, u64, u64)| QueueKey { queue: QueueId(t.0), order: t.1, blob: BlobId(t.2) };
        check((place(a), place(b)), |place| queue(*place), parse_queue)?;
        prop_assert!(queue(place(a)).starts_with(&queue_of(QueueId(a.0))));
    }

    #[test]
    fn blobs_by_hash(a in any::<[u8; 32]>(), b in any::<[u8; 32]>()) {
        check((a, b), blob, |key| key.strip_prefix(&*blobs())?.try_into().ok())?;
    }

    #[test]
    fn the_end_of_a_prefix_is_the_least_key_beyond_it(
        prefix in proptest::collection::vec(prop_oneof![any::<u8>(), Just(u8::MAX)], 1..6),
        other in proptest::collection::vec(prop_oneof![any::<u8>(), Just(u8::MAX)], 0..8),
    ) {
        let inside = other >= prefix && after(&prefix).is_none_or(|end| other < end);
        prop_assert_eq!(inside, other.starts_with(&prefix));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = (parse_record(&bytes), parse_reference(&bytes), parse_quarantine(&bytes), parse_index(&bytes));
        let _ = (parse_transient(&bytes), parse_chunk(&bytes), parse_queue(&bytes));
    }
}

#[test]
fn answers_of_different_kinds_differ() {
    let module = ModulePath::parse("example.com/a").expect("module path");
    let keys = [
        answer(AnswerKind::List, &module, ""),
        answer(AnswerKind::Latest, &module, ""),
        answer(AnswerKind::Query, &module, ""),
        answer(AnswerKind::Query, &module, "main"),
    ];
    for (i, a) in keys.iter().enumerate() {
        for b in keys.iter().skip(i + 1) {
            assert_ne!(a, b);
        }
    }
}

/// Bytes on disk do not change by accident: these keys are those that the first release wrote.
#[test]
fn golden() {
    let mv = version(&("example.com/a".into(), "v1.2.3".into()));
    let place = QueueKey { queue: QueueId(2), order: 3, blob: BlobId(4) };
    let cases: [(Vec<u8>, &[u8]); 14] = [
        (record(&mv), b"rexample.com/a\0v1.2.3"),
        (access(&mv), b"hexample.com/a\0v1.2.3"),
        (answer(AnswerKind::List, &mv.module, ""), b"alexample.com/a\0"),
        (answer(AnswerKind::Latest, &mv.module, ""), b"atexample.com/a\0"),
        (answer(AnswerKind::Query, &mv.module, "main"), b"aqexample.com/a\0main"),
        (blob(&[7; 32]), b"b\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07"),
        (reference(BlobId(258), &mv), b"f\0\0\0\0\0\0\x01\x02example.com/a\0v1.2.3"),
        (transient(BlobId(258)), b"t\0\0\0\0\0\0\x01\x02"),
        (sumdb("sum.golang.org/latest"), b"dsum.golang.org/latest"),
        (index(5), b"i\x80\0\0\0\0\0\0\x05"),
        (queue(place), b"e\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04"),
        (quarantine(-1, &mv), b"x\x7f\xff\xff\xff\xff\xff\xff\xffexample.com/a\0v1.2.3"),
        (setting(SETTING_SCHEMA), b"sschema"),
        (counter(9).to_vec(), b"u\x09"),
    ];
    for (key, expected) in cases {
        assert_eq!(key, expected);
    }
    assert_eq!(chunk(BlobId(258), 3), *b"\0\0\0\0\0\0\x01\x02\0\0\0\x03");
}
