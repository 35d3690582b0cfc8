use std::fs;
use std::path::Path;
use std::process::Command;

use reqwest::Client;
use tempfile::TempDir;

use crate::child::{KilledChild, await_that};
use crate::port::Port;

/// A running registry of OCI images, killed when dropped: docker-registry, by plain HTTP.
#[derive(Debug)]
pub struct Registry {
    _process: KilledChild,
    port: Port,
    directory: TempDir,
}

impl Registry {
    /// Starts a registry and waits until it responds.
    pub async fn start() -> Self {
        let directory = TempDir::with_prefix("mcp-federated-auth-registry-")
            .expect("the temporary directory is writable");
        let port = Port::free();
        let configuration = serde_json::json!({
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": directory.path().join("images")}},
            "http": {"addr": port.address().to_string()},
        });
        let file = directory.path().join("registry.json");
        fs::write(&file, configuration.to_string()).expect("the directory is writable");
        let process = KilledChild::start(Command::new("docker-registry").arg("serve").arg(&file));
        let registry = Self { _process: process, port, directory };
        let (client, url) = (Client::new(), registry.url(""));
        await_that("the registry responds", || async {
            client.get(&url).send().await.is_ok_and(|response| response.status().is_success())
        })
        .await;
        registry
    }

    /// The URL of a path of its interface.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/v2/{path}", self.port.address())
    }

    /// Pushes the image of an OCI image layout under this name, by skopeo.
    ///
    /// # Panics
    ///
    /// If skopeo fails.
    pub fn push(&self, layout: &Path, image: &str) {
        let output = Command::new("skopeo")
            .env("HOME", self.directory.path())
            .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
            .arg(format!("oci:{}", layout.display()))
            .arg(format!("docker://{}/{image}", self.port.address()))
            .output()
            .expect("`make test` installs skopeo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
