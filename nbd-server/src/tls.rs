//! TLS of a client's connection, by rustls. No type of rustls leaves this module.

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::fmt;
use std::io;
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
        /// What is wrong with it.
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

impl Identity {
    /// Reads the files of a directory as programs with GnuTLS lay it out: `server-cert.pem` (with
    /// its chain) and `server-key.pem`; if `ca-cert.pem` is there, clients must have a certificate
    /// of it that `ca-crl.pem`, if there, does not revoke.
    ///
    /// # Errors
    /// Names the file, and what is wrong with it.
    pub fn load(directory: &Path) -> Result<Self, TlsError> {
        let together = |why: String| TlsError::Together { directory: directory.to_owned(), why };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(&directory.join("server-cert.pem"))?;
        let key_path = directory.join("server-key.pem");
        let key =
            PrivateKeyDer::from_pem_file(&key_path).map_err(|error| file(&key_path, &error))?;
        let authority = directory.join("ca-cert.pem");
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| together(error.to_string()))?;
        let checks_clients = authority.exists();
        let builder = if checks_clients {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in certificates(&authority)? {
                roots.add(certificate).map_err(|error| file(&authority, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .with_crls(revoked(&directory.join("ca-crl.pem"))?)
                .build()
                .map_err(|error| together(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| together(format!("server-cert.pem and server-key.pem: {error}")))?;
        // A client that closes with tickets unread resets the connection, and loses what else it
        // had not read.
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), checks_clients })
    }

    /// Whether a client must have a certificate.
    pub fn checks_clients(&self) -> bool {
        self.checks_clients
    }

    /// The handshake of TLS, as its server.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.config.clone()).accept(stream).await
    }
}

fn file(path: &Path, why: &dyn fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), why: why.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| file(path, &error))?;
    let all = read.collect::<Result<Vec<_>, _>>().map_err(|error| file(path, &error))?;
    match all.is_empty() {
        true => Err(file(path, &"there is no certificate in it")),
        false => Ok(all),
    }
}

fn revoked(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let read =
        CertificateRevocationListDer::pem_file_iter(path).map_err(|error| file(path, &error))?;
    read.collect::<Result<_, _>>().map_err(|error| file(path, &error))
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
