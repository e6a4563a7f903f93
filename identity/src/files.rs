//! A process's credentials on disk: `ca.pem` (whom it trusts), `node.pem` (its certificate and the authority's), `node.key`;
//! on control nodes `sealing.key` too, where a cluster was made `admin.token`, and `joining.key` until one was joined. Secrets are for their owner alone, mode
//! 0600, and are refused if everybody may read them.
//!
//! Invariant: whenever the machine stops, a certificate and its key are found that belong together. Both are written beside
//! their places and synced before either is moved; between the two moves lies the one moment in which they differ, and what
//! is left beside its place then is what belongs to the moved key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::bundle::{Bundle, BundleError, pem};
use crate::grant::{KeyRequest, RequestError};
use crate::operator_token::{OperatorToken, OperatorTokenError};
use crate::seal::SealingKey;
use crate::secret::hex;
use crate::tls::{Credentials, TlsError};

const BUNDLE: &str = "ca.pem";
const CERTIFICATE: &str = "node.pem";
const KEY: &str = "node.key";
const SEALING_KEY: &str = "sealing.key";
const ADMIN_TOKEN: &str = "admin.token";
const JOINING_KEY: &str = "joining.key";

/// What a file is called until it is whole.
const BESIDE: &str = "new";

/// No file of ours comes near this many bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Modes of what everybody may read, and of what only its owner may.
const OPEN: u32 = 0o644;
const SECRET: u32 = 0o600;

/// Permission bits that let every user of the machine read or write a file.
const OTHERS_ACCESS: u32 = 0o006;

/// Why credentials are not read or written.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A secret may be read by every user of the machine.
    #[error("{} is readable by everybody (mode {mode:04o}), run: chmod 600 {}", path.display(), path.display())]
    ReadableByOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Some are there and some are not.
    #[error("{} is not there although its companions are", path.display())]
    Incomplete {
        /// The file that is missing.
        path: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("{} does not hold {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The authorities cannot be used.
    #[error("use {}", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: BundleError,
    },
    /// A token is none.
    #[error("use {}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: OperatorTokenError,
    },
    /// A key cannot be made.
    #[error("make a key")]
    Key(#[from] RequestError),
    /// They do not belong together.
    #[error("use the credentials in {}", folder.display())]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        #[source]
        source: TlsError,
    },
}

/// What a process keeps of its credentials.
pub struct StoredCredentials {
    /// Its certificate and the authority's, DER.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// Whom it trusts.
    pub bundle: Bundle,
}

impl std::fmt::Debug for StoredCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredCredentials").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

impl StoredCredentials {
    fn usable(&self) -> Result<Credentials, TlsError> {
        Credentials::new(self.chain.clone(), self.key.clone_key(), self.bundle.clone())
    }
}

/// The files in one folder. Calls block; keep them off async threads.
#[derive(Clone, Debug)]
pub struct CredentialFiles {
    folder: PathBuf,
}

impl CredentialFiles {
    /// Those in `folder`, which has to be there.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Reads certificate, key and authorities; `None` if none of them is there yet.
    pub fn load(&self) -> Result<Option<Credentials>, FilesError> {
        let missing: Vec<_> = [BUNDLE, CERTIFICATE, KEY]
            .iter()
            .map(|name| self.folder.join(name))
            .filter(|path| !path.exists())
            .collect();
        match missing.as_slice() {
            [] => {}
            // `ca.pem` alone is an operator's.
            [_, _] if self.folder.join(BUNDLE).exists() => return Ok(None),
            [_, _, _] => return Ok(None),
            [path, ..] => {
                return self.finish_first().and_then(|done| {
                    done.ok_or_else(|| FilesError::Incomplete { path: path.clone() }).map(Some)
                });
            }
        }
        let stored = self.read(CERTIFICATE)?;
        match stored.usable() {
            Ok(credentials) => Ok(Some(credentials)),
            Err(TlsError::Mismatch) => self.finish_move().map(Some),
            Err(source) => Err(self.unusable(source)),
        }
    }

