//! TLS to a database: the server proves that it has the name that was declared.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::ConfigVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::Outside;

/// A store of these certificates, as PEM.
fn roots(pem: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let added = certificate.map_err(|error| error.to_string()).map(|certificate| roots.add(certificate));
        added?.map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("there is no certificate".to_owned()) } else { Ok(roots) }
}

/// Trusts only those whom these certificates are of.
pub(super) fn vouched_for_by(pem: &str) -> Result<ClientConfig, String> {
    let roots = roots(pem).map_err(|error| format!("these are no certificates: {error}"))?;
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// Makes a connection one with TLS.
pub(super) struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Connector {
    /// To this host, whose certificate the system's authorities vouch for, or these.
    pub(super) fn new(outside: &Outside, host: &str, certificates: Option<&str>) -> Result<Self, String> {
        let config = match (certificates, outside.verified.get()) {
            (Some(pem), _) => Arc::new(vouched_for_by(pem)?),
            (None, Some(config)) => Arc::clone(config),
            (None, None) => {
                let made = ClientConfig::with_platform_verifier();
                let made =
                    made.map_err(|_| "The system has no certificates to verify the server by".to_owned())?;
                Arc::clone(outside.verified.get_or_init(|| Arc::new(made)))
            }
        };
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|_| "The host is not valid".to_owned())?;
        Ok(Self { config, name })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Connector {
    type Stream = Secured<S>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Secured<S>>>;

    fn connect(self, stream: S) -> Self::Future {
        let connector = tokio_rustls::TlsConnector::from(self.config);
        Box::pin(async move { connector.connect(self.name, stream).await.map(Secured) })
    }
}

/// A connection with TLS.
pub(super) struct Secured<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Secured<S> {
    fn channel_binding(&self) -> ChannelBinding {
        // The server is verified by its certificate.
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
