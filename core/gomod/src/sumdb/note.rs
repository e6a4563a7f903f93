//! Signed notes: a text, a blank line, and signature lines over the text.
//!
//! Owns keys, the note's syntax and its signatures; the meaning of the text is others'. Invariant: a text
//! returned by [`open_note`] was signed by the given key.
//!
//! Source: golang.org/x/mod/sumdb/note; c2sp.org/signed-note.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Bytes of a note. A tree head with its signature has about 200.
pub const NOTE_BYTES_MAX: usize = 64 << 10;

/// Signature lines in a note, known and unknown. Go's limit.
pub const NOTE_SIGNATURES_MAX: usize = 100;

/// The only algorithm there is: the first byte of an encoded key.
const ED25519_ID: u8 = 1;
const SIGNATURE_PREFIX: &str = "\u{2014} ";
const SIGNER_PREFIX: &str = "PRIVATE+KEY+";

/// A database's name and public key, as GOSUMDB writes them: `name+hash+key`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VerifierKey {
    name: String,
    id: u32,
    public: [u8; 32],
}

impl VerifierKey {
    /// Parses `name+hash+key`, where hash is eight hexadecimal digits that follow from the rest and key is
    /// base64.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, public) = parse_key(text)?;
        let key = Self { name: name.to_owned(), id, public };
        if key_id(name, &public) == id { Ok(key) } else { Err(KeyError::Hash) }
    }

    /// The database's name; it may hold slashes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hash by which signature lines tell keys apart.
    pub fn id(&self) -> u32 {
        self.id
    }

    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public).verify(text.as_bytes(), signature).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut encoded = vec![ED25519_ID];
        encoded.extend_from_slice(&self.public);
        write!(f, "{}+{:08x}+{}", self.name, self.id, BASE64.encode(encoded))
    }
}

/// A private key: what a database signs with. Here for private databases and tests.
pub struct SignerKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl SignerKey {
    /// Parses `PRIVATE+KEY+name+hash+seed`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let public_form = text.strip_prefix(SIGNER_PREFIX).ok_or(KeyError::Syntax)?;
        let (name, id, seed) = parse_key(public_form)?;
        let signer = Self::from_seed(name, &seed)?;
        if signer.verifier.id == id { Ok(signer) } else { Err(KeyError::Hash) }
    }

    /// The key pair that the 32 bytes of seed determine.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Syntax)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Syntax)?;
        let verifier = VerifierKey { name: name.to_owned(), id: key_id(name, &public), public };
        Ok(Self { pair, verifier })
    }

    /// The public half.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The note with this text and one signature. The text must end with a newline.
    pub fn sign(&self, text: &str) -> Result<String, NoteError> {
        if !text.ends_with('\n') {
            return Err(NoteError::Syntax);
        }
        let mut signature = self.verifier.id.to_be_bytes().to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        let encoded = BASE64.encode(signature);
        Ok(format!("{text}\n{SIGNATURE_PREFIX}{} {encoded}\n", self.verifier.name))
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignerKey").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not `name+hash+key` with eight hexadecimal digits and the base64 of 33 bytes.
    #[error("key is not of the form name+hash+key")]
    Syntax,
    /// A name that is empty or holds white space.
    #[error("key name is empty or holds white space")]
    Name,
    /// Not ed25519.
    #[error("key algorithm {0} is unknown")]
    Algorithm(u8),
    /// The hash does not follow from name and key: one of the three is mistyped.
    #[error("key hash does not match name and key")]
    Hash,
}

/// Why a note is not to be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    /// Larger than [`NOTE_BYTES_MAX`].
    #[error("note has {bytes} bytes, limit {NOTE_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not text, a blank line, signature lines.
    #[error("note is malformed")]
    Syntax,
    /// More than [`NOTE_SIGNATURES_MAX`] signatures.
    #[error("note has more than {NOTE_SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// Well formed, but not signed by the key.
    #[error("note is not signed by {name}+{id:08x}")]
    Unsigned {
        /// Name of the wanted key.
        name: String,
        /// Hash of the wanted key.
        id: u32,
    },
    /// A signature that claims to be the key's and is not: forged or damaged.
    #[error("note has an invalid signature of {name}+{id:08x}")]
    Signature {
        /// Name of the key.
        name: String,
        /// Hash of the key.
        id: u32,
    },
}

