//! The plugin's OCI images, pushed to a real registry and pulled as Istio and Envoy Gateway pull
//! them: how each of the two layouts is read, and that the module arrives unchanged.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use reqwest::Client;
use serde_json::Value;
use sha2::{Digest, Sha256};
use testbed::{Registry, module_path, repository_root};

/// The manifest types that clients of a registry accept, Istio among them.
const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";
const IMAGE_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const WASM_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

fn layout(name: &str) -> PathBuf {
    let path = repository_root().join("dist/images").join(name);
    assert!(path.is_dir(), "{} does not exist: run `make images`", path.display());
    path
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// An image as a client gets it from a registry.
struct Pulled {
    digest: String,
    manifest: Value,
    /// Media types and contents of its layers.
    layers: Vec<(String, Vec<u8>)>,
}

impl Pulled {
    /// Pushes a layout and pulls it, and checks every digest.
    async fn new(name: &str) -> Self {
        let registry = Registry::start().await;
        registry.push(&layout(name), "mcp-federated-auth:test");
        let client = Client::new();
        let get = async |path: &str| {
            let request = client.get(registry.url(&format!("mcp-federated-auth/{path}")));
            let response = request.header("accept", MANIFESTS).send().await.unwrap();
            assert_eq!(response.status(), 200, "{path}");
            let header = |name: &str| {
                let value = response.headers().get(name);
                value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
            };
            let headers = (header("content-type"), header("docker-content-digest"));
            (headers, response.bytes().await.unwrap())
        };
        let ((content_type, digest), bytes) = get("manifests/test").await;
        assert_eq!(sha256(&bytes), digest);
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(manifest["mediaType"], content_type.as_str());
        let mut layers = Vec::new();
        for descriptor in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]])
        {
            let digest = descriptor["digest"].as_str().unwrap();
            let (_, blob) = get(&format!("blobs/{digest}")).await;
            assert_eq!(sha256(&blob), digest);
            assert_eq!(descriptor["size"], blob.len());
            layers.push((descriptor["mediaType"].as_str().unwrap().to_owned(), blob.to_vec()));
        }
        layers.pop();
        Self { digest, manifest, layers }
    }

    /// The module, if the layout is read as an image: the last layer is an archive with
    /// `plugin.wasm`.
    fn as_image(&self) -> Option<Vec<u8>> {
        let (media_type, layer) = self.layers.last()?;
        (media_type == IMAGE_LAYER).then(|| unpacked(layer, "plugin.wasm"))
    }

    /// The module, if the layout is read as an artifact: one of two layers is the module.
    fn as_artifact(&self) -> Option<Vec<u8>> {
        let [one, other] = &self.layers[..] else { return None };
        let layer = [one, other].into_iter().find(|(media_type, _)| media_type == WASM_LAYER);
        layer.map(|(_, bytes)| bytes.clone())
    }
}

/// A file of a compressed archive.
fn unpacked(archive: &[u8], file: &str) -> Vec<u8> {
    output_of("tar", &["--extract", "--gzip", "--to-stdout", file], archive)
}

/// What a program writes that gets this input.
fn output_of(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[tokio::test]
async fn the_image_is_pulled_as_one_layer_with_the_module() {
    let pulled = Pulled::new("image").await;
    assert_eq!(pulled.manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(pulled.layers.len(), 1);
    let module = fs::read(module_path()).unwrap();
    assert!(pulled.as_image() == Some(module), "another module");
    assert!(pulled.as_artifact().is_none());
}

#[tokio::test]
async fn the_artifact_is_pulled_as_two_layers_one_of_which_is_the_module() {
    let pulled = Pulled::new("artifact").await;
    assert_eq!(pulled.layers.len(), 2);
    let module = fs::read(module_path()).unwrap();
    assert!(pulled.as_artifact() == Some(module), "another module");
    assert!(pulled.as_image().is_none());
}

#[tokio::test]
async fn the_printed_digest_is_that_of_the_pulled_image() {
    let printed = fs::read_to_string(repository_root().join("dist/images/digests")).unwrap();
    for name in ["image", "artifact"] {
        let pulled = Pulled::new(name).await;
        let line = format!("{name:<9} {}", pulled.digest);
        assert!(printed.lines().any(|printed| printed == line), "{line} is not in {printed}");
    }
}

/// The time in the header of an archive's first file (POSIX ustar), in seconds since 1970.
fn modification_time(archive: &[u8]) -> u64 {
    let unpacked = output_of("gzip", &["--decompress", "--stdout"], archive);
    let digits = str::from_utf8(&unpacked[136..148]).unwrap();
    u64::from_str_radix(digits.trim_matches(['\0', ' ']), 8).unwrap()
}

/// The same module must give the same digest.
#[test]
fn an_image_contains_no_time() {
    for name in ["image", "artifact"] {
        let mut layers = 0;
        for file in fs::read_dir(layout(name).join("blobs/sha256")).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("\"created\""), "{name}");
            if bytes.starts_with(&[0x1f, 0x8b]) {
                // The time in the header of gzip (RFC 1952 §2.3).
                assert_eq!(bytes[4..8], [0; 4], "{name}");
                layers += 1;
                assert_eq!(modification_time(&bytes), 0, "{name}");
            }
        }
        assert_eq!(layers, usize::from(name == "image"), "{name}");
    }
}
