//! Certificates: the same connections, encrypted.

use std::path::Path;

use anyhow::{Context, Result};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};

/// What encrypts connections with a certificate chain and its key, both in PEM.
///
/// # Errors
/// When a file cannot be read or is none.
pub(crate) async fn acceptor(cert: &Path, key: &Path) -> Result<RustlsAcceptor> {
    // Another one may have been chosen in this process already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = RustlsConfig::from_pem_file(cert, key).await.with_context(|| {
        format!(
            "{} and {}: not a certificate chain and its key in PEM",
            cert.display(),
            key.display()
        )
    })?;
    Ok(RustlsAcceptor::new(config))
}