/// The text of a note that the key has signed. Signatures of other keys are ignored but must be well formed.
pub fn open_note<'a>(message: &'a [u8], key: &VerifierKey) -> Result<&'a str, NoteError> {
    if message.len() > NOTE_BYTES_MAX {
        return Err(NoteError::TooLarge { bytes: message.len() });
    }
    let message = std::str::from_utf8(message).map_err(|_| NoteError::Syntax)?;
    if message.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(NoteError::Syntax);
    }
    let split = message.rfind("\n\n").ok_or(NoteError::Syntax)?;
    let (text, signatures) = message.split_at(split + 1);
    let lines = signatures.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
    let mut verified = false;
    for (index, line) in lines.ok_or(NoteError::Syntax)?.split('\n').enumerate() {
        if index == NOTE_SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        let (name, id, signature) = parse_signature(line).ok_or(NoteError::Syntax)?;
        if name != key.name || id != key.id || verified {
            continue;
        }
        if !key.verifies(text, &signature) {
            return Err(NoteError::Signature { name: key.name.clone(), id });
        }
        verified = true;
    }
    if verified { Ok(text) } else { Err(NoteError::Unsigned { name: key.name.clone(), id: key.id }) }
}

fn parse_signature(line: &str) -> Option<(&str, u32, Vec<u8>)> {
    let (name, encoded) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
    let bytes = BASE64.decode(encoded).ok()?;
    let (id, signature) = bytes.split_first_chunk()?;
    (is_name(name) && !signature.is_empty()).then(|| (name, u32::from_be_bytes(*id), signature.to_vec()))
}

