//! Writes the plugin as OCI images, in the two layouts of the Wasm image specification that Istio and
//! Envoy Gateway read. The same module yields the same bytes: no file has a time or a user.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use oci_spec::image::{
    Arch, Config, Descriptor, DescriptorBuilder, Digest, ImageConfigurationBuilder,
    ImageIndexBuilder, ImageManifestBuilder, MediaType, OciLayoutBuilder, Os, RootFsBuilder,
    SCHEMA_VERSION, Sha256Digest,
};
use sha2::{Digest as _, Sha256};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The file in the layer of the image.
const FILE: &str = "plugin.wasm";
/// Media types of the artifact.
const WASM_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
const WASM_CONTENT: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes one kind of image into a layout, and returns its manifest.
type Writer = fn(&Layout<'_>, &[u8]) -> Result<Descriptor>;

/// Writes an OCI image layout of each kind below the folder `output`, which is emptied, and prints
/// their digests:
///
/// - `image`: one layer, a compressed archive with `plugin.wasm`; called "compat" by the specification;
/// - `artifact`: two layers, one of them the module itself; called "oci".
pub(crate) fn images(module: &str, output: &str) -> Result<()> {
    let module = fs::read(module)?;
    let output = Path::new(output);
    let writers: [(&str, Writer); 2] = [("image", image), ("artifact", artifact)];
    for (name, write) in writers {
        let folder = output.join(name);
        let layout = Layout::create(&folder)?;
        let manifest = write(&layout, &module)?;
        layout.finish(&manifest)?;
        println!("{name:<9} sha256:{}", manifest.digest().digest());
    }
    Ok(())
}

/// The image, as `docker build` makes it from envoy/Dockerfile.
fn image(layout: &Layout<'_>, module: &[u8]) -> Result<Descriptor> {
    let archive = archive(module)?;
    let mut compressed = GzEncoder::new(Vec::new(), Compression::best());
    compressed.write_all(&archive)?;
    let layer = layout.add(MediaType::ImageLayerGzip, &compressed.finish()?)?;
    let root = RootFsBuilder::default()
        .typ("layers")
        .diff_ids([format!("sha256:{}", sha256(&archive))])
        .build()?;
    let configuration = ImageConfigurationBuilder::default()
        .architecture(Arch::Wasm)
        .os(Os::Other("wasip1".to_owned()))
        .config(Config::default())
        .rootfs(root)
        .build()?;
    let configuration = configuration.to_string()?;
    let configuration = layout.add(MediaType::ImageConfig, configuration.as_bytes())?;
    layout.manifest(configuration, vec![layer])
}

/// The artifact, as `oras push` makes it. Istio expects two layers; the first one holds metadata, of
/// which there are none.
fn artifact(layout: &Layout<'_>, module: &[u8]) -> Result<Descriptor> {
    let of_wasm = |media_type: &str| MediaType::Other(media_type.to_owned());
    let configuration = layout.add(MediaType::EmptyJSON, b"{}")?;
    let metadata = layout.add(of_wasm(WASM_CONFIG), b"{}")?;
    let content = layout.add(of_wasm(WASM_CONTENT), module)?;
    layout.manifest(configuration, vec![metadata, content])
}

/// An archive with the module as its only file, owned by root and dated 1970.
fn archive(module: &[u8]) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(module.len().try_into()?);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, FILE, module)?;
    Ok(archive.into_inner()?)
}

/// An OCI image layout.
struct Layout<'a> {
    folder: &'a Path,
}

impl<'a> Layout<'a> {
    fn create(folder: &'a Path) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder.join("blobs/sha256"))?;
        Ok(Self { folder })
    }

    /// Adds a blob.
    fn add(&self, media_type: MediaType, bytes: &[u8]) -> Result<Descriptor> {
        let digest = sha256(bytes);
        fs::write(self.folder.join("blobs/sha256").join(&digest), bytes)?;
        let digest: Sha256Digest = digest.parse()?;
        let size: u64 = bytes.len().try_into()?;
        Ok(DescriptorBuilder::default()
            .media_type(media_type)
            .digest(Digest::from(digest))
            .size(size)
            .build()?)
    }

    fn manifest(&self, configuration: Descriptor, layers: Vec<Descriptor>) -> Result<Descriptor> {
        let annotations = [
            ("org.opencontainers.image.licenses", "Apache-2.0"),
            ("org.opencontainers.image.title", "mcp-federated-auth"),
            ("org.opencontainers.image.version", VERSION),
        ];
        let annotations = annotations.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let manifest = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageManifest)
            .config(configuration)
            .layers(layers)
            .annotations(annotations)
            .build()?;
        // A map in the order of its names, so that the digest is the same each time.
        let manifest: serde_json::Value = serde_json::from_str(&manifest.to_string()?)?;
        self.add(MediaType::ImageManifest, manifest.to_string().as_bytes())
    }

    /// Writes the index, with this manifest.
    fn finish(&self, manifest: &Descriptor) -> Result<()> {
        let index = ImageIndexBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageIndex)
            .manifests([manifest.clone()])
            .build()?;
        index.to_file(self.folder.join("index.json"))?;
        let layout = OciLayoutBuilder::default().image_layout_version("1.0.0").build()?;
        layout.to_file(self.folder.join("oci-layout"))?;
        Ok(())
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
