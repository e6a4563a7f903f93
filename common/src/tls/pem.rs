//! Reading the PEM files: bounded, with the key's permissions checked, and comparable as a whole.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{TlsError, TlsFiles};

/// No chain, key or bundle of authorities comes near this many bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Permission bits that let every user read or write a file.
const OTHERS_ACCESS: u32 = 0o006;

/// Identifies one state of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest([u8; SHA256_OUTPUT_LEN]);

impl Digest {
    fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            // The length keeps two files apart when bytes move from one to the other.
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; SHA256_OUTPUT_LEN];
        digest.copy_from_slice(context.finish().as_ref());
        Self(digest)
    }

    /// A state in which the files could not be read.
    pub(super) fn of_error(error: &TlsError) -> Self {
        Self::of([b"unreadable".as_slice(), format!("{error:?}").as_bytes()])
    }
}

/// What the files held at one moment.
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
}

impl Contents {
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let client_ca = files.client_ca.as_deref().map(|path| read(path, Secret::No)).transpose()?;
        Ok(Self {
            cert: read(&files.cert, Secret::No)?,
            key: read(&files.key, Secret::Yes)?,
            client_ca: client_ca.unwrap_or_default(),
        })
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of([self.cert.as_slice(), &self.key, &self.client_ca])
    }

    pub(super) fn chain(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        certificates(&self.cert, path)
    }

    pub(super) fn authorities(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        certificates(&self.client_ca, path)
    }

    pub(super) fn key(&self, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|source| TlsError::Pem {
            what: "private key",
            path: path.to_owned(),
            source,
        })
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::Pem { what: "certificate", path: path.to_owned(), source };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(wrong)?;
    if found.is_empty() {
        return Err(wrong(pem::Error::NoItemsFound));
    }
    Ok(found)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Secret {
    Yes,
    No,
}

fn read(path: &Path, secret: Secret) -> Result<Vec<u8>, TlsError> {
    let wrong = |source| TlsError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(wrong)?;
    let mode = file.metadata().map_err(wrong)?.permissions().mode() & 0o7777;
    if secret == Secret::Yes && mode & OTHERS_ACCESS != 0 {
        return Err(TlsError::KeyReadableByOthers { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    let length = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if length as u64 > FILE_BYTES_MAX {
        return Err(TlsError::TooLarge { path: path.to_owned(), limit: FILE_BYTES_MAX });
    }
    Ok(bytes)
}