fn parse_key(text: &str) -> Result<(&str, u32, [u8; 32]), KeyError> {
    let (name, rest) = text.split_once('+').ok_or(KeyError::Syntax)?;
    let (id, encoded) = rest.split_once('+').ok_or(KeyError::Syntax)?;
    if id.len() != 8 || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(KeyError::Syntax);
    }
    let id = u32::from_str_radix(id, 16).map_err(|_| KeyError::Syntax)?;
    if !is_name(name) {
        return Err(KeyError::Name);
    }
    // 44 characters hold the 33 bytes; nothing longer is decoded.
    let bytes = if encoded.len() == 44 { BASE64.decode(encoded).ok() } else { None };
    match bytes.as_deref().and_then(<[u8]>::split_first) {
        Some((&ED25519_ID, key)) => Ok((name, id, key.try_into().map_err(|_| KeyError::Syntax)?)),
        Some((&algorithm, _)) => Err(KeyError::Algorithm(algorithm)),
        None => Err(KeyError::Syntax),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

fn key_id(name: &str, public: &[u8; 32]) -> u32 {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update(b"\n")
        .chain_update([ED25519_ID])
        .chain_update(public)
        .finalize();
    digest.first_chunk().map_or(0, |head| u32::from_be_bytes(*head))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key that is compiled into the go command.
    const GOLANG: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

    fn signer() -> SignerKey {
        SignerKey::from_seed("db.example/x", &[7; 32]).unwrap()
    }

    #[test]
    fn the_real_key_round_trips() {
        let key = VerifierKey::parse(GOLANG).unwrap();
        assert_eq!((key.name(), key.id()), ("sum.golang.org", 0x033d_e0ae));
        assert_eq!(key.to_string(), GOLANG);
    }

    #[test]
    fn damaged_keys_are_refused() {
        let cases = [
            (GOLANG.replace("033de0ae", "033de0af"), KeyError::Hash),
            (GOLANG.replace("sum.golang", "som.golang"), KeyError::Hash),
            (GOLANG.replace("Ac4z", "Ac5z"), KeyError::Hash),
            (GOLANG.replace("Ac4z", "As4z"), KeyError::Algorithm(2)),
            (GOLANG.replace("033de0ae", "+33de0ae"), KeyError::Syntax),
            (GOLANG.replace("033de0ae", "33de0ae"), KeyError::Syntax),
            (GOLANG.replace("sum.golang", "sum golang"), KeyError::Name),
            (GOLANG.replace("OuAn8", "OuAn"), KeyError::Syntax),
            (GOLANG.replace("OuAn8", "OuAn8AAAA"), KeyError::Syntax),
            ("sum.golang.org".to_owned(), KeyError::Syntax),
            (String::new(), KeyError::Syntax),
        ];
        for (text, error) in cases {
            assert_eq!(VerifierKey::parse(&text), Err(error), "{text}");
        }
    }

    #[test]
    fn what_is_signed_opens() {
        let signer = signer();
        for text in ["a\n", "a\n\nb\n", "\n", "größe\n"] {
            let note = signer.sign(text).unwrap();
            assert_eq!(open_note(note.as_bytes(), signer.verifier()), Ok(text));
        }
        assert_eq!(signer.sign("no newline"), Err(NoteError::Syntax));
    }

    #[test]
    fn unknown_signers_are_ignored_and_others_notes_refused() {
        let (ours, other) = (signer(), SignerKey::from_seed("other", &[8; 32]).unwrap());
        let note = ours.sign("text\n").unwrap();
        let line = |note: &str| note.rsplit_once("\n\n").unwrap().1.to_owned();
        let both = format!("text\n\n{}{}", line(&other.sign("something else\n").unwrap()), line(&note));
        assert_eq!(open_note(both.as_bytes(), ours.verifier()), Ok("text\n"));
        let unsigned = NoteError::Unsigned { name: "other".to_owned(), id: other.verifier().id() };
        assert_eq!(open_note(note.as_bytes(), other.verifier()), Err(unsigned));
        // The same name with another key is another signer.
        let namesake = SignerKey::from_seed("db.example/x", &[9; 32]).unwrap();
        assert!(matches!(open_note(note.as_bytes(), namesake.verifier()), Err(NoteError::Unsigned { .. })));
    }

    #[test]
    fn forged_text_is_refused() {
        let signer = signer();
        let note = signer.sign("size 1\n").unwrap().replace("size 1", "size 2");
        let error = NoteError::Signature { name: "db.example/x".to_owned(), id: signer.verifier().id() };
        assert_eq!(open_note(note.as_bytes(), signer.verifier()), Err(error));
    }

    #[test]
    fn odd_notes_are_refused() {
        let signer = signer();
        let note = signer.sign("text\n").unwrap();
        let syntax = [
            String::new(),
            "text\n".to_owned(),
            "text\n\n".to_owned(),
            note.trim_end().to_owned(),
            format!("{note}\n"),
            format!("{note}x\n"),
            format!("\t{note}"),
            note.replace('\u{2014}', "-"),
            note.replace("db.example/x ", "db.example/x"),
            note.replace("db.example/x ", "db.example/x !"),
            note.replace("db.example/x ", " "),
        ];
        for odd in syntax {
            assert_eq!(open_note(odd.as_bytes(), signer.verifier()), Err(NoteError::Syntax), "{odd:?}");
        }
        assert_eq!(open_note(b"\xff\n\n", signer.verifier()), Err(NoteError::Syntax));
        let long = vec![b'a'; NOTE_BYTES_MAX + 1];
        assert!(matches!(open_note(&long, signer.verifier()), Err(NoteError::TooLarge { .. })));
    }

    #[test]
    fn signatures_are_counted() {
        let signer = signer();
        let note = signer.sign("text\n").unwrap();
        let (_, line) = note.rsplit_once("\n\n").unwrap();
        let with = |count: usize| format!("text\n\n{}", line.repeat(count));
        assert_eq!(open_note(with(100).as_bytes(), signer.verifier()), Ok("text\n"));
        let error = Err(NoteError::TooManySignatures);
        assert_eq!(open_note(with(101).as_bytes(), signer.verifier()), error);
    }

    #[test]
    fn private_keys_round_trip_and_stay_out_of_debug() {
        let seed = [7; 32];
        let mut encoded = vec![1];
        encoded.extend_from_slice(&seed);
        let id = signer().verifier().id();
        let text = format!("PRIVATE+KEY+db.example/x+{id:08x}+{}", BASE64.encode(&encoded));
        let key = SignerKey::parse(&text).unwrap();
        assert_eq!(key.verifier(), signer().verifier());
        assert!(!format!("{key:?}").contains(&BASE64.encode(&encoded)[4..]));
        assert!(matches!(SignerKey::parse(&text[8..]), Err(KeyError::Syntax)));
        assert!(matches!(SignerKey::parse(&text.replace("db.", "bd.")), Err(KeyError::Hash)));
    }
}
