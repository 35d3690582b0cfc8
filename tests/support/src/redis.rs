use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::child::{KilledChild, await_that};

/// A running Redis, killed when dropped. It listens on a socket in its own directory, and keeps its
/// data in memory only.
#[derive(Debug)]
pub struct Redis {
    process: Option<KilledChild>,
    directory: TempDir,
}

impl Redis {
    /// Starts Redis and waits until it responds.
    pub async fn start() -> Self {
        let directory = TempDir::with_prefix("mcp-federated-auth-redis-")
            .expect("the temporary directory is writable");
        let mut redis = Self { process: None, directory };
        redis.start_again().await;
        redis
    }

    /// Kills it: its data is lost.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it after a [`stop`](Self::stop), and waits until it responds.
    pub async fn start_again(&mut self) {
        self.process = Some(KilledChild::start(
            Command::new("redis-server")
                .current_dir(self.directory.path())
                .args(["--port", "0", "--save", "", "--appendonly", "no"])
                .arg("--unixsocket")
                .arg(self.socket()),
        ));
        await_that("Redis answers", || async { self.command(&["PING"]) == ["PONG"] }).await;
    }

    /// The socket on which it listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// The lines of its reply to a command.
    pub fn command(&self, words: &[&str]) -> Vec<String> {
        let cli = Command::new("redis-cli").arg("-s").arg(self.socket()).args(words).output();
        let output = cli.expect("redis-cli comes with Redis").stdout;
        String::from_utf8_lossy(&output).lines().map(str::to_owned).collect()
    }

    /// The names of all keys.
    pub fn keys(&self) -> Vec<String> {
        let keys = self.command(&["KEYS", "*"]);
        keys.into_iter().filter(|key| !key.is_empty()).collect()
    }

    /// The time to live of a key in milliseconds.
    ///
    /// # Panics
    ///
    /// If there is no such key, or it does not expire.
    pub fn milliseconds_left(&self, key: &str) -> u64 {
        let reply = self.command(&["PTTL", key]);
        reply[0].parse().unwrap_or_else(|_| panic!("{key}: {reply:?}"))
    }

    /// The number of connections.
    pub(crate) fn connections(&self) -> usize {
        self.command(&["CLIENT", "LIST"]).iter().filter(|line| !line.is_empty()).count()
    }
}
