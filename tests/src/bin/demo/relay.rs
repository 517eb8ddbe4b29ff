//! A unix socket that leads to whichever core accepts first.
//!
//! limpet-host asks one address for workers and takes reports there. So that any core of the demo can be killed, that
//! address is this relay: bytes go both ways untouched, and an open connection ends with the core it leads to.

use std::io;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Listens at `socket` and leads to the first of `cores` that accepts.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) fn start(socket: &Path, cores: Vec<PathBuf>) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let cores = cores.clone();
            tokio::spawn(async move { lead(client, &cores).await });
        }
    });
    Ok(())
}

async fn lead(mut client: UnixStream, cores: &[PathBuf]) {
    for core in cores {
        if let Ok(mut core) = UnixStream::connect(core).await {
            // Either side may break off at any time; the other one sees its end.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut core).await;
            return;
        }
    }
}