    /// Writes certificate, key and authorities. They are checked before anything on disk changes.
    pub fn store(&self, stored: &StoredCredentials) -> Result<Credentials, FilesError> {
        let credentials = stored.usable().map_err(|source| self.unusable(source))?;
        self.store_bundle(&stored.bundle)?;
        let chain: String = stored.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect();
        let label =
            if matches!(stored.key, PrivateKeyDer::Sec1(_)) { "EC PRIVATE KEY" } else { "PRIVATE KEY" };
        let key = Zeroizing::new(pem(label, stored.key.secret_der()));
        self.write_beside(KEY, key.as_bytes(), SECRET)?;
        self.write_beside(CERTIFICATE, chain.as_bytes(), OPEN)?;
        self.sync_folder()?;
        self.move_in(KEY)?;
        self.move_in(CERTIFICATE)?;
        let path = self.folder.join(JOINING_KEY);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(FilesError::Write { path, source })
            }
            Ok(()) | Err(_) => Ok(credentials),
        }
    }

    /// The key to join with: the one of the last attempt, so that it is told its answer should that have been lost on the way, or a new
    /// one, which is written first. It is gone once credentials are stored.
    pub fn joining_key(&self) -> Result<KeyRequest, FilesError> {
        let path = self.folder.join(JOINING_KEY);
        if path.exists() {
            let key = PrivateKeyDer::from_pem_slice(&read(&path, Kind::Secret)?);
            let again = key.ok().and_then(|key| KeyRequest::again(key.secret_der()).ok());
            return again.ok_or(FilesError::Content { path, what: "a private key" });
        }
        let made = KeyRequest::make()?;
        let text = Zeroizing::new(pem("PRIVATE KEY", made.private_key().secret_der()));
        self.replace(JOINING_KEY, text.as_bytes(), SECRET)?;
        Ok(made)
    }

    /// Writes the authorities alone.
    pub fn store_bundle(&self, bundle: &Bundle) -> Result<(), FilesError> {
        self.replace(BUNDLE, bundle.to_pem().as_bytes(), OPEN)
    }

    /// Reads the authorities alone.
    pub fn bundle(&self) -> Result<Bundle, FilesError> {
        let path = self.folder.join(BUNDLE);
        Bundle::from_pem(&read(&path, Kind::Open)?).map_err(|source| FilesError::Bundle { path, source })
    }

    /// Writes the key that members seal with.
    pub fn store_sealing_key(&self, key: &SealingKey) -> Result<(), FilesError> {
        let text = Zeroizing::new(hex(key.expose()) + "\n");
        self.replace(SEALING_KEY, text.as_bytes(), SECRET)
    }

    /// Reads the key that members seal with.
    pub fn sealing_key(&self) -> Result<SealingKey, FilesError> {
        let path = self.folder.join(SEALING_KEY);
        let text = read(&path, Kind::Secret)?;
        unhex(text.trim_ascii_end())
            .and_then(|bytes| SealingKey::from_slice(&bytes))
            .ok_or(FilesError::Content { path, what: "64 hexadecimal digits" })
    }

    /// Writes the first operator's token.
    pub fn store_admin_token(&self, token: &OperatorToken) -> Result<(), FilesError> {
        let text = Zeroizing::new(token.text() + "\n");
        self.replace(ADMIN_TOKEN, text.as_bytes(), SECRET)
    }

    /// Reads a token from a file of one line, such as `admin.token`.
    pub fn token(path: &Path) -> Result<OperatorToken, FilesError> {
        let text = read(path, Kind::Secret)?;
        let text = std::str::from_utf8(text.trim_ascii())
            .map_err(|_| FilesError::Content { path: path.to_owned(), what: "a token" })?;
        text.parse().map_err(|source| FilesError::Token { path: path.to_owned(), source })
    }

    /// Where the first operator's token is.
    pub fn admin_token_path(&self) -> PathBuf {
        self.folder.join(ADMIN_TOKEN)
    }

    fn read(&self, certificate: &str) -> Result<StoredCredentials, FilesError> {
        let path = self.folder.join(certificate);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(&path, Kind::Open)?).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or(FilesError::Content { path, what: "a certificate" })?;
        let path = self.folder.join(KEY);
        let key = PrivateKeyDer::from_pem_slice(&read(&path, Kind::Secret)?)
            .map_err(|_| FilesError::Content { path, what: "a private key" })?;
        Ok(StoredCredentials { chain, key, bundle: self.bundle()? })
    }

    /// The machine stopped after the key was moved in place and before its certificate was.
    fn finish_move(&self) -> Result<Credentials, FilesError> {
        let beside = format!("{CERTIFICATE}.{BESIDE}");
        if !self.folder.join(&beside).exists() {
            return Err(self.unusable(TlsError::Mismatch));
        }
        let credentials = self.read(&beside)?.usable().map_err(|source| self.unusable(source))?;
        self.move_in(CERTIFICATE)?;
        Ok(credentials)
    }

    /// The same when there was no certificate before.
    fn finish_first(&self) -> Result<Option<Credentials>, FilesError> {
        let beside = self.folder.join(format!("{CERTIFICATE}.{BESIDE}"));
        let half = self.folder.join(KEY).exists() && self.folder.join(BUNDLE).exists();
        if half && beside.exists() { self.finish_move().map(Some) } else { Ok(None) }
    }

    fn unusable(&self, source: TlsError) -> FilesError {
        FilesError::Unusable { folder: self.folder.clone(), source }
    }

    /// Puts `bytes` in the place of what a file holds, in one step.
    fn replace(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), FilesError> {
        self.write_beside(name, bytes, mode)?;
        self.move_in(name)
    }

    fn write_beside(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), FilesError> {
        let path = self.folder.join(format!("{name}.{BESIDE}"));
        let write = || {
            // What an earlier attempt left may have another mode.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|source| FilesError::Write { path: path.clone(), source })
    }

    fn move_in(&self, name: &str) -> Result<(), FilesError> {
        let path = self.folder.join(name);
        fs::rename(self.folder.join(format!("{name}.{BESIDE}")), &path)
            .map_err(|source| FilesError::Write { path, source })?;
        self.sync_folder()
    }

    fn sync_folder(&self) -> Result<(), FilesError> {
        let sync = || File::open(&self.folder)?.sync_all();
        sync().map_err(|source| FilesError::Write { path: self.folder.clone(), source })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Secret,
}

fn read(path: &Path, kind: Kind) -> Result<Zeroizing<Vec<u8>>, FilesError> {
    let wrong = |source| FilesError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(wrong)?;
    let mode = file.metadata().map_err(wrong)?.permissions().mode() & 0o7777;
    if kind == Kind::Secret && mode & OTHERS_ACCESS != 0 {
        return Err(FilesError::ReadableByOthers { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(wrong)?;
    Ok(bytes)
}

fn unhex(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes.map(Zeroizing::new)
}

#[cfg(test)]
mod tests;
