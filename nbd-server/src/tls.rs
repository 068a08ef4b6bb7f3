//! TLS of a client's connection, by rustls. No type of rustls leaves this module.

use rustls::ServerConfig;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a client is offered.
#[derive(Clone, Debug)]
pub enum TlsOffer {
    /// No TLS: STARTTLS is refused.
    Off,
    /// A client may begin TLS, or go on in the clear.
    Allow(Identity),
    /// Nothing but STARTTLS and ABORT is heard in the clear.
    Require(Identity),
}

/// What this server proves itself with, and how it checks clients.
#[derive(Clone)]
pub struct Identity {
    config: Arc<ServerConfig>,
    checks_clients: bool,
    knows_revoked: bool,
    warnings: Arc<[String]>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("checks_clients", &self.checks_clients).finish()
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of the directory is missing or is not what its name says.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, and what should be there.
        why: String,
    },
    /// The files do not go together.
    #[error("{}: {why}", directory.display())]
    Together {
        /// Where they are.
        directory: PathBuf,
        /// What is wrong with them.
        why: String,
    },
}

/// The server's certificate, and behind it what leads to the authority.
const CHAIN: &str = "server-cert.pem";
/// Its key.
const KEY: &str = "server-key.pem";
/// The authorities of clients.
const AUTHORITIES: &str = "ca-cert.pem";
/// What those have revoked.
const REVOKED: &str = "ca-crl.pem";
/// What rustls keeps of what the socket does not take, in bytes; a writer waits then. Its own
/// default, written down because a client that does not read makes it keep so much.
const WRITE_BUFFER: usize = 64 << 10;

impl Identity {
    /// The files that [`Self::load`] looks for.
    pub const FILES: [&str; 4] = [CHAIN, KEY, AUTHORITIES, REVOKED];

    /// Reads the files of a directory as programs with GnuTLS lay it out, all in PEM:
    /// `server-cert.pem` (with its chain) and `server-key.pem`; if `ca-cert.pem` is there, clients
    /// must have a certificate of it that `ca-crl.pem`, if there, does not revoke. An authority
    /// that no list is of has revoked nothing.
    ///
    /// # Errors
    /// Names the file, and what is wrong with it.
    pub fn load(directory: &Path) -> Result<Self, TlsError> {
        let together = |why: String| TlsError::Together { directory: directory.to_owned(), why };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(&directory.join(CHAIN))?;
        let key = private_key(&directory.join(KEY))?;
        let mut warnings = Vec::from_iter(readable_key(&directory.join(KEY)));
        warnings.extend(outdated(&chain[0], &provider));
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| together(error.to_string()))?;
        let (authorities, list) = (directory.join(AUTHORITIES), directory.join(REVOKED));
        let checks_clients = is_there(&authorities)?;
        let builder = if checks_clients {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in certificates(&authorities)? {
                roots.add(certificate).map_err(|error| file(&authorities, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .with_crls(revoked(&list)?)
                .allow_unknown_revocation_status()
                .build()
                .map_err(|error| file(&list, &error))?;
            builder.with_client_cert_verifier(verifier)
        } else if is_there(&list)? {
            let why = format!(
                "a list of revoked certificates without {AUTHORITIES}, which makes \
                               clients need one; add that, or remove the list"
            );
            return Err(file(&list, &why));
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| together(format!("{CHAIN} and {KEY}: {error}")))?;
        // A client that closes with tickets unread resets the connection, and loses what else it
        // had not read. Who is not resumed is checked each time.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let knows_revoked = checks_clients && is_there(&list)?;
        let (config, warnings) = (Arc::new(config), warnings.into());
        Ok(Self { config, checks_clients, knows_revoked, warnings })
    }

    /// Whether a client must have a certificate.
    pub fn checks_clients(&self) -> bool {
        self.checks_clients
    }

    /// Whether it lets in whom `other` would not: it checks no clients, or knows of no revoked ones.
    pub fn is_laxer_than(&self, other: &Self) -> bool {
        !self.checks_clients && other.checks_clients || !self.knows_revoked && other.knows_revoked
    }

    /// What an operator should hear of: each a sentence that names the file.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether both are of one [`Self::load`].
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }

    /// The handshake of TLS, as its server.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(self.config.clone());
        acceptor.accept_with(stream, |tls| tls.set_buffer_limit(Some(WRITE_BUFFER))).await
    }
}

fn file(path: &Path, why: &dyn fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), why: why.to_string() }
}

/// Whether an optional file is there. One that cannot be looked at may be: then it is no choice to
/// go on without.
fn is_there(path: &Path) -> Result<bool, TlsError> {
    path.try_exists().map_err(|error| file(path, &error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| file(path, &error))?;
    let all = read.collect::<Result<Vec<_>, _>>().map_err(|error| file(path, &error))?;
    match all.is_empty() {
        true => Err(file(path, &"there is no certificate in it; it must be in PEM")),
        false => Ok(all),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => file(
            path,
            &"there is no private key in it; it must be in PEM, as PKCS#8, PKCS#1 or SEC1, and \
              not be encrypted",
        ),
        error => file(path, &error),
    })
}

fn revoked(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    if !is_there(path)? {
        return Ok(Vec::new());
    }
    let read =
        CertificateRevocationListDer::pem_file_iter(path).map_err(|error| file(path, &error))?;
    let all = read.collect::<Result<Vec<_>, _>>().map_err(|error| file(path, &error))?;
    match all.is_empty() {
        true => Err(file(path, &"there is no list of revoked certificates in it, in PEM")),
        false => Ok(all),
    }
}

/// Whoever reads the key can pass for this server.
fn readable_key(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let says = "everybody on this machine can read it; «chmod o=» takes that from them";
    (mode & 0o004 != 0).then(|| format!("{}: {says}", path.display()))
}

/// What keeps clients from taking this certificate for a server's today. (Whether they trust its
/// issuer is theirs to know: nobody is trusted here, and that is looked at last.)
fn outdated(certificate: &CertificateDer<'_>, provider: &CryptoProvider) -> Option<String> {
    use rustls::CertificateError::{
        Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext, NotValidYet,
        NotValidYetContext,
    };
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let algorithms = provider.signature_verification_algorithms.all;
    let (nobody, now) = (rustls::RootCertStore::empty(), UnixTime::now());
    match verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], now, algorithms) {
        Err(rustls::Error::InvalidCertificate(
            error @ (Expired
            | ExpiredContext { .. }
            | NotValidYet
            | NotValidYetContext { .. }
            | InvalidPurpose
            | InvalidPurposeContext { .. }),
        )) => Some(format!("{CHAIN}: clients that look will refuse it: {error}")),
        _ => None,
    }
}

/// A stream in the clear, or the same within TLS.
#[derive(Debug)]
pub enum MaybeTls<S> {
    /// In the clear.
    Plain(S),
    /// Within TLS.
    Tls(Box<TlsStream<S>>),
}

impl<S> MaybeTls<S> {
    /// Whether it is within TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The stream underneath, for instance to take it from one runtime to another.
    pub fn underneath(&mut self) -> &mut S {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for MaybeTls<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MaybeTls<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
