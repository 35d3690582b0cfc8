use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{code_blocks, repository_root};

use crate::child::{KilledChild, await_that};
use crate::port::Port;
use crate::redis::Redis;

/// A running webdis in front of a [`Redis`], killed when dropped, with the documented
/// configuration.
#[derive(Debug)]
pub struct Webdis {
    port: Port,
    process: Option<KilledChild>,
    directory: TempDir,
}

impl Webdis {
    const THREADS: usize = 2;
    const CONNECTIONS_PER_THREAD: usize = 2;

    /// Starts webdis on a free port and waits until it is connected to Redis.
    pub async fn start(redis: &Redis) -> Self {
        let directory = TempDir::with_prefix("mcp-federated-auth-webdis-")
            .expect("the temporary directory is writable");
        let port = Port::free();
        let page = fs::read_to_string(repository_root().join("docs/replay.md"));
        let blocks = code_blocks(&page.expect("there it is"), "json");
        let mut configuration: Value = serde_json::from_str(&blocks[0]).expect("it is JSON");
        configuration["redis_host"] = json!(redis.socket());
        configuration["http_port"] = json!(port.number());
        configuration["threads"] = json!(Self::THREADS);
        configuration["pool_size"] = json!(Self::CONNECTIONS_PER_THREAD);
        configuration["daemonize"] = json!(false);
        configuration["logfile"] = json!(directory.path().join("webdis.log"));
        fs::write(directory.path().join("webdis.json"), configuration.to_string())
            .expect("the directory is ours");
        let mut webdis = Self { port, process: None, directory };
        webdis.start_again(redis).await;
        webdis
    }

    /// Kills it: from now on connections are refused.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it after a [`stop`](Self::stop), and waits until it is connected to Redis.
    pub async fn start_again(&mut self, redis: &Redis) {
        let mut command = Command::new("webdis");
        let configuration = self.directory.path().join("webdis.json");
        self.process = Some(KilledChild::start(command.arg(configuration)));
        self.await_redis(redis).await;
    }

    /// Waits until it is connected to Redis, also after a restart of Redis.
    pub async fn await_redis(&self, redis: &Redis) {
        // One of the connections is the one that counts them.
        let expected = Self::THREADS * Self::CONNECTIONS_PER_THREAD + 1;
        let is_connected = || async { redis.connections() >= expected };
        await_that("webdis is connected with Redis", is_connected).await;
        let client = Client::builder().no_proxy().build().expect("nothing is wrong with that");
        let url = format!("http://{}/", self.address());
        // Sets nothing, because there is no value.
        let responds = || async {
            let response = client.post(&url).body("SET/x").send().await;
            response.is_ok_and(|response| response.status().is_success())
        };
        await_that("webdis answers", responds).await;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }
}
